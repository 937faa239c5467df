"""What a recording may keep of an SDT module's frames: commands, status words, lengths; never an identity.

Check bytes are moved by what the masks changed, so that a frame that was right stays right when it is played, and one
that was wrong stays wrong.
"""

from __future__ import annotations

from functools import reduce
from operator import xor

from agent.devices.id_card_reader import frames
from agent.devices.id_card_reader.frames import LENGTH_MAX, LENGTH_MIN, PREAMBLE, Status
from agent.recorder.parts import Digest, Framed, Mask, Part, Redactor, Taken, masked, noise, standing
from wire.profile import DeviceProfile
from wire.recording import Way

_MARK = PREAMBLE[2:]
_HEAD_BYTES = len(_MARK) + 2
_STATUS_BYTES, _COMMAND_BYTES = 3, 2
_LENGTHS_BYTES = 4
_CHARACTER = b"0\x00"  # of a text area: parsed, it is a resident's document full of zeros
_GOOD = frozenset(bytes((0, 0, status)) for status in (Status.OK, Status.FOUND))
_DIALECTS = frozenset({"sdt", "sdt_hid"})


def redactor(profile: DeviceProfile, digest: Digest) -> Redactor | None:
    """What sorts the bytes of this model; None where nobody wrote it."""
    return SdtRedactor(digest) if profile.dialect in _DIALECTS else None


class SdtRedactor(Framed):
    """Sorts the replies by what was asked last."""

    def __init__(self, digest: Digest) -> None:
        super().__init__(self._sent, self._came)
        self._digest = digest
        self._asked = b""

    def _sent(self, held: bytes) -> Taken | None:
        found = _frame(held, _COMMAND_BYTES + 1)
        if found is None or isinstance(found, Taken):
            return found
        head, body = found
        self._asked = body[:_COMMAND_BYTES]
        data = body[_COMMAND_BYTES:-1]
        return _sealed(head, self._asked + data, [self._asked, masked("data", data, self._digest)], body[-1])

    def _came(self, held: bytes) -> Taken | None:
        found = _frame(held, LENGTH_MIN)
        if found is None or isinstance(found, Taken):
            return found
        head, body = found
        status, data = body[:_STATUS_BYTES], body[_STATUS_BYTES:-1]
        if data and status not in _GOOD:  # bytes were lost in front: these are no status
            return _sealed(head, status + data, [masked("data", status + data, fill=b"\xff")], body[-1])
        return _sealed(head, status + data, [status, *self._parts(data)], body[-1])

    def _parts(self, data: bytes) -> list[Part]:
        asked = self._asked
        is_licence = asked[:1] == bytes((frames.SAM_ID.command,)) and len(data) == frames.SAM_ID.data_bytes.start
        if is_licence or not any(data):
            return [data]
        if asked[:1] != bytes((frames.READ_BASE.command,)):
            return [masked("card", data, self._digest)]
        if asked[1:] == bytes((frames.READ_ADDRESS.parameter,)):
            return [masked("text", data, self._digest, _CHARACTER)]
        try:
            text, photo = frames.split_base(data)
        except ValueError:
            return [masked("data", data, self._digest)]
        lengths = data[:_LENGTHS_BYTES]
        return [lengths, masked("text", text, self._digest, _CHARACTER), masked("photo", photo, self._digest)]


def redact(data: bytes, way: Way, digest: Digest, *, asked: bytes = b"") -> list[Part]:
    """The parts of whole frames; `asked` are command and parameter they answer."""
    found = SdtRedactor(digest)
    found._asked = asked  # noqa: SLF001 - the same module
    return [*found.feed(way, data), *found.rest(way)]


def _frame(held: bytes, length_min: int) -> tuple[bytes, bytes] | Taken | None:
    """Head and body of the frame in front; noise to drop; None when more has to come."""
    mark = held.find(_MARK)
    if mark < 0:
        count = max(0, len(held) - len(PREAMBLE) + 1)
        return noise(count) if count else None
    begins = mark - (len(PREAMBLE) - len(_MARK))
    before = begins if held[max(0, begins) : mark].strip(PREAMBLE[:1]) == b"" else mark
    if before > 0:
        return noise(before)
    end = mark + _HEAD_BYTES
    if len(held) < end:
        return None
    length = int.from_bytes(held[end - 2 : end])
    if not length_min <= length <= LENGTH_MAX:
        return noise(mark + 1)
    if len(held) < end + length:
        return None
    return held[:end], held[end : end + length]


def _sealed(head: bytes, data: bytes, parts: list[Part], check: int) -> Taken:
    """A frame whose check byte fits what stands for its data as well, or as badly, as it fitted the data."""
    moved = reduce(xor, data, 0) ^ reduce(xor, b"".join(map(standing, parts)), 0)
    seal = bytes((check ^ moved,))
    is_masked = any(isinstance(part, Mask) and part.length for part in parts)
    return Taken(len(head) + len(data) + 1, (head, *parts, Mask("check", 1, seal) if is_masked else seal))
