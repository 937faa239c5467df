"""What a recording may keep of a PIN pad's frames: commands, status, masked keys; never a block, a digit or an account.

No datum gets a digest, and times are kept to the second: the rhythm of keys says something about the digits. Data of
which every byte is a digit in clear stay recognisable as such, because that is a fault of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from operator import xor

from agent.devices.pin_pad.options import Options
from agent.recorder.parts import Digest, Framed, Mask, Part, Redactor, Taken, masked, noise, standing
from wire.profile import DeviceProfile
from wire.recording import Way

_STX = 0x02
_LENGTH_MAX = 250
_HEAD_BYTES, _OVERHEAD = 3, 3
_LIMITS_BYTES = 3  # shortest and longest entry, seconds
_GRAIN_S = 1.0
_DIGITS = frozenset(b"0123456789")
Sort = Callable[[int, bytes], list[Part]]


def redactor(profile: DeviceProfile, digest: Digest) -> Redactor:
    """What sorts the bytes of this model."""
    del digest
    return PadRedactor(Options.of(profile))


class PadRedactor(Framed):
    """Sorts both ways by the profile's commands and marks."""

    def __init__(self, options: Options) -> None:
        super().__init__(self._sent, self._came, grain_s=_GRAIN_S)
        self._enter = options.command_enter
        self._marks = {bytes((mark,)) for mark in (options.key_mark, options.erase_mark, options.cancel_mark)}

    def _sent(self, held: bytes) -> Taken | None:
        return _frame(held, self._request)

    def _came(self, held: bytes) -> Taken | None:
        return _frame(held, self._answer)

    def _request(self, command: int, data: bytes) -> list[Part]:
        if command != self._enter:
            return [masked("data", data)]
        return [data[:_LIMITS_BYTES], masked("account", data[_LIMITS_BYTES:])]

    def _answer(self, status: int, data: bytes) -> list[Part]:
        del status
        if data in self._marks and not _DIGITS.issuperset(data):
            return [data]
        return [masked("pin", data, fill=b"0" if _DIGITS.issuperset(data) else b"\0")]


def redact(data: bytes, way: Way, options: Options) -> list[Part]:
    """The parts of whole frames."""
    found = PadRedactor(options)
    return [*found.feed(way, data), *found.rest(way)]


def _frame(held: bytes, sort: Sort) -> Taken | None:
    start = held.find(_STX)
    if start != 0:
        return noise(len(held) if start < 0 else start)
    if len(held) < 2:  # noqa: PLR2004 - the length is the second byte
        return None
    length = held[1]
    if not 1 <= length <= _LENGTH_MAX:
        return noise(1)
    if len(held) < length + _OVERHEAD:
        return None
    data, check = held[_HEAD_BYTES : 2 + length], held[2 + length]
    if reduce(xor, held[1 : length + _OVERHEAD], 0):
        return noise(length + _OVERHEAD)
    parts = sort(held[2], data)
    moved = reduce(xor, data, 0) ^ reduce(xor, b"".join(map(standing, parts)), 0)
    seal = bytes((check ^ moved,))  # masked where it is the check of what is masked: a player's host has another
    is_masked = any(isinstance(part, Mask) and part.length for part in parts)
    return Taken(length + _OVERHEAD, (held[:_HEAD_BYTES], *parts, Mask("check", 1, seal) if is_masked else seal))
