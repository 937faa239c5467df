"""What a recording may keep of a talk with NUT's upsd: the lines of its protocol, which know nothing of a person."""

from __future__ import annotations

import re

from agent.devices.ups.frames import LINE_BYTES_MAX
from agent.recorder.parts import Digest, Framed, Redactor, Taken, noise
from wire.profile import DeviceProfile

_LINE = re.compile(
    rb"(?:LIST VAR [\w.-]{1,64}|LOGOUT|OK Goodbye"
    rb"|(?:BEGIN|END) LIST VAR [\w.-]{1,64}|ERR [A-Z-]{1,40}"
    rb"|VAR [\w.-]{1,64} (?:ups|battery|input|output|device|driver|ambient|server)\.[\w.]{1,64}"
    rb' "[\x20-\x7e]{0,200}")\r?\n'
)


def redactor(profile: DeviceProfile, digest: Digest) -> Redactor:
    """What sorts the lines."""
    del profile, digest
    return Framed(_line, _line)


def _line(held: bytes) -> Taken | None:
    end = held.find(b"\n") + 1
    if end == 0:
        return noise(len(held)) if len(held) > LINE_BYTES_MAX else None
    return Taken(end, (held[:end],)) if _LINE.fullmatch(held[:end]) else noise(end)
