"""A printed receipt as a picture: what the thermal head would have burnt, one pixel a dot."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import segno
from PIL import Image, ImageDraw, ImageFont

from simulators.devices.receipt_page import (
    Item,
    PaperCut,
    PrintedBarcode,
    PrintedLine,
    PrintedPicture,
    PrintedQr,
)

_CELL, _ROW, _POINTS = 12, 30, 22
_MARGIN, _GAP, _CUT_ROWS = 24, 6, 14
_BARS = _MODULE = 2
_HEIGHT_MAX = 20_000
_WIDE = 0x2E80
"""From here on a character takes two cells, as in the fonts of printers."""
_FONTS = (
    ("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc", 2),
    ("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc", 0),
    ("/usr/share/fonts/truetype/hanazono/HanaMinA.ttf", 0),
    ("/usr/share/fonts/truetype/hanazono/HanaMinB.ttf", 0),
)
_CODE128 = (
    "212222222122222221121223121322131222122213122312132212221213221312231212112232122132122231113222123122123221"
    "223211221132221231213212223112312131311222321122321221312212322112322211212123212321232121111323131123131321"
    "112313132113132311211313231113231311112133112331132131113123113321133121313121211331231131213113213311213131"
    "311123311321331121312113312311332111314111221411431111111224111422121124121421141122141221112214112412122114"
    "122411142112142211241211221114413111241112134111111242121142121241114212124112124211411212421112421211212141"
    "214121412121111143111341131141114113114311411113411311113141114131311141411131211412211214211232"
)
_PATTERN = 6
_START_B, _STOP, _CHECK_MODULO = 104, "2331112", 103


def png(items: Sequence[Item], columns: int) -> bytes:
    """The picture of these items on paper of so many columns; very long ones are cut off at the end."""
    width = columns * _CELL + 2 * _MARGIN
    parts = [_part(item, columns * _CELL) for item in items]
    height = min(sum(part.height + _GAP for part in parts) + 2 * _MARGIN, _HEIGHT_MAX)
    paper = Image.new("L", (width, height), 255)
    top = _MARGIN
    for part in parts:
        paper.paste(part, (_MARGIN, top))
        top += part.height + _GAP
    out = io.BytesIO()
    paper.save(out, "PNG", optimize=True)
    return out.getvalue()


def _part(item: Item, width: int) -> Image.Image:
    match item:
        case PrintedLine():
            return _line(item, width)
        case PrintedPicture():
            return _centered(_bits(item), width)
        case PrintedQr():
            return _centered(_qr(item), width)
        case PrintedBarcode():
            return _centered(_barcode(item), width)
        case PaperCut():
            return _cut(width)


def _line(item: PrintedLine, width: int) -> Image.Image:
    scale = 2 if item.large else 1
    rows = item.text.split("\n")
    image = Image.new("L", (width, _ROW * scale * len(rows)), 255)
    for number, row in enumerate(rows):
        cells = sum(cells_of(character) for character in row)
        row_width = max(1, cells * _CELL)
        small = Image.new("L", (row_width, _ROW), 255)
        _characters(ImageDraw.Draw(small), row, is_bold=item.bold)
        drawn = small.resize((row_width * scale, _ROW * scale)) if item.large else small
        image.paste(drawn, ((width - drawn.width) // 2 if item.centered else 0, number * _ROW * scale))
    return image


def _characters(draw: ImageDraw.ImageDraw, row: str, *, is_bold: bool) -> None:
    left = 0
    for character in row:
        font = _font_of(character)
        cells = cells_of(character)
        middle = left + cells * _CELL / 2
        for shift in (0.0, 0.8) if is_bold else (0.0,):
            draw.text((middle + shift, _ROW - 7), character, font=font, fill=0, anchor="ms")
        left += cells * _CELL


def cells_of(character: str) -> int:
    """How many cells of the paper a character takes."""
    return 2 if ord(character) >= _WIDE else 1


@lru_cache(maxsize=8)
def _font(number: int) -> ImageFont.FreeTypeFont | None:
    path, index = _FONTS[number]
    return ImageFont.truetype(path, _POINTS, index=index) if Path(path).is_file() else None


@lru_cache(maxsize=4_096)
def _font_of(character: str) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The first font that has the character; the first one at all when none has."""
    found = [font for font in map(_font, range(len(_FONTS))) if font is not None]
    if not found:
        return ImageFont.load_default(_POINTS)
    return next(
        (font for font in found if bytes(font.getmask(character)) != bytes(font.getmask("\U0010fffd"))), found[0]
    )


def _bits(item: PrintedPicture) -> Image.Image:
    inverted = bytes(byte ^ 0xFF for byte in item.rows[: item.width_bytes * item.height_dots])
    if not inverted:
        return Image.new("L", (1, 1), 255)
    return Image.frombytes("1", (item.width_bytes * 8, item.height_dots), inverted).convert("L")


def _qr(item: PrintedQr) -> Image.Image:
    try:
        code = segno.make_qr(item.content, boost_error=False)
    except (segno.DataOverflowError, ValueError):
        return Image.new("L", (_ROW, _ROW), 0)
    out = io.BytesIO()
    code.save(out, kind="png", scale=max(1, min(16, item.module_dots)), border=2)
    with Image.open(out) as image:
        return image.convert("L")


def code128(content: str) -> str:
    """Widths of bars and gaps, code set B; a character it lacks is a space."""
    values = [ord(letter) - 32 if " " <= letter <= "~" else 0 for letter in content]
    check = (_START_B + sum(place * value for place, value in enumerate(values, 1))) % _CHECK_MODULO
    return "".join(_CODE128[value * _PATTERN :][:_PATTERN] for value in (_START_B, *values, check)) + _STOP


def _barcode(item: PrintedBarcode) -> Image.Image:
    widths = [int(width) * _BARS for width in code128(item.content)]
    image = Image.new("L", (sum(widths) or 1, max(1, item.height_dots) + _ROW), 255)
    draw = ImageDraw.Draw(image)
    left = 0
    for number, width in enumerate(widths):
        if number % 2 == 0:
            draw.rectangle((left, 0, left + width - 1, item.height_dots - 1), fill=0)
        left += width
    text_width = len(item.content) * _CELL
    label = Image.new("L", (max(1, text_width), _ROW), 255)
    _characters(ImageDraw.Draw(label), item.content, is_bold=False)
    image.paste(label, (max(0, (image.width - text_width) // 2), item.height_dots))
    return image


def _centered(part: Image.Image, width: int) -> Image.Image:
    image = Image.new("L", (width, part.height), 255)
    image.paste(part, ((width - part.width) // 2, 0))
    return image


def _cut(width: int) -> Image.Image:
    image = Image.new("L", (width, _CUT_ROWS), 255)
    draw = ImageDraw.Draw(image)
    for left in range(0, width, 16):
        draw.line((left, _CUT_ROWS // 2, left + 8, _CUT_ROWS // 2), fill=160)
    return image
