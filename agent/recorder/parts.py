"""What a redactor makes of bytes, and the tools to write one. Pure: no clock, no file, no device.

The rule is default deny: a byte is shown only when the redactor knows what it is. Whatever it does not know becomes a
`Mask`, of which the length is left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from wire.recording import Way

HELD_BYTES_MAX = 64 * 1_024
DIGEST_BYTES_MIN = 8
"""A shorter datum gets no digest: equal digests of one sex or one digit would tell which it is."""

NOISE, UNKNOWN, UNFINISHED = "noise", "unknown", "unfinished"


@dataclass(frozen=True, slots=True)
class Mask:
    """Bytes that are not kept; see `wire.recording.Masked`."""

    kind: str
    length: int
    fill: bytes = b"\0"
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class Echo:
    """Bytes that the host chose and the device repeats; nothing of a person."""

    name: str
    data: bytes


Part = bytes | Mask | Echo
Digest = Callable[[bytes], str]
"""A keyed hash, equal for equal bytes within one run of the agent."""


class Redactor(Protocol):
    """Sorts the bytes of one device, both ways. What it gives back has, in order, the length of what it took."""

    @property
    def grain_s(self) -> float:
        """Times are kept this coarse; 0 keeps them as they are."""

    def feed(self, way: Way, data: bytes) -> list[Part]:
        """The parts that can be told now; bytes of which the kind is still open are held back."""

    def rest(self, way: Way) -> list[Part]:
        """Give up on what is held back: it will not become whole."""


class Lengths:
    """For a device that nobody wrote a redactor for."""

    grain_s = 0.0

    def feed(self, way: Way, data: bytes) -> list[Part]:
        """See `Redactor`."""
        del way
        return [Mask(UNKNOWN, len(data))] if data else []

    def rest(self, way: Way) -> list[Part]:
        """See `Redactor`; nothing is ever held."""
        del way
        return []


@dataclass(frozen=True, slots=True)
class Taken:
    """What was made of the first `length` bytes of what is held."""

    length: int
    parts: Sequence[Part]


Take = Callable[[bytes], Taken | None]
"""Sorts the beginning of what is held, at least one byte of it; None when more has to come first."""


class Framed:
    """A redactor for frames: one function for each way takes them off."""

    def __init__(self, sent: Take, came: Take, *, grain_s: float = 0.0) -> None:
        self.grain_s = grain_s
        self._takes = {Way.SENT: sent, Way.CAME: came}
        self._held = {Way.SENT: b"", Way.CAME: b""}

    def feed(self, way: Way, data: bytes) -> list[Part]:
        """See `Redactor`."""
        held, take = self._held[way] + data, self._takes[way]
        parts: list[Part] = []
        while held and (taken := take(held)) is not None:
            parts += taken.parts
            held = held[taken.length :]
        if len(held) > HELD_BYTES_MAX:
            parts.append(Mask(NOISE, len(held)))
            held = b""
        self._held[way] = held
        return joined(parts)

    def rest(self, way: Way) -> list[Part]:
        """See `Redactor`."""
        held, self._held[way] = self._held[way], b""
        return [Mask(UNFINISHED, len(held))] if held else []


def everything(data: bytes) -> Taken:
    """All of it is known and nobody's: a `Take`."""
    return Taken(len(data), (data,))


def noise(count: int) -> Taken:
    """The first `count` bytes are nothing that is known."""
    return Taken(count, (Mask(NOISE, count),))


def masked(kind: str, data: bytes, digest: Digest | None = None, fill: bytes = b"\0") -> Mask:
    """All of one datum, with its digest where it is long enough for one."""
    is_hashed = digest is not None and len(data) >= DIGEST_BYTES_MIN
    return Mask(kind, len(data), fill, digest(data) if digest is not None and is_hashed else None)


def standing(part: Part) -> bytes:
    """What stands for a part when the recording is played."""
    match part:
        case Mask(length=length, fill=fill):
            return (fill * (length // len(fill) + 1))[:length]
        case Echo(data=data):
            return data
        case _:
            return part


def length_of(part: Part) -> int:
    """How many bytes of the stream a part stands for."""
    match part:
        case Mask(length=length):
            return length
        case Echo(data=data):
            return len(data)
        case _:
            return len(part)


def cut(part: Part, count: int) -> tuple[Part, Part]:
    """A part in two; a mask in two has no digest any more."""
    match part:
        case Mask(kind=kind, length=length, fill=fill):
            shift = count % len(fill)
            return Mask(kind, count, fill), Mask(kind, length - count, fill[shift:] + fill[:shift])
        case Echo(name=name, data=data):
            return Echo(name, data[:count]), data[count:]
        case _:
            return part[:count], part[count:]


def joined(parts: Sequence[Part]) -> list[Part]:
    """Neighbours of the same kind as one; nothing empty."""
    found: list[Part] = []
    for part in parts:
        last = found[-1] if found else None
        if length_of(part) == 0:
            continue
        if isinstance(part, bytes) and isinstance(last, bytes):
            found[-1] = last + part
        elif isinstance(part, Mask) and isinstance(last, Mask) and _is_one(last, part):
            found[-1] = Mask(part.kind, last.length + part.length, part.fill)
        else:
            found.append(part)
    return found


def _is_one(first: Mask, second: Mask) -> bool:
    is_bare = first.digest is None and second.digest is None
    return is_bare and len(first.fill) == 1 and (first.kind, first.fill) == (second.kind, second.fill)
