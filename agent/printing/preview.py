"""What a receipt will look like, as PNG: the printer's own layout, drawn with the fonts of the machine.

Pillow and the fonts cost memory, so the drawing is done in a process of its own. Run as
`python -m agent.printing.preview COLUMNS COPY_NO` it takes a receipt as JSON and gives a PNG. Codes are shown as boxes.
"""

from __future__ import annotations

import asyncio
import io
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent.devices.receipt_printer.chinese import cells, clean
from agent.devices.receipt_printer.layout import CELL_DOTS, LINE_DOTS, Line, TextLine, lay_out
from agent.devices.receipt_printer.types import Barcode, Space
from agent.errors import AgentError
from agent.printing.receipt import Receipt

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

LIMIT_S: Final = 20.0
MEMORY_BYTES: Final = 768 * 1_048_576
CPU_S: Final = 15
_MARGIN: Final = 24
_QR_MODULES: Final = 29
_GLYPH_DOTS: Final = 24
_FONT: Final = Path("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc")
_FONT_FACE: Final = 2


class PreviewFailed(AgentError):
    """The receipt cannot be drawn: it does not fit this paper, or there is no font."""


async def preview(receipt: Receipt, *, columns: int, copy_no: int = 0) -> bytes:
    """A PNG of the receipt on paper of `columns` half-width characters.

    Raises:
        PreviewFailed: see there.
    """
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "agent.printing.preview", str(columns), str(copy_no),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with asyncio.timeout(LIMIT_S):
            picture, _ = await child.communicate(receipt.content())
    except TimeoutError:
        raise PreviewFailed("drawing took too long") from None
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode != 0 or not picture.startswith(b"\x89PNG"):
        raise PreviewFailed("the receipt cannot be drawn on this paper")
    return picture


def draw(receipt: Receipt, columns: int, copy_no: int) -> bytes:
    """The PNG; in this process.

    Raises:
        LayoutError: the receipt does not fit the paper.
        OSError: there is no font.
    """
    from PIL import Image, ImageDraw, ImageFont  # noqa: PLC0415 - only the child needs it

    lines = lay_out(receipt.job("preview", copy_no=copy_no).elements, columns)
    fonts = {size: ImageFont.truetype(_FONT, size, index=_FONT_FACE) for size in (_GLYPH_DOTS, 2 * _GLYPH_DOTS)}
    height = 2 * _MARGIN + sum(_height(line) for line in lines)
    picture = Image.new("L", (columns * CELL_DOTS + 2 * _MARGIN, height), 255)
    pen, top = ImageDraw.Draw(picture), _MARGIN
    for line in lines:
        _draw_line(pen, line, top, columns * CELL_DOTS, fonts)
        top += _height(line)
    out = io.BytesIO()
    picture.save(out, "PNG", optimize=True)
    return out.getvalue()


def _height(line: Line) -> int:
    if isinstance(line, TextLine):
        return LINE_DOTS * 2 if line.large else LINE_DOTS
    if isinstance(line, Space):
        return LINE_DOTS * line.lines
    if isinstance(line, Barcode):
        return line.height_dots + LINE_DOTS
    return line.module_dots * _QR_MODULES + LINE_DOTS


def _draw_line(pen: ImageDraw, line: Line, top: int, width: int, fonts: dict[int, FreeTypeFont]) -> None:
    if isinstance(line, TextLine):
        size = 2 if line.large else 1
        left = _MARGIN
        for character in clean(line.text):
            pen.text((left, top), character, font=fonts[size * _GLYPH_DOTS], fill=0, stroke_width=1 if line.bold else 0)
            left += cells(character) * CELL_DOTS * size
    elif not isinstance(line, Space):
        high = _height(line) - LINE_DOTS
        wide = width * 2 // 3 if isinstance(line, Barcode) else high
        left = _MARGIN + (width - wide) // 2
        pen.rectangle((left, top, left + wide, top + high), outline=0, width=3)
        label = "条形码" if isinstance(line, Barcode) else "二维码"
        pen.text((left + wide // 2, top + high // 2), label, font=fonts[_GLYPH_DOTS], fill=0, anchor="mm")


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    _given = Receipt.of(sys.stdin.buffer.read())
    if _given is None:
        sys.exit(1)
    sys.stdout.buffer.write(draw(_given, int(sys.argv[1]), int(sys.argv[2])))
