"""Framing of metal EPPs of the GZ-B family: `02 LN CMD DATA BCC`, answered by `02 LN ST DATA BCC`.

LN counts CMD (or ST) and DATA, BCC is the XOR from LN to the end of DATA (maker's page, everychina p-109914308). Which
commands a model has is in its profile.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from functools import reduce
from operator import xor

_STX = 0x02
_LENGTH_MAX = 250
_OVERHEAD = 3
_BUFFER_MAX = 1_024


class PadStatus(IntEnum):
    """ST of an answer."""

    OK = 0x04
    BAD_PARAMETER = 0x15
    TIMEOUT = 0x80
    MASTER_KEY_INVALID = 0xA4
    INVALID_COMMAND_AND_KEY = 0xB5
    INVALID_COMMAND = 0xE0


@dataclass(frozen=True, slots=True)
class Frame:
    """One answer; its data is never shown."""

    status: int
    data: bytes = field(repr=False)


class PadNoise(ValueError):
    """What comes is no frame and does not end; the text carries no byte of it."""


def encode_command(command: int, data: bytes = b"") -> bytes:
    """A whole request."""
    body = bytes((1 + len(data), command)) + data
    if len(data) >= _LENGTH_MAX:
        raise ValueError("too long for a frame")
    return bytes((_STX,)) + body + bytes((reduce(xor, body),))


class Decoder:
    """Takes bytes as they come and gives whole frames; what it held is overwritten as soon as it was taken."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are complete now; noise between them is skipped.

        Raises:
            PadNoise: too much of it.
        """
        self._buffer += data
        if len(self._buffer) > _BUFFER_MAX:
            self.wipe()
            raise PadNoise("noise without an end")
        found = []
        while (start := self._buffer.find(_STX)) >= 0:
            self._drop(start)
            if len(self._buffer) <= 1:
                break
            length = self._buffer[1]
            if not 1 <= length <= _LENGTH_MAX:
                self._drop(1)
                continue
            if len(self._buffer) < length + _OVERHEAD:
                break
            body = self._buffer[1 : 2 + length]
            if reduce(xor, body) == self._buffer[2 + length]:
                found.append(Frame(body[1], bytes(body[2:])))
                self._drop(length + _OVERHEAD)
            else:
                self._drop(1)
            body[:] = bytes(len(body))
        return found

    def wipe(self) -> None:
        """Forget what was not taken."""
        self._drop(len(self._buffer))

    def _drop(self, count: int) -> None:
        self._buffer[:count] = bytes(count)
        del self._buffer[:count]
