"""IPP messages from a printer's side (RFC 8010): requests decoded, replies built. Knows no printer."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

OPERATION, JOB, END, PRINTER, UNSUPPORTED = 0x01, 0x02, 0x03, 0x04, 0x05
INTEGER, BOOLEAN, ENUM, OCTETS, DATE, RESOLUTION, RANGE = 0x21, 0x22, 0x23, 0x30, 0x31, 0x32, 0x33
TEXT, NAME, KEYWORD, URI, URI_SCHEME, CHARSET, LANGUAGE, MIME = 0x41, 0x42, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49
NO_VALUE, UNSUPPORTED_VALUE = 0x13, 0x10
_COLLECTION, _COLLECTION_END, _MEMBER = 0x34, 0x37, 0x4A
_DELIMITERS = 0x0F

Plain = int | bool | str | bytes | tuple[int, ...] | None


class BadMessage(ValueError):
    """The request is no IPP message."""


@dataclass(frozen=True, slots=True)
class Item:
    """An attribute of a reply: one tag, any number of values."""

    tag: int
    name: str
    values: tuple[Plain, ...]


@dataclass(frozen=True, slots=True)
class Request:
    """A decoded request; per group its attributes in order, each with its tag and raw values."""

    version: tuple[int, int]
    operation: int
    number: int
    groups: tuple[tuple[int, Mapping[str, tuple[int, tuple[bytes, ...]]]], ...]
    size: int

    def text(self, name: str) -> str | None:
        """The first value of an operation attribute as text."""
        found = self._operation().get(name)
        return found[1][0].decode("utf-8", "replace") if found and found[1] else None

    def texts(self, name: str) -> tuple[str, ...]:
        """All values of an operation attribute."""
        found = self._operation().get(name)
        return tuple(value.decode("utf-8", "replace") for value in found[1]) if found else ()

    def integer(self, name: str) -> int | None:
        """The first value of an operation attribute as a number."""
        found = self._operation().get(name)
        return int.from_bytes(found[1][0], "big", signed=True) if found and found[1] else None

    def order(self) -> list[str]:
        """The names of the operation attributes in their order."""
        return list(self._operation())

    def template(self, name: str) -> str | None:
        """The first value of a job attribute as text."""
        for group, attributes in self.groups:
            if group == JOB and name in attributes:
                return attributes[name][1][0].decode("utf-8", "replace")
        return None

    def _operation(self) -> Mapping[str, tuple[int, tuple[bytes, ...]]]:
        return self.groups[0][1] if self.groups and self.groups[0][0] == OPERATION else {}


def decode_request(data: bytes) -> Request:
    """Read a request; `size` is where its document begins.

    Raises:
        BadMessage: it is none, or is cut short.
    """
    try:
        return _decode(data)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise BadMessage("cut short") from error


def _decode(data: bytes) -> Request:
    major, minor, operation, number = struct.unpack_from(">BBHI", data)
    offset, groups = 8, list[tuple[int, dict[str, tuple[int, list[bytes]]]]]()
    last: list[bytes] | None = None
    while (tag := data[offset]) != END:
        offset += 1
        if tag <= _DELIMITERS:
            groups.append((tag, {}))
            last = None
            continue
        (length,) = struct.unpack_from(">H", data, offset)
        name = data[offset + 2 : offset + 2 + length].decode("ascii")
        offset += 2 + length
        (length,) = struct.unpack_from(">H", data, offset)
        value = data[offset + 2 : offset + 2 + length]
        if len(value) != length:
            raise BadMessage("cut short")
        offset += 2 + length
        if name and groups:
            last = [value]
            groups[-1][1][name] = (tag, last)
        elif last is not None and tag not in {_MEMBER, _COLLECTION_END}:
            last.append(value)
    frozen = tuple((group, {name: (tag, tuple(v)) for name, (tag, v) in found.items()}) for group, found in groups)
    return Request((major, minor), operation, number, frozen, offset + 1)


def encode_reply(
    request: tuple[tuple[int, int], int], status: int, groups: Sequence[tuple[int, Sequence[Item]]] = ()
) -> bytes:
    """A reply to a request of this version and number."""
    (major, minor), number = request
    parts = [struct.pack(">BBHI", major, minor, status, number)]
    head = (Item(CHARSET, "attributes-charset", ("utf-8",)), Item(LANGUAGE, "attributes-natural-language", ("en",)))
    for group, items in ((OPERATION, head), *groups):
        parts.append(bytes((group,)))
        parts += [_item(item) for item in items]
    parts.append(bytes((END,)))
    return b"".join(parts)


def _item(item: Item) -> bytes:
    name, parts = item.name.encode("ascii"), []
    for value in item.values:
        data = _value(item.tag, value)
        parts.append(struct.pack(">BH", item.tag, len(name)) + name + struct.pack(">H", len(data)) + data)
        name = b""
    return b"".join(parts)


def _value(tag: int, value: Plain) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, bool):
        return bytes((value,))
    if isinstance(value, int):
        return struct.pack(">i", value)
    if isinstance(value, tuple):
        return struct.pack(">iib" if tag == RESOLUTION else ">ii", *value)
    return value.encode() if value is not None else b""
