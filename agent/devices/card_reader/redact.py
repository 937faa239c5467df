"""What a recording may keep of a card: commands, status words, the lists of applications and files; no record.

Records and everything that is not on the list below are masked, with digits in their place, so that a player's driver
reads a card of zeros to the same end. An ATR is not recorded at all: on social-security cards it has a serial number.
"""

from __future__ import annotations

from agent.devices.card_reader import tlv
from agent.devices.card_reader.frames import READING, SSSE
from agent.devices.card_reader.frames_emv import AIDS, PSE
from agent.recorder.parts import Digest, Part, Redactor, joined, masked
from wire.profile import DeviceProfile
from wire.recording import Way

_SELECT, _READ_RECORD, _OPTIONS, _GET_RESPONSE = 0xA4, 0xB2, 0xA8, 0xC0
_HEADER_BYTES, _STATUS_BYTES = 4, 2
_DIGIT = b"0"
_OPEN_TAGS = frozenset((0x84, 0x50, 0x87, 0x88, 0x9F38, 0x5F2D, 0x9F11, 0x9F12, 0x4F, 0x82, 0x94))
"""Names of applications, priorities, file numbers, wanted data objects, languages, profile and file locator."""
_FILE_NAMES = frozenset((PSE, SSSE, *AIDS.values()))
_FILE_NAME_BYTES = 2
_TRACK_2, _SEPARATOR = 0x57, 0xD
_FORMAT_1 = 0x80
_TEMPLATES = frozenset((0x6F, 0x70, 0x77))


def redactor(profile: DeviceProfile, digest: Digest) -> Redactor:
    """What sorts commands and answers."""
    del profile
    return ApduRedactor(digest)


class ApduRedactor:
    """Every command and every answer comes whole."""

    grain_s = 0.0

    def __init__(self, digest: Digest) -> None:
        self._digest = digest
        self._asked = 0

    def feed(self, way: Way, data: bytes) -> list[Part]:
        """See `Redactor`."""
        if way is Way.CAME:
            return joined(redact_answer(self._asked, data, self._digest))
        if len(data) > 1 and data[1] != _GET_RESPONSE:  # that one brings the answer to the command before it
            self._asked = data[1]
        return joined(redact_command(data))

    def rest(self, way: Way) -> list[Part]:
        """See `Redactor`; nothing is ever held."""
        del way
        return []


def redact_command(apdu: bytes) -> list[Part]:
    """A command; only those that read and name what everybody may know are shown."""
    if len(apdu) < _HEADER_BYTES or apdu[1] not in READING:
        return [masked("command", apdu)]
    header, rest = apdu[:_HEADER_BYTES], apdu[_HEADER_BYTES:]
    if len(rest) <= 1 or apdu[1] == _OPTIONS:
        return [header, rest]
    name = rest[1 : 1 + rest[0]]
    is_known = apdu[1] == _SELECT and (name in _FILE_NAMES or len(name) == _FILE_NAME_BYTES)
    return [header, rest] if is_known else [header, rest[:1], masked("name", name), rest[1 + len(name) :]]


def redact_answer(asked: int, answer: bytes, digest: Digest) -> list[Part]:
    """The answer to a command: its status word, and what `_OPEN_TAGS` names."""
    data, status = answer[:-_STATUS_BYTES], answer[-_STATUS_BYTES:]
    if not data:
        return [answer]
    if asked == _OPTIONS and data[0] == _FORMAT_1:
        return [answer]
    if asked in {_SELECT, _READ_RECORD, _OPTIONS} and (parts := _objects(data, digest)) is not None:
        return [*parts, status]
    if asked == _READ_RECORD and len(data) > 1 and data[1] == len(data) - 2:  # a record of a social-security card
        return [data[:2], masked("record", data[2:], digest, _DIGIT), status]
    return [masked("data", data, digest, _DIGIT), status]


def _objects(data: bytes, digest: Digest) -> list[Part] | None:
    """The BER-TLV objects of an EMV card with their values masked or shown; None when they are none."""
    if data[0] not in _TEMPLATES:
        return None
    try:
        list(tlv.walk(data))  # to the innermost one
    except tlv.TlvError:
        return None
    parts: list[Part] = []
    _walk(data, parts, digest)
    return parts


def _walk(data: bytes, parts: list[Part], digest: Digest) -> None:
    at = 0
    while at < len(data):
        if data[at] in {0x00, 0xFF}:
            parts.append(data[at : at + 1])
            at += 1
            continue
        tag, begins, ends = _head(data, at)
        parts.append(data[at:begins])
        value = data[begins:ends]
        if data[at] & 0x20:
            _walk(value, parts, digest)
        elif tag in _OPEN_TAGS:
            parts.append(value)
        else:
            parts += _value(tag, value, digest)
        at = ends


def _head(data: bytes, at: int) -> tuple[int, int, int]:
    """Tag, where its value begins and ends; `tlv.parse` went over these bytes before."""
    begins = at + 1
    if data[at] & 0x1F == 0x1F:  # noqa: PLR2004 - the mark of a longer tag
        while data[begins] & 0x80:
            begins += 1
        begins += 1
    tag = int.from_bytes(data[at:begins])
    length = data[begins]
    begins += 1
    if length & 0x80:
        more = length & 0x7F
        length = int.from_bytes(data[begins : begins + more])
        begins += more
    return tag, begins, begins + length


def _value(tag: int, value: bytes, digest: Digest) -> list[Part]:
    """A masked value; of track 2 the place of its separator stays, or it could not be read when played."""
    at = value.hex().find("d") if tag == _TRACK_2 else -1
    if at < 0:
        return [masked("record", value, digest, _DIGIT)]
    number, rest = value[: at // 2], value[at // 2 + 1 :]
    separator = bytes((0xD0 if at % 2 == 0 else 0x0D,))
    return [masked("record", number, digest, _DIGIT), separator, masked("record", rest, None, _DIGIT)]
