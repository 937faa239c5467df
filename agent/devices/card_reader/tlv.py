"""BER-TLV as cards use it (ISO/IEC 7816-4, EMV Book 3 annex B): bounded, and never surprised."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

_CONSTRUCTED, _LONG_TAG, _MORE = 0x20, 0x1F, 0x80
_PADDING = (0x00, 0xFF)
_DEPTH_LIMIT = 6
_TAG_BYTES_LIMIT = 3
_LENGTH_BYTES_LIMIT = 2


class TlvError(ValueError):
    """The bytes are no TLV; the text names places, never values."""


@dataclass(frozen=True, slots=True)
class Tlv:
    """One object."""

    tag: int
    value: bytes = field(repr=False)

    @property
    def is_constructed(self) -> bool:
        """Whether the value holds objects."""
        first = self.tag
        while first > 0xFF:  # noqa: PLR2004 - the first byte of the tag
            first >>= 8
        return bool(first & _CONSTRUCTED)


def parse(data: bytes) -> list[Tlv]:
    """The objects of one level; padding between them is skipped.

    Raises:
        TlvError: a tag or length runs over the end.
    """
    found = []
    at = 0
    while at < len(data):
        if data[at] in _PADDING:
            at += 1
            continue
        tag, at = _tag(data, at)
        length, at = _length(data, at)
        if at + length > len(data):
            raise TlvError(f"value of tag {tag:X} runs over the end")
        found.append(Tlv(tag, data[at : at + length]))
        at += length
    return found


def walk(data: bytes, *, depth: int = 0) -> Iterator[Tlv]:
    """Every object, outer ones before what is in them.

    Raises:
        TlvError: as `parse`, or objects are nested too deep.
    """
    if depth > _DEPTH_LIMIT:
        raise TlvError("nested too deep")
    for item in parse(data):
        yield item
        if item.is_constructed:
            yield from walk(item.value, depth=depth + 1)


def find(data: bytes, tag: int) -> bytes | None:
    """Value of the first object with this tag, at any depth.

    Raises:
        TlvError: see `walk`.
    """
    return next((item.value for item in walk(data) if item.tag == tag), None)


def _tag(data: bytes, at: int) -> tuple[int, int]:
    first = data[at]
    tag, at = first, at + 1
    if first & _LONG_TAG != _LONG_TAG:
        return tag, at
    for _ in range(_TAG_BYTES_LIMIT - 1):
        if at >= len(data):
            raise TlvError("tag runs over the end")
        tag, at = tag << 8 | data[at], at + 1
        if not tag & _MORE:
            return tag, at
    raise TlvError("tag too long")


def _length(data: bytes, at: int) -> tuple[int, int]:
    if at >= len(data):
        raise TlvError("length is missing")
    first, at = data[at], at + 1
    if not first & _MORE:
        return first, at
    count = first & ~_MORE
    if not 1 <= count <= _LENGTH_BYTES_LIMIT or at + count > len(data):
        raise TlvError("length cannot be read")
    return int.from_bytes(data[at : at + count], "big"), at + count
