"""IPP messages (RFC 8010): requests as bytes, replies from bytes.

A reply comes from outside: every length in it is checked against what is there, and its attributes, values and depth
are bounded, so that no reply can hold up or exhaust the process. Our own instead of pyipp 0.17.2, whose parser reads
lengths as signed numbers and runs for ever on a negative one, and whose client has no limit on a reply.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from types import MappingProxyType

VERSION = (2, 0)
MAX_ATTRIBUTES = 2_000
MAX_VALUES = 10_000
MAX_DEPTH = 6
_HEAD = struct.Struct(">BBHI")
_LENGTH = struct.Struct(">H")
_INTEGER = struct.Struct(">i")
_FIRST_VALUE_TAG = 0x10
_EXTENSION_TAG = 0x7F
_LENGTH_MAX = 0xFFFF
_ERRORS_FROM = 0x0100


class IppError(ValueError):
    """The bytes are no IPP reply; the text names the place, never a value."""


class Group(IntEnum):
    """Delimiter tags (RFC 8010, 3.5.1)."""

    OPERATION = 0x01
    JOB = 0x02
    END = 0x03
    PRINTER = 0x04
    UNSUPPORTED = 0x05


class Tag(IntEnum):
    """Value tags (RFC 8010, 3.5.2); one that is not here stays bytes."""

    NO_VALUE = 0x13
    INTEGER = 0x21
    BOOLEAN = 0x22
    ENUM = 0x23
    OCTETS = 0x30
    RANGE = 0x33
    BEGIN_COLLECTION = 0x34
    TEXT_WITH_LANGUAGE = 0x35
    NAME_WITH_LANGUAGE = 0x36
    END_COLLECTION = 0x37
    TEXT = 0x41
    NAME = 0x42
    KEYWORD = 0x44
    URI = 0x45
    URI_SCHEME = 0x46
    CHARSET = 0x47
    LANGUAGE = 0x48
    MIME_TYPE = 0x49
    MEMBER_NAME = 0x4A


class Operation(IntEnum):
    """Operations (RFC 8011, 5.4.15)."""

    PRINT_JOB = 0x0002
    CANCEL_JOB = 0x0008
    GET_JOB_ATTRIBUTES = 0x0009
    GET_JOBS = 0x000A
    GET_PRINTER_ATTRIBUTES = 0x000B


class StatusCode(IntEnum):
    """Status codes that mean something to the driver (RFC 8011, appendix B)."""

    NOT_POSSIBLE = 0x0404
    NOT_FOUND = 0x0406
    GONE = 0x0407
    FORMAT_NOT_SUPPORTED = 0x040A
    ATTRIBUTES_NOT_SUPPORTED = 0x040B
    BUSY = 0x0507
    NOT_ACCEPTING = 0x0506


class Marker(StrEnum):
    """Values that are no values."""

    NONE = "no-value"


@dataclass(frozen=True, slots=True)
class Range:
    """A rangeOfInteger."""

    low: int
    high: int


Value = int | bool | str | bytes | Range | Marker | Mapping[str, tuple["Value", ...]]
Attributes = Mapping[str, tuple[Value, ...]]


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute of a request, with its values."""

    tag: Tag
    name: str
    values: tuple[int | bool | str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """A decoded reply; its groups in the order they came."""

    status: int
    request_id: int
    groups: tuple[tuple[int, Attributes], ...]

    @property
    def is_successful(self) -> bool:
        """Whether the status is one of the successful ones."""
        return self.status < _ERRORS_FROM

    def first(self, group: Group) -> Attributes:
        """The first group of a kind; empty when there is none."""
        return next((found for kind, found in self.groups if kind == group), MappingProxyType({}))

    def all(self, group: Group) -> tuple[Attributes, ...]:
        """Every group of a kind."""
        return tuple(found for kind, found in self.groups if kind == group)


def encode_request(
    operation: Operation, request_id: int, attributes: Sequence[Attribute], job: Sequence[Attribute] = ()
) -> bytes:
    """A whole request without its document; charset and language go first, as they must."""
    parts = [_HEAD.pack(*VERSION, operation, request_id), bytes((Group.OPERATION,))]
    head = (
        Attribute(Tag.CHARSET, "attributes-charset", ("utf-8",)),
        Attribute(Tag.LANGUAGE, "attributes-natural-language", ("en",)),
    )
    parts += [_encode_attribute(attribute) for attribute in (*head, *attributes)]
    if job:
        parts.append(bytes((Group.JOB,)))
        parts += [_encode_attribute(attribute) for attribute in job]
    parts.append(bytes((Group.END,)))
    return b"".join(parts)


def _encode_attribute(attribute: Attribute) -> bytes:
    parts = []
    name = attribute.name.encode("ascii")
    for number, value in enumerate(attribute.values):
        shown = name if number == 0 else b""
        data = _encode_value(attribute.tag, value)
        parts.append(bytes((attribute.tag,)) + _LENGTH.pack(len(shown)) + shown + _LENGTH.pack(len(data)) + data)
    return b"".join(parts)


def _encode_value(tag: Tag, value: int | bool | str) -> bytes:  # noqa: FBT001 - a value of IPP
    if tag is Tag.BOOLEAN:
        return bytes((int(bool(value)),))
    if isinstance(value, int):
        return _INTEGER.pack(value)
    data = value.encode()
    if len(data) > _LENGTH_MAX:
        raise ValueError("a value is too long for IPP")
    return data


def decode_reply(data: bytes) -> Reply:
    """What a printer answered.

    Raises:
        IppError: it is no IPP reply, is cut short, or is larger than any printer's.
    """
    if len(data) < _HEAD.size:
        raise IppError("shorter than a header")
    major, _, status, request_id = _HEAD.unpack_from(data)
    if major not in {1, 2}:
        raise IppError("no version of IPP")
    return Reply(status, request_id, tuple(_Reader(data, _HEAD.size).groups()))


class _Reader:
    """Walks over the attribute groups of one message."""

    def __init__(self, data: bytes, offset: int) -> None:
        self._data = data
        self._offset = offset
        self._attributes_left = MAX_ATTRIBUTES
        self._values_left = MAX_VALUES

    def groups(self) -> list[tuple[int, Attributes]]:
        """Every group up to the end tag."""
        found: list[tuple[int, dict[str, list[Value]]]] = []
        while (tag := self._byte()) != Group.END:
            if tag < _FIRST_VALUE_TAG:
                found.append((tag, {}))
                continue
            if not found:
                raise IppError("an attribute before the first group")
            self._attribute(tag, found[-1][1])
        return [(group, _frozen(attributes)) for group, attributes in found]

    def _attribute(self, tag: int, into: dict[str, list[Value]]) -> None:
        name = _text(self._field())
        if name:
            self._attributes_left -= 1
            if self._attributes_left < 0:
                raise IppError("too many attributes")
            values = into[name] = []
        elif into:
            values = into[next(reversed(into))]
        else:
            raise IppError("a further value without a first one")
        values.append(self._value(tag, 0))

    def _value(self, tag: int, depth: int) -> Value:
        self._values_left -= 1
        if self._values_left < 0:
            raise IppError("too many values")
        data = self._field()
        if tag == Tag.BEGIN_COLLECTION:
            return self._collection(depth + 1)
        if tag == _EXTENSION_TAG:
            return data
        return _decode_value(tag, data)

    def _collection(self, depth: int) -> Mapping[str, tuple[Value, ...]]:
        if depth > MAX_DEPTH:
            raise IppError("collections nest too deep")
        members: dict[str, list[Value]] = {}
        while (tag := self._byte()) != Tag.END_COLLECTION:
            self._field()  # members have no name of their own
            if tag == Tag.MEMBER_NAME:
                self._values_left -= 1
                members[_text(self._field())] = []
                continue
            if not members:
                raise IppError("a member without a name")
            members[next(reversed(members))].append(self._value(tag, depth))
        self._field()
        self._field()
        return _frozen(members)

    def _byte(self) -> int:
        if self._offset >= len(self._data):
            raise IppError("no end tag")
        self._offset += 1
        return self._data[self._offset - 1]

    def _field(self) -> bytes:
        start = self._offset + _LENGTH.size
        if start > len(self._data):
            raise IppError("cut short in a length")
        end = start + _LENGTH.unpack_from(self._data, self._offset)[0]
        if end > len(self._data):
            raise IppError("a length goes over the end")
        self._offset = end
        return self._data[start:end]


def _frozen(attributes: Mapping[str, list[Value]]) -> Attributes:
    return MappingProxyType({name: tuple(values) for name, values in attributes.items()})


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _decode_value(tag: int, data: bytes) -> Value:
    if tag in _DECODERS:
        return _DECODERS[tag](data)
    return Marker.NONE if _FIRST_VALUE_TAG <= tag < Tag.INTEGER else data


def _integer(data: bytes) -> int:
    return int(_INTEGER.unpack(_sized(data, _INTEGER.size))[0])


def _boolean(data: bytes) -> bool:
    return _sized(data, 1) != b"\x00"


def _range(data: bytes) -> Range:
    return Range(*struct.unpack(">ii", _sized(data, 2 * _INTEGER.size)))


def _sized(data: bytes, size: int) -> bytes:
    if len(data) != size:
        raise IppError("a value has the wrong size")
    return data


def _without_language(data: bytes) -> str:
    if len(data) < _LENGTH.size:
        raise IppError("a text with language is cut short")
    start = _LENGTH.size + _LENGTH.unpack_from(data)[0]
    if start + _LENGTH.size > len(data):
        raise IppError("a text with language is cut short")
    end = start + _LENGTH.size + _LENGTH.unpack_from(data, start)[0]
    if end != len(data):
        raise IppError("a text with language has the wrong size")
    return _text(data[start + _LENGTH.size : end])


_DECODERS: Mapping[int, Callable[[bytes], Value]] = MappingProxyType(
    {
        Tag.INTEGER: _integer,
        Tag.ENUM: _integer,
        Tag.BOOLEAN: _boolean,
        Tag.RANGE: _range,
        Tag.TEXT_WITH_LANGUAGE: _without_language,
        Tag.NAME_WITH_LANGUAGE: _without_language,
        **dict.fromkeys((Tag.TEXT, Tag.NAME, Tag.KEYWORD, Tag.URI, Tag.URI_SCHEME), _text),
        **dict.fromkeys((Tag.CHARSET, Tag.LANGUAGE, Tag.MIME_TYPE), _text),
    }
)
