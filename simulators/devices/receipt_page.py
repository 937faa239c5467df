"""Paper: what an ESC/POS printer makes of the bytes in its buffer.

Written from Epson's ESC/POS command reference and Custom's manuals of KPM150-H and KPM210, for judging what an agent
sends: unknown commands are kept, a character the font lacks prints as `?`, and a line that is too long wraps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

LINE_DOTS = 30
_ESC, _FS, _GS, _DLE, _LF, _CR = 0x1B, 0x1C, 0x1D, 0x10, 0x0A, 0x0D
_BY_TWO, _BIT_IMAGE_DOTS = 2, 24
_SPACE, _HIGH, _TRAIL_FIRST, _TRAIL_LAST = 0x20, 0x80, 0x40, 0xFE


@dataclass(frozen=True, slots=True)
class PrintedLine:
    """A line of characters."""

    text: str
    bold: bool = False
    large: bool = False
    centered: bool = False


@dataclass(frozen=True, slots=True)
class PrintedPicture:
    """A raster picture, `rows` of `width_bytes` each."""

    width_bytes: int
    rows: bytes

    @property
    def height_dots(self) -> int:
        """How many rows."""
        return len(self.rows) // self.width_bytes

    @property
    def black_dots(self) -> int:
        """How many dots are set."""
        return sum(byte.bit_count() for byte in self.rows)


@dataclass(frozen=True, slots=True)
class PrintedQr:
    """A QR code and the size of its squares."""

    content: bytes
    module_dots: int


@dataclass(frozen=True, slots=True)
class PrintedBarcode:
    """A Code 128 barcode."""

    content: str
    height_dots: int


@dataclass(frozen=True, slots=True)
class PaperCut:
    """Where the cutter went through; `m` of GS V."""

    mode: int


Item = PrintedLine | PrintedPicture | PrintedQr | PrintedBarcode | PaperCut


@dataclass(frozen=True, slots=True)
class Step:
    """What one command or line did: paper moved, things printed, or something the printer has to do."""

    consumed: int
    item: Item | None = None
    dots: int = 0
    command: bytes = b""


# Lengths of arguments after the two bytes of the command.
_PLAIN: Mapping[bytes, int] = {
    b"\x1b2": 0,
    b"\x1b3": 1,
    b"\x1bR": 1,
    b"\x1bt": 1,
    b"\x1bM": 1,
    b"\x1b-": 1,
    b"\x1c!": 1,
    b"\x1cW": 1,
    b"\x1df": 1,
    b"\x1dw": 1,
    b"\x1dH": 1,
}
_FOR_PRINTER: Mapping[bytes, int] = {b"\x1da": 1, b"\x1dr": 1, b"\x1dI": 1, b"\x1bp": 3}
_MODES: Mapping[bytes, tuple[str, int]] = {
    b"\x1bE": ("bold", 1),
    b"\x1ba": ("align", 1),
    b"\x1d!": ("size", 1),
    b"\x1dh": ("bar_height", 1),
    b"\x1c&": ("chinese", 0),
    b"\x1c.": ("latin", 0),
}
_REAL_TIME_LENGTHS = {0x04: 3, 0x05: 3, 0x14: 5}


class Paper:
    """Takes one command or line after the other off the front of a buffer."""

    def __init__(self, columns: int, charset: str) -> None:
        self._columns = columns
        self._charset = charset
        self.unknown: list[bytes] = []
        self.wrapped = 0
        self._initialize()
        self._parsers: Mapping[bytes, Callable[[bytes], Step | None]] = {
            b"\x1b@": self._reset,
            b"\x1bd": self._feed,
            b"\x1bJ": self._feed,
            b"\x1b*": self._bit_image,
            b"\x1dv": self._raster,
            b"\x1dk": self._barcode,
            b"\x1d(": self._function,
            b"\x1dV": self._cut,
            b"\x1de": self._ejector,
        }

    def _initialize(self) -> None:
        self._line: list[str] = []
        self._width = 0
        self._is_bold = self._is_chinese = False
        self._scale = 1
        self._align = 0
        self._bar_height = 162
        self._qr = b""
        self._qr_dots = 3

    def drop_line(self) -> None:
        """Forget the characters that are not printed yet."""
        self._line, self._width = [], 0

    def take(self, buffer: bytes) -> Step | None:
        """The next step; None when the buffer ends within a command."""
        first = buffer[0]
        if first in {_ESC, _FS, _GS}:
            return self._command(buffer)
        if first == _DLE:
            return self._real_time(buffer)
        if first == _LF:
            return self._end_line(1)
        if first < _SPACE:
            return Step(1)
        return self._character(buffer)

    def _real_time(self, buffer: bytes) -> Step | None:
        """Carried out when it came; here it is only skipped."""
        if len(buffer) < _BY_TWO:
            return None
        length = 10 if buffer[1:3] == b"\x14\x08" else _REAL_TIME_LENGTHS.get(buffer[1], 1)
        return Step(length) if len(buffer) >= length else None

    def _character(self, buffer: bytes) -> Step | None:
        first = buffer[0]
        if first < _HIGH:
            self._put(chr(first), 1)
            return Step(1)
        if not self._is_chinese:
            self._put("?", 1)
            return Step(1)
        if len(buffer) < _BY_TWO:
            return None
        if not _TRAIL_FIRST <= buffer[1] <= _TRAIL_LAST:
            self._put("?", 1)
            return Step(1)
        character = buffer[:2].decode(self._charset, "replace")
        self._put(character if len(character) == 1 and character != "\ufffd" else "?", 2)
        return Step(2)

    def _put(self, character: str, cells: int) -> None:
        if self._width + cells * self._scale > self._columns:
            self.wrapped += 1
            self._line.append("\n")
            self._width = 0
        self._line.append(character)
        self._width += cells * self._scale

    def _end_line(self, consumed: int) -> Step:
        text = "".join(self._line)
        self._line, self._width = [], 0
        dots = LINE_DOTS * self._scale
        if not text:
            return Step(consumed, dots=dots)
        line = PrintedLine(text, bold=self._is_bold, large=self._scale > 1, centered=self._align == 1)
        return Step(consumed, line, dots)

    def _command(self, buffer: bytes) -> Step | None:
        head = buffer[:2]
        if len(head) < _BY_TWO:
            return None
        if head in self._parsers:
            return self._parsers[head](buffer)
        for table in (_PLAIN, _FOR_PRINTER):
            if head in table:
                length = 2 + table[head]
                ours = head in _FOR_PRINTER
                return Step(length, command=buffer[:length] if ours else b"") if len(buffer) >= length else None
        if head in _MODES:
            return self._mode(buffer, *_MODES[head])
        self.unknown.append(head)
        return Step(2)

    def _mode(self, buffer: bytes, name: str, arguments: int) -> Step | None:
        if len(buffer) < 2 + arguments:
            return None
        value = buffer[2] if arguments else 0
        match name:
            case "bold":
                self._is_bold = bool(value & 1)
            case "align":
                self._align = value % 48
            case "size":
                self._scale = 2 if value == 0x11 else 1  # noqa: PLR2004 - twice as wide and high
            case "bar_height":
                self._bar_height = value
            case _:
                self._is_chinese = name == "chinese"
        return Step(2 + arguments)

    def _reset(self, _: bytes) -> Step:
        self._initialize()
        return Step(2)

    def _feed(self, buffer: bytes) -> Step | None:
        if len(buffer) < 3:  # noqa: PLR2004 - with its argument
            return None
        line = self._end_line(3)
        return Step(3, line.item, buffer[2] * (LINE_DOTS if buffer[1:2] == b"d" else 1))

    def _raster(self, buffer: bytes) -> Step | None:
        if len(buffer) < 8:  # noqa: PLR2004 - GS v 0 m xL xH yL yH
            return None
        width, height = int.from_bytes(buffer[4:6], "little"), int.from_bytes(buffer[6:8], "little")
        end = 8 + width * height
        if len(buffer) < end:
            return None
        return Step(end, PrintedPicture(width, buffer[8:end]), height)

    def _bit_image(self, buffer: bytes) -> Step | None:
        if len(buffer) < 5:  # noqa: PLR2004 - ESC * m nL nH
            return None
        end = 5 + int.from_bytes(buffer[3:5], "little") * (3 if buffer[2] & 0x20 else 1)
        return Step(end, dots=_BIT_IMAGE_DOTS) if len(buffer) >= end else None

    def _barcode(self, buffer: bytes) -> Step | None:
        if len(buffer) < 4 or len(buffer) < 4 + buffer[3]:  # noqa: PLR2004 - GS k m n
            return None
        body = buffer[4 : 4 + buffer[3]]
        if buffer[2] != ord("I") or not body.startswith(b"{B"):
            self.unknown.append(buffer[:3])
            return Step(4 + len(body))
        content = body[2:].decode("ascii", "replace").replace("{{", "{")
        return Step(4 + len(body), PrintedBarcode(content, self._bar_height), self._bar_height + LINE_DOTS)

    def _function(self, buffer: bytes) -> Step | None:
        if len(buffer) < 5:  # noqa: PLR2004 - GS ( x pL pH
            return None
        end = 5 + int.from_bytes(buffer[3:5], "little")
        if len(buffer) < end:
            return None
        body = buffer[5:end]
        match buffer[2:3], body[:2]:
            case b"k", b"1C":
                self._qr_dots = body[2]
            case b"k", b"1P":
                self._qr = body[3:]
            case b"k", b"1Q":
                return Step(end, PrintedQr(self._qr, self._qr_dots), self._qr_dots * 29)
            case b"k", b"1A" | b"1E":
                pass
            case b"H", b"00":
                return Step(end, command=buffer[:end])
            case _:
                self.unknown.append(buffer[:3])
        return Step(end)

    def _cut(self, buffer: bytes) -> Step | None:
        length = 4 if buffer[2:3] in {b"A", b"B"} else 3
        if len(buffer) < length:
            return None
        return Step(length, PaperCut(buffer[2]), 60, command=b"\x1dV")

    def _ejector(self, buffer: bytes) -> Step | None:
        length = 4 if buffer[2:3] == b"\x03" else 3
        return Step(length, command=buffer[:length]) if len(buffer) >= length else None
