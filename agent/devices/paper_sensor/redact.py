"""What a recording may keep of an input and output board: whole Modbus frames; whatever else comes is its length.

A board knows nothing of a person. Another device on its port may, therefore only frames that hold together are shown.
"""

from __future__ import annotations

import struct

from agent.devices.paper_sensor.frames import crc16
from agent.devices.paper_sensor.options import Dialect
from agent.recorder.parts import Digest, Echo, Framed, Redactor, Taken, noise
from wire.profile import DeviceProfile

_MBAP = struct.Struct(">HHHB")
_TRANSACTION_BYTES = 2
_LENGTH_RANGE = range(2, 255)
_FUNCTIONS = frozenset((0x01, 0x02, 0x05, 0x0F, 0x2B))
_ERROR = 0x80
_RTU_BYTES_MIN, _RTU_BYTES_MAX = 5, 256


def redactor(profile: DeviceProfile, digest: Digest) -> Redactor:
    """What sorts the bytes of this model."""
    del digest
    take = _tcp if profile.dialect == Dialect.TCP else _rtu
    return Framed(take, take)


def _tcp(held: bytes) -> Taken | None:
    """Frames with MBAP header; the transaction is the host's choice."""
    if len(held) <= _MBAP.size:
        return None
    _, protocol, length, _ = _MBAP.unpack_from(held)
    end = _MBAP.size - 1 + length
    if protocol or length not in _LENGTH_RANGE or held[_MBAP.size] & ~_ERROR not in _FUNCTIONS:
        return noise(1)
    if len(held) < end:
        return None
    return Taken(end, (Echo("transaction", held[:_TRANSACTION_BYTES]), held[_TRANSACTION_BYTES:end]))


def _rtu(held: bytes) -> Taken | None:
    """Frames have no length of their own: the shortest beginning of which the checksum holds."""
    if len(held) > 1 and held[1] & ~_ERROR not in _FUNCTIONS:
        return noise(1)
    for size in range(_RTU_BYTES_MIN, min(len(held), _RTU_BYTES_MAX) + 1):
        if crc16(held[: size - 2]) == int.from_bytes(held[size - 2 : size], "little"):
            return Taken(size, (held[:size],))
    return None if len(held) < _RTU_BYTES_MAX else noise(1)
