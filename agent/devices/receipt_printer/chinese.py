"""Chinese text for a printer's own font: which characters it can print, and as which bytes.

Follows GB 18030 and the font areas printer manuals name (two-byte characters only). A character is never replaced
by another: what the printer's font cannot print is left to a picture, see `glyphs.py`.
"""

from __future__ import annotations

import unicodedata
from enum import StrEnum

_DROPPED = {"Cc", "Cf", "Zl", "Zp"}
_IDEOGRAPHIC_SPACE = "\u3000"
_VARIATION_SELECTORS = (range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0))
_TWO_BYTES = 2
_ASCII_END = 0x80


class Charset(StrEnum):
    """What a printer's Chinese font holds; `gb18030` is its two-byte part."""

    NONE = "none"
    GB2312 = "gb2312"
    GBK = "gbk"
    GB18030 = "gb18030"


_CODEC = {Charset.NONE: "ascii", Charset.GB2312: "gb2312", Charset.GBK: "gbk", Charset.GB18030: "gb18030"}


def clean(text: str) -> str:
    """`text` without anything that could command a printer or turn text around; white space becomes a space.

    Characters of private use stay: a name may be written with them, and losing one silently would be worse than
    a receipt that cannot be printed.
    """
    if text.isascii() and text.isprintable():
        return text
    kept = (_kept(character) for character in unicodedata.normalize("NFC", text))
    return "".join(kept)


def _kept(character: str) -> str:
    if character in "\t\n\r\v\f\u2028\u2029\x85":
        return " "
    category = unicodedata.category(character)
    if category in _DROPPED or any(ord(character) in selectors for selectors in _VARIATION_SELECTORS):
        return ""
    return " " if category == "Zs" and character != _IDEOGRAPHIC_SPACE else character


def cells(text: str) -> int:
    """How wide `text` prints, in half-width characters: one for ASCII, two for everything else."""
    return len(text) if text.isascii() else sum(1 if ord(character) < _ASCII_END else 2 for character in text)


def encode(text: str, charset: Charset) -> bytes | None:
    """The bytes for the printer in Chinese mode; None when its font lacks a character.

    With `gb18030` only two-byte characters count, because printers have no font for four bytes.
    """
    try:
        if charset is Charset.GB18030:
            # the codec's extra two-byte characters moved between editions of the standard: fonts differ there
            encoded = text.encode("gb18030")
            return encoded if len(encoded) == cells(text) and text.encode("gbk", "ignore") == encoded else None
        encoded = text.encode(_CODEC[charset])
    except UnicodeEncodeError:
        return None
    return encoded if len(encoded) == cells(text) else None
