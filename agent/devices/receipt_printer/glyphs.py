"""Lines of text as pictures, for characters the printer's own font lacks.

Needs Pillow, loaded with the first such line, and one of the fonts below. A character no font has is an error, never
a question mark or a box.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agent.devices.receipt_printer.chinese import cells
from agent.errors import DeviceFault
from wire.faults import Fault

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont


@dataclass(frozen=True, slots=True)
class FontFile:
    """A font of a Debian package; `index` picks the simplified Chinese face of a collection."""

    path: Path
    package: str
    index: int = 0


FONTS: tuple[FontFile, ...] = (
    FontFile(Path("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc"), "fonts-noto-cjk", 2),
    FontFile(Path("/usr/share/fonts/truetype/hanazono/HanaMinA.ttf"), "fonts-hanazono"),
    FontFile(Path("/usr/share/fonts/truetype/hanazono/HanaMinB.ttf"), "fonts-hanazono"),
)
_NOT_A_CHARACTER = "\U0010ffff"
_BLACK_FROM = 110  # of 255: thin strokes stay whole at 24 dots


@dataclass(frozen=True, slots=True)
class Picture:
    """Rows of dots, a set bit is black."""

    width_bytes: int
    rows: bytes


class Glyphs:
    """Draws lines on the grid of the printer's own characters. Not for two threads at once."""

    def __init__(self, fonts: Sequence[FontFile] = FONTS) -> None:
        self._files = tuple(fonts)
        self._loaded: dict[int, list[tuple[FreeTypeFont, bytes]]] = {}

    def are_available(self) -> bool:
        """Whether there is any font."""
        return any(font.path.is_file() for font in self._files)

    def draw(self, text: str, *, cell_dots: int, height_dots: int, width_dots: int) -> Picture:
        """One line, `cell_dots` for a half-width character and twice that for the size of the others.

        Raises:
            DeviceFault: there is no font, or none has a character; the text names no character.
        """
        from PIL import Image  # noqa: PLC0415 - several MiB that few kiosks ever need

        fonts = self._fonts(cell_dots * 2)
        line = Image.new("L", (width_dots, height_dots), 0)
        at = 0
        for character in text:
            width = cells(character) * cell_dots
            if not character.isspace():
                font = _font_with(character, fonts)
                left, _, right, _ = font.getbbox(character, anchor="ls")
                glyph = Image.new("L", (width, height_dots), 0)
                _draw(glyph, (round((width - left - right) / 2), round(cell_dots * 1.76)), character, font)
                line.paste(glyph, (at, 0))
            at += width
        dots = line.point([0] * _BLACK_FROM + [255] * (256 - _BLACK_FROM)).convert("1")
        return Picture((width_dots + 7) // 8, dots.tobytes())

    def _fonts(self, size_dots: int) -> Sequence[tuple[FreeTypeFont, bytes]]:
        from PIL import ImageFont  # noqa: PLC0415 - see draw

        if size_dots not in self._loaded:
            self._loaded[size_dots] = [
                (font, bytes(font.getmask(_NOT_A_CHARACTER)))
                for file in self._files
                if file.path.is_file()
                for font in (ImageFont.truetype(file.path, size_dots, index=file.index),)
            ]
        if not self._loaded[size_dots]:
            packages = " or ".join(dict.fromkeys(file.package for file in self._files))
            raise DeviceFault(Fault.DEVICE_ERROR, f"no font for rare characters: install {packages}")
        return self._loaded[size_dots]


def _font_with(character: str, fonts: Sequence[tuple[FreeTypeFont, bytes]]) -> FreeTypeFont:
    """The first font that draws something else than its box for missing characters."""
    try:
        for font, box in fonts:
            mask = bytes(font.getmask(character))
            if any(mask) and mask != box:
                return font
    except UnicodeEncodeError:
        pass  # half of a surrogate pair is no character
    raise DeviceFault(Fault.DEVICE_ERROR, "no installed font has a character of this receipt")


def _draw(image: object, place: tuple[int, int], character: str, font: FreeTypeFont) -> None:
    from PIL import Image, ImageDraw  # noqa: PLC0415 - see draw

    assert isinstance(image, Image.Image)  # noqa: S101 - the type is only known once Pillow is loaded
    ImageDraw.Draw(image).text(place, character, fill=255, font=font, anchor="ls")
