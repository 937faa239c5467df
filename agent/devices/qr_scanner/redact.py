"""What a recording may keep of a scanner: commands and answers; of a code only its length and a digest."""

from __future__ import annotations

import re
from functools import partial

from agent.devices.qr_scanner.frames import CODE_LIMIT_BYTES
from agent.devices.qr_scanner.frames_ssi import Opcode
from agent.devices.qr_scanner.options import Dialect
from agent.recorder.parts import Digest, Framed, Part, Redactor, Taken, everything, masked, noise, standing
from wire.profile import DeviceProfile

_FILL = b"0"
_ENDS = re.compile(rb"[\r\n\t]+")
_REPLY = b"\x02\x010000"
_TERMINATOR = b"\x3b\x03"
_REPLY_LIMIT_BYTES = 512
_MARKS = b"\x06\x15\x05;"
_HEADER, _CHECKSUM = 4, 2
_DECODER = 0x00
_KNOWN = frozenset((Opcode.CMD_ACK, Opcode.CMD_NAK, Opcode.REPLY_REVISION))


def redactor(profile: DeviceProfile, digest: Digest) -> Redactor:
    """What sorts the bytes of this model; what the host sends are its own commands."""
    match Dialect(profile.dialect):
        case Dialect.SSI:
            return Framed(everything, partial(_packet, digest=digest))
        case Dialect.NEWLAND:
            return Framed(everything, partial(_reply_or_code, digest=digest))
        case _:
            return Framed(everything, partial(_code, digest=digest))


def _code(held: bytes, *, digest: Digest) -> Taken | None:
    """A code up to its suffix. Where none is set the whole code is given up as unfinished at the next command."""
    end = _ENDS.search(held)
    if end is None:
        return Taken(len(held), (masked("code", held, fill=_FILL),)) if len(held) > CODE_LIMIT_BYTES else None
    code = masked("code", held[: end.start()], digest, _FILL)
    return Taken(end.end(), (code, end.group()))


def _reply_or_code(held: bytes, *, digest: Digest) -> Taken | None:
    """Newland: replies among codes. A printed code may look like a reply, so only marks of a reply are shown."""
    if not _REPLY.startswith(held[: len(_REPLY)]):
        begins = held.find(_REPLY[:1], 1)
        taken = _code(held if begins < 0 else held[:begins], digest=digest)
        if taken is None and begins > 0:
            return Taken(begins, (masked("code", held[:begins], fill=_FILL),))
        return taken
    end = held.find(_TERMINATOR, len(_REPLY))
    if end < 0:
        return noise(len(held)) if len(held) > _REPLY_LIMIT_BYTES else None
    body = held[len(_REPLY) : end]
    pieces = re.split(b"([" + _MARKS + b"])", body)
    parts = [piece if piece and piece in _MARKS else masked("reply", piece, fill=_FILL) for piece in pieces]
    return Taken(end + len(_TERMINATOR), (_REPLY, *parts, _TERMINATOR))


def _packet(held: bytes, *, digest: Digest) -> Taken | None:
    """SSI: the data of a packet, but for the kind of its code, are masked; the checksum is moved accordingly."""
    length = held[0]
    end = length + _CHECKSUM
    if length < _HEADER or (len(held) > 2 and held[2] != _DECODER):  # noqa: PLR2004 - where the source stands
        return noise(1)
    if len(held) < end:
        return None
    header, data, check = held[:_HEADER], held[_HEADER:length], int.from_bytes(held[length:end])
    if (sum(held[:length]) + check) & 0xFFFF:
        return noise(end)
    parts: list[Part] = [data]
    if header[1] == Opcode.DECODE_DATA:
        parts = [data[:1], masked("code", data[1:], digest, _FILL)]
    elif header[1] not in _KNOWN:
        parts = [masked("data", data, digest)]
    moved = check + sum(data) - sum(b"".join(map(standing, parts)))
    return Taken(end, (header, *parts, (moved & 0xFFFF).to_bytes(2)))
