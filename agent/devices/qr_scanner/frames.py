"""Scanners that send plain lines: a code ends with its suffix, or where no suffix is set, with a pause.

AIM identifiers (ISO/IEC 15424) before the data are taken off when the scanner is set to send them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

CODE_LIMIT_BYTES = 4_096
_AIM_BYTES = 3


class Suffix(StrEnum):
    """What a scanner puts behind each code."""

    CR = "cr"
    LF = "lf"
    CRLF = "crlf"
    TAB = "tab"
    NONE = "none"


_ENDS = {Suffix.CR: b"\r", Suffix.LF: b"\n", Suffix.CRLF: b"\r\n", Suffix.TAB: b"\t", Suffix.NONE: b""}

# ISO/IEC 15424: the letter behind the bracket
_SYMBOLOGIES = {
    "A": "code39", "C": "code128", "E": "ean", "F": "codabar", "G": "code93", "I": "interleaved2of5", "L": "pdf417",
    "Q": "qr", "d": "datamatrix", "e": "databar", "z": "aztec", "h": "hanxin",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Code:
    """One code as it was printed, without what the scanner adds."""

    data: bytes = field(repr=False)
    symbology: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What the scanner said to a command."""

    is_ok: bool
    facts: str = ""


@dataclass(frozen=True, slots=True)
class Respond:
    """What the host has to send now."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Garbage:
    """Something that is no frame of this dialect, or too long."""


Item = Code | Answer | Respond | Garbage


class Decoder:
    """Takes codes off a stream; bounded, and in step again after the next suffix or pause."""

    def __init__(self, suffix: Suffix = Suffix.CR, *, has_aim: bool = False) -> None:
        self._end = _ENDS[suffix]
        self._has_aim = has_aim
        self._buffer = bytearray()
        self._is_skipping = False

    @property
    def is_waiting(self) -> bool:
        """Whether a part of something is held: then a pause means something."""
        return bool(self._buffer) or self._is_skipping

    def feed(self, data: bytes) -> list[Item]:
        """Every code that is whole now."""
        self._buffer += data
        found: list[Item] = []
        while self._end and (at := self._buffer.find(self._end)) >= 0:
            line = bytes(self._buffer[:at])
            del self._buffer[: at + len(self._end)]
            found += self._line(line)
        if len(self._buffer) > CODE_LIMIT_BYTES:
            self._buffer.clear()
            self._is_skipping = True
        return found

    def pause(self) -> list[Item]:
        """Nothing came for a while: what is held is a code where no suffix is set, else half of one that is lost."""
        held = bytes(self._buffer)
        self._buffer.clear()
        if not self._end:
            return self._line(held)
        is_lost = bool(held) or self._is_skipping
        self._is_skipping = False
        return [Garbage()] if is_lost else []

    def reset(self) -> None:
        """Forget what is held."""
        self._buffer.clear()
        self._is_skipping = False

    def _line(self, line: bytes) -> list[Item]:
        if self._is_skipping or len(line) > CODE_LIMIT_BYTES:
            self._is_skipping = False
            return [Garbage()]
        line = line.strip(b"\r\n")
        if not line:
            return []
        symbology = None
        if self._has_aim and line[:1] == b"]" and len(line) > _AIM_BYTES:
            symbology = _SYMBOLOGIES.get(chr(line[1]), "other")
            line = line[_AIM_BYTES:]
        return [Code(line, symbology)]


def text_of(data: bytes) -> str | None:
    """UTF-8, else GBK; None when it is neither, or holds control characters other than GS (GS1 data has them)."""
    for charset in ("utf-8", "gb18030"):
        try:
            text = data.decode(charset)
        except UnicodeDecodeError:
            continue
        return text if all(character >= " " or character == "\x1d" for character in text) else None
    return None
