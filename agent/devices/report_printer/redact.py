"""What a recording may keep of IPP: operations, numbers, keywords and states; no names of jobs and people, no document.

Texts and names are masked unless the attribute says something of the printer itself. The length of each stays, so that
a masked message is a message. A message that cannot be walked to its end is masked behind the place that is wrong.
"""

from __future__ import annotations

import struct

from agent.devices.report_printer.frames import Group, Tag
from agent.recorder.parts import Digest, Echo, Part, Redactor, joined, masked
from wire.profile import DeviceProfile
from wire.recording import Way

_HEAD = struct.Struct(">BBHI")
_CODE_BYTES = 4
_LENGTH_BYTES = 2
_FIRST_VALUE_TAG = 0x10
_LETTER = b"-"
_SHOWN_TAGS = frozenset(
    (
        Tag.NO_VALUE, Tag.INTEGER, Tag.BOOLEAN, Tag.ENUM, Tag.RANGE, Tag.BEGIN_COLLECTION, Tag.END_COLLECTION,
        Tag.KEYWORD, Tag.URI_SCHEME, Tag.CHARSET, Tag.LANGUAGE, Tag.MIME_TYPE, Tag.MEMBER_NAME,
    )
)  # fmt: skip
_SHOWN_NAMES = frozenset(
    (
        b"printer-make-and-model", b"printer-firmware-string-version", b"printer-device-id", b"printer-supply",
        b"printer-supply-description", b"marker-names", b"printer-name", b"printer-alert", b"printer-uri",
        b"media-ready", b"printer-uri-supported",
    )
)  # fmt: skip


def redactor(profile: DeviceProfile, digest: Digest) -> Redactor:
    """What sorts messages."""
    del profile
    return IppRedactor(digest)


class IppRedactor:
    """Every message comes whole; a document never comes here."""

    grain_s = 0.0

    def __init__(self, digest: Digest) -> None:
        self._digest = digest

    def feed(self, way: Way, data: bytes) -> list[Part]:
        """See `Redactor`."""
        del way
        return redact(data, self._digest)

    def rest(self, way: Way) -> list[Part]:
        """See `Redactor`; nothing is ever held."""
        del way
        return []


def redact(message: bytes, digest: Digest) -> list[Part]:
    """A request or a reply."""
    if len(message) < _HEAD.size or message[0] not in {1, 2}:
        return [masked("data", message, digest)]
    parts: list[Part] = [message[:_CODE_BYTES], Echo("request_id", message[_CODE_BYTES : _HEAD.size])]
    at, name = _HEAD.size, b""
    while at < len(message):
        tag = message[at]
        if tag == Group.END:
            parts += [message[at : at + 1], masked("document", message[at + 1 :], digest)]
            break
        if tag < _FIRST_VALUE_TAG:
            parts.append(message[at : at + 1])
            at += 1
            continue
        if (ends := _ends(message, at)) is None:
            parts.append(masked("data", message[at:]))
            break
        name_ends, value_begins, value_ends = ends
        name = message[at + 1 + _LENGTH_BYTES : name_ends] or name
        value = message[value_begins:value_ends]
        parts.append(message[at:value_begins])
        parts.append(value if tag in _SHOWN_TAGS or name in _SHOWN_NAMES else masked("text", value, digest, _LETTER))
        at = value_ends
    return joined(parts)


def _ends(message: bytes, at: int) -> tuple[int, int, int] | None:
    """Where the name of an attribute ends, where its value begins and ends; None when it goes over the end."""
    name_begins = at + 1 + _LENGTH_BYTES
    name_ends = name_begins + int.from_bytes(message[at + 1 : name_begins])
    value_begins = name_ends + _LENGTH_BYTES
    value_ends = value_begins + int.from_bytes(message[name_ends:value_begins])
    return (name_ends, value_begins, value_ends) if value_begins <= len(message) >= value_ends else None
