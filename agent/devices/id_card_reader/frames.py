"""Frames of SDT/SAM_A modules (GA/T 467-2019), as bytes on a serial line.

Host to reader: `AA AA AA 96 69`, length, command, parameter, data, check. Reader to host: the same with three status
bytes. The length counts everything after itself; the check is the XOR of length and all that follows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from functools import reduce
from operator import xor

PREAMBLE = bytes.fromhex("AAAAAA9669")
_MARK = bytes.fromhex("AA9669")  # leading AA bytes get lost on some USB stacks
_LENGTH_BYTES = 2
_STATUS_BYTES = 3
LENGTH_MIN = _STATUS_BYTES + 1
LENGTH_MAX = 0x0A00
BUFFER_BYTES_MAX = 8_192
_IIN_BYTES, _SERIAL_BYTES, _SAM_BYTES = 4, 8, 16
_TEXT_BYTES, _ADDRESS_BYTES = 256, 320


class Status(IntEnum):
    """SW3."""

    OK = 0x90
    NO_SUCH_ITEM = 0x91
    FOUND = 0x9F
    CHECKSUM = 0x10
    LENGTH = 0x11
    COMMAND = 0x21
    NOT_PERMITTED = 0x23
    UNRECOGNISED = 0x24
    CARD_REFUSED_SAM = 0x31
    SAM_REFUSED_CARD = 0x32
    VERIFICATION = 0x33
    FINGERPRINT = 0x37
    INFORMATION_LENGTH = 0x3F
    CARD_TYPE = 0x40
    READ_FAILED = 0x41
    RANDOM_FAILED = 0x47
    SELF_TEST = 0x60
    NOT_AUTHORISED = 0x66
    NOT_FOUND = 0x80
    NOT_SELECTED = 0x81


LINE_ERRORS = frozenset({Status.CHECKSUM, Status.LENGTH, Status.COMMAND})
SAM_ERRORS = frozenset({Status.SELF_TEST, Status.NOT_AUTHORISED})
CARD_ERRORS = frozenset(Status) - LINE_ERRORS - SAM_ERRORS - {Status.OK, Status.NO_SUCH_ITEM, Status.FOUND}
_ANY_TIME = LINE_ERRORS | SAM_ERRORS | {Status.NOT_PERMITTED, Status.UNRECOGNISED}


@dataclass(frozen=True, slots=True)
class Request:
    """A command and what may answer it: a late answer to an earlier command must not pass for this one's."""

    command: int
    parameter: int
    answers: frozenset[int]
    data_bytes: range
    """Possible lengths of the data of a good answer."""

    def fits(self, reply: Reply) -> bool:
        """Whether the reply can be meant for this request."""
        if reply.status in {Status.OK, Status.FOUND}:
            return reply.status in self.answers and len(reply.data) in self.data_bytes
        return reply.status in self.answers | _ANY_TIME


@dataclass(frozen=True, slots=True)
class Reply:
    """What the reader said; `data` may hold an identity."""

    card_status: int
    status: int
    data: bytes = field(default=b"", repr=False)


def _exactly(count: int) -> range:
    return range(count, count + 1)


_READ = frozenset(CARD_ERRORS | {Status.OK, Status.NO_SUCH_ITEM})
RESET = Request(0x10, 0xFF, frozenset({Status.OK}), _exactly(0))
STATUS = Request(0x11, 0xFF, frozenset({Status.OK}), _exactly(0))
SAM_ID = Request(0x12, 0xFF, frozenset({Status.OK}), _exactly(_SAM_BYTES))
FIND = Request(0x20, 0x01, frozenset({Status.FOUND, Status.NOT_FOUND}), _exactly(_IIN_BYTES))
SELECT = Request(0x20, 0x02, frozenset({Status.OK, Status.NOT_SELECTED}), _exactly(_SERIAL_BYTES))
READ_BASE = Request(0x30, 0x01, _READ, range(_TEXT_BYTES + 2 * _LENGTH_BYTES, LENGTH_MAX))
READ_ADDRESS = Request(0x30, 0x03, _READ, range(_SERIAL_BYTES + 1, _ADDRESS_BYTES + 1))


def encode_request(request: Request, data: bytes = b"") -> bytes:
    """The bytes of a request."""
    length = 2 + len(data) + 1
    body = length.to_bytes(2) + bytes((request.command, request.parameter)) + data
    return PREAMBLE + body + bytes((check_of(body),))


def check_of(body: bytes) -> int:
    """The XOR of all bytes."""
    return reduce(xor, body, 0)


class Decoder:
    """Takes replies out of a stream that may begin anywhere, miss bytes and carry noise."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.errors = 0
        """Frames whose length or check was wrong."""

    @property
    def has_rest(self) -> bool:
        """Whether something came that is no whole frame yet."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> list[Reply]:
        """The whole replies that are there now."""
        self._buffer += data
        found = []
        while (reply := self._take()) is not None:
            found.append(reply)
        if len(self._buffer) > BUFFER_BYTES_MAX:
            del self._buffer[:-LENGTH_MAX]
        return found

    def _take(self) -> Reply | None:
        while True:
            mark = self._buffer.find(_MARK)
            if mark < 0:
                del self._buffer[: max(0, len(self._buffer) - len(PREAMBLE))]
                return None
            del self._buffer[:mark]
            head = len(_MARK) + _LENGTH_BYTES
            if len(self._buffer) < head:
                return None
            length = int.from_bytes(self._buffer[len(_MARK) : head])
            if LENGTH_MIN <= length <= LENGTH_MAX:
                if len(self._buffer) < head + length:
                    return None
                body = bytes(self._buffer[len(_MARK) : head + length])
                if check_of(body) == 0:  # the check is among them
                    del self._buffer[: head + length]
                    return Reply(int.from_bytes(body[2:4]), body[4], body[5:-1])
            self.errors += 1
            del self._buffer[:1]


def sam_id(data: bytes) -> str:
    """The reader's licence identity as it is printed on it."""
    area, year, day, number, counter = (
        int.from_bytes(data[a:b], "little") for a, b in ((0, 2), (2, 4), (4, 8), (8, 12), (12, 16))
    )
    return f"{area:02d}.{year:02d}-{day}-{number:010d}-{counter}"


def split_base(data: bytes) -> tuple[bytes, bytes]:
    """Text and photo of a read reply, with the lengths the reply itself names.

    Raises:
        ValueError: the lengths do not fit.
    """
    if len(data) < 2 * _LENGTH_BYTES:
        raise ValueError("a reply without lengths")
    text_bytes, photo_bytes = int.from_bytes(data[:2]), int.from_bytes(data[2:4])
    if len(data) != 2 * _LENGTH_BYTES + text_bytes + photo_bytes:
        raise ValueError("lengths that do not fit")
    return data[4 : 4 + text_bytes], data[4 + text_bytes :]
