"""A receipt as data, made into the lines and bytes of one model of printer.

Widths are counted in half-width characters: ASCII takes one, a Chinese character two, so columns stand below each
other on every printer with such a font. Texts come from outside and are cleaned here: no ESC, GS or DLE of theirs
reaches the printer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import assert_never

from agent.devices.receipt_printer import frames_page as page
from agent.devices.receipt_printer.chinese import Charset, cells, clean, encode
from agent.devices.receipt_printer.glyphs import Glyphs
from agent.devices.receipt_printer.types import (
    Align,
    Barcode,
    Column,
    Element,
    Pair,
    QrCode,
    Rule,
    Space,
    Table,
    Text,
)

CELL_DOTS = 12
LINE_DOTS = 30
ELEMENTS_LIMIT, LINES_LIMIT = 400, 600
_GAP = 1
_FEN_PER_YUAN = 100


class LayoutError(Exception):
    """The receipt cannot be laid out on this printer; the text names the rule, never a text of the receipt."""


@dataclass(frozen=True, slots=True)
class PageFormat:
    """What of a printer's profile the layout needs."""

    columns: int = 48
    charset: Charset = Charset.GB18030
    cut: page.Cut = page.Cut.PARTIAL
    qr: bool = True
    chinese_large: bool = False

    @property
    def width_dots(self) -> int:
        """The printable width."""
        return self.columns * CELL_DOTS

    @property
    def command_bytes(self) -> int:
        """At least as long as the longest command `compose` makes: a picture of a large line, or a QR code."""
        return max((self.width_dots + 7) // 8 * LINE_DOTS * 2, page.QR_LIMIT) + 64


@dataclass(frozen=True, slots=True)
class TextLine:
    """One line that fits the paper."""

    text: str = field(repr=False)
    bold: bool = False
    large: bool = False


@dataclass(frozen=True, slots=True)
class Printout:
    """Bytes up to and with the cut, in parts between which a printer may be asked something.

    A real-time request within a command or a character would become a part of it. `height_dots` is about the paper
    that is needed.
    """

    parts: tuple[bytes, ...] = field(repr=False)
    lines: int
    height_dots: int
    pictures: int

    @property
    def data(self) -> bytes:
        """All of it."""
        return b"".join(self.parts)


Line = TextLine | Space | QrCode | Barcode


def yuan(amount_fen: int) -> str:
    """An amount as receipts show it: 123456 fen are 1234.56."""
    whole, rest = divmod(abs(amount_fen), _FEN_PER_YUAN)
    return f"{'-' if amount_fen < 0 else ''}{whole}.{rest:02}"


def lay_out(elements: Sequence[Element], columns: int) -> list[Line]:
    """The lines of a receipt on paper of `columns` half-width characters.

    Raises:
        LayoutError: a table does not fit, or the receipt has no end.
    """
    if len(elements) > ELEMENTS_LIMIT:
        raise LayoutError("a receipt has too many elements")
    lines: list[Line] = []
    for element in elements:
        lines += _lines_of(element, columns)
        if len(lines) > LINES_LIMIT:
            raise LayoutError("a receipt has too many lines")
    return lines


def needs_picture(lines: Iterable[Line], charset: Charset) -> bool:
    """Whether any line holds a character the printer's font lacks."""
    return any(isinstance(line, TextLine) and encode(line.text, charset) is None for line in lines)


def compose(lines: Sequence[Line], form: PageFormat, glyphs: Glyphs) -> Printout:
    """The bytes of all lines, from ESC @ to the cut.

    Raises:
        LayoutError: this printer cannot print an element.
        DeviceFault: a character is in no font.
    """
    parts = [page.INITIALIZE, page.CHINESE_ON]
    pictures = height_dots = 0
    style = (False, False)
    for line in lines:
        if isinstance(line, TextLine):
            encoded = encode(line.text, form.charset)
            large = 2 if line.large else 1
            height_dots += LINE_DOTS * large
            if encoded is None:
                pictures += 1
                parts.append(_drawn(line, form, glyphs))
                continue
            if (line.bold, line.large) != style:
                parts.append(_styled(style, (line.bold, line.large), form))
                style = (line.bold, line.large)
            parts.append(encoded + b"\n")
        else:
            data, dots = _special(line, form)
            parts.append(data)
            height_dots += dots
    parts += [_styled(style, (False, False), form), page.CHINESE_OFF, page.encode_cut(form.cut)]
    return Printout(tuple(parts), len(lines), height_dots, pictures)


def wrap(text: str, width: int) -> list[str]:
    """`text` in pieces of at most `width` cells, broken at spaces where that is near enough."""
    lines: list[str] = []
    while cells(text) > width:
        end = _fitting(text, width)
        space = text.rfind(" ", end // 2, end + 1)
        if space > 0 and text[end - 1].isascii() and text[end : end + 1].isascii():
            lines.append(text[:space].rstrip())
            text = text[space:].lstrip()
        else:
            lines.append(text[:end].rstrip())
            text = text[end:].lstrip()
    if text or not lines:
        lines.append(text)
    return lines


def _fitting(text: str, width: int) -> int:
    used = 0
    for index, character in enumerate(text):
        used += cells(character)
        if used > width:
            return max(index, 1)
    return len(text)


def _lines_of(element: Element, columns: int) -> list[Line]:
    match element:
        case Text():
            width = columns // 2 if element.large else columns
            pieces = (piece for part in element.text.splitlines() or [""] for piece in wrap(clean(part), width))
            return [TextLine(_placed(piece, width, element.align), element.bold, element.large) for piece in pieces]
        case Pair():
            return [TextLine(line, element.bold) for line in _pair(clean(element.label), clean(element.value), columns)]
        case Table():
            return [TextLine(line) for line in _table(element, columns)]
        case Rule():
            return [TextLine("-" * columns)]
        case Space() | QrCode() | Barcode():
            return [element]
        case _:
            assert_never(element)


def _placed(text: str, width: int, align: Align) -> str:
    free = max(0, width - cells(text))
    match align:
        case Align.LEFT:
            return text
        case Align.CENTER:
            return " " * (free // 2) + text
        case Align.RIGHT:
            return " " * free + text
        case _:
            assert_never(align)


def _pair(label: str, value: str, columns: int) -> list[str]:
    if cells(label) + cells(value) + _GAP <= columns:  # by far the most
        return [label + " " * (columns - cells(label) - cells(value)) + value]
    lines = wrap(label, columns) if label else []
    last = lines[-1] if lines else ""
    if lines and cells(last) + cells(value) + _GAP <= columns:
        return [*lines[:-1], last + " " * (columns - cells(last) - cells(value)) + value]
    return lines + [_placed(piece, columns, Align.RIGHT) for piece in wrap(value, columns)]


def _table(table: Table, columns: int) -> list[str]:
    widths = _widths(table.columns, columns)
    lines: list[str] = []
    for row in table.rows:
        if len(row) != len(widths):
            raise LayoutError("a table's row has another number of cells than the table")
        wrapped = [wrap(clean(cell), width) for cell, width in zip(row, widths, strict=True)]
        for number in range(max(map(len, wrapped))):
            here = [pieces[number] if number < len(pieces) else "" for pieces in wrapped]
            lines.append(_row(table.columns, widths, here))
    return lines


def _row(columns: Sequence[Column], widths: Sequence[int], pieces: Sequence[str]) -> str:
    parts = []
    for column, width, piece in zip(columns, widths, pieces, strict=True):
        text = _placed(piece, width, column.align)
        parts.append(text + " " * (width - cells(text)))
    return (" " * _GAP).join(parts).rstrip()


def _widths(columns: Sequence[Column], total: int) -> list[int]:
    sharing = sum(1 for column in columns if column.cells == 0)
    free = total - _GAP * (len(columns) - 1) - sum(column.cells for column in columns)
    least = 2  # one Chinese character
    if not columns or free < sharing * least or any(0 < column.cells < least for column in columns):
        raise LayoutError("a table is wider than the paper")
    share, rest = divmod(free, sharing) if sharing else (0, 0)
    widths = []
    for column in columns:
        widths.append(column.cells or share + (1 if rest > 0 else 0))
        rest -= 0 if column.cells else 1
    return widths


def _styled(before: tuple[bool, bool], after: tuple[bool, bool], form: PageFormat) -> bytes:
    parts = []
    if before[0] != after[0]:
        parts.append(page.BOLD_ON if after[0] else page.BOLD_OFF)
    if before[1] != after[1]:
        parts.append(page.LARGE_ON if after[1] else page.LARGE_OFF)
        if form.chinese_large:
            parts.append(page.CHINESE_LARGE_ON if after[1] else page.CHINESE_LARGE_OFF)
    return b"".join(parts)


def _drawn(line: TextLine, form: PageFormat, glyphs: Glyphs) -> bytes:
    scale = 2 if line.large else 1
    picture = glyphs.draw(
        line.text, cell_dots=CELL_DOTS * scale, height_dots=LINE_DOTS * scale, width_dots=form.width_dots
    )
    return page.encode_raster(picture.width_bytes, picture.rows)


def _special(line: Space | QrCode | Barcode, form: PageFormat) -> tuple[bytes, int]:
    try:
        match line:
            case Space():
                return page.encode_feed(min(line.lines, LINES_LIMIT)), line.lines * LINE_DOTS
            case QrCode():
                if not form.qr:
                    raise LayoutError("this printer draws no QR codes")
                return _centered(page.encode_qr(clean(line.content).encode(), line.module_dots)), line.module_dots * 60
            case Barcode():
                data = page.encode_barcode(clean(line.content), line.height_dots)
                return _centered(data), line.height_dots + LINE_DOTS
            case _:
                assert_never(line)
    except ValueError as error:
        raise LayoutError(str(error)) from None


def _centered(data: bytes) -> bytes:
    return page.CENTER + data + b"\n" + page.LEFT
