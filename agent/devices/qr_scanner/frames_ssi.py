"""Zebra's Simple Serial Interface (SSI programmer's guide): packets with a checksum, each acknowledged.

`LENGTH OPCODE SOURCE STATUS data CHECKSUM(2)`: the length counts itself through the data, the checksum is the two's
complement of the sum of everything before it, high byte first. Never seen on hardware.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from agent.devices.qr_scanner.frames import CODE_LIMIT_BYTES, Answer, Code, Garbage, Item, Respond

_HEADER, _CHECKSUM = 4, 2
_HOST, _DECODER = 0x04, 0x00
_RETRANSMIT, _CONTINUED = 0x01, 0x02


class Opcode(IntEnum):
    """Opcodes of the guide that are used here."""

    REQUEST_REVISION = 0xA3
    REPLY_REVISION = 0xA4
    CMD_ACK = 0xD0
    CMD_NAK = 0xD1
    FLUSH_QUEUE = 0xD2
    START_SESSION = 0xE4
    STOP_SESSION = 0xE5
    SCAN_ENABLE = 0xE9
    SCAN_DISABLE = 0xEA
    DECODE_DATA = 0xF3
    EVENT = 0xF6


_NAK_RESEND = 0x01
_SYMBOLOGIES = {
    0x01: "code39", 0x02: "codabar", 0x03: "code128", 0x06: "interleaved2of5", 0x07: "code93", 0x08: "upca",
    0x0A: "ean8", 0x0B: "ean13", 0x11: "pdf417", 0x1B: "datamatrix", 0x1C: "qr", 0x2D: "aztec", 0xB7: "hanxin",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet."""

    opcode: int
    data: bytes = field(default=b"", repr=False)
    status: int = 0
    source: int = _HOST

    def encode(self) -> bytes:
        """Bytes with length and checksum."""
        body = bytes((_HEADER + len(self.data), self.opcode, self.source, self.status)) + self.data
        return body + (-sum(body) & 0xFFFF).to_bytes(2, "big")


TRIGGER = Packet(Opcode.START_SESSION).encode()
RELEASE = Packet(Opcode.STOP_SESSION).encode()
REVISION = Packet(Opcode.REQUEST_REVISION).encode()
ACK = Packet(Opcode.CMD_ACK).encode()
NAK = Packet(Opcode.CMD_NAK, bytes((_NAK_RESEND,))).encode()


class SsiDecoder:
    """Takes packets off a stream; a wrong checksum costs one byte, then it looks again."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._part = bytearray()
        self._last = b""
        self._is_lost = False

    @property
    def is_waiting(self) -> bool:
        """Whether half a packet is held."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> list[Item]:
        """Everything that is whole now, with what has to be sent back."""
        self._buffer += data
        found: list[Item] = []
        while self._buffer:
            length = self._buffer[0]
            end = length + _CHECKSUM
            if length >= _HEADER and len(self._buffer) < end and self._may_begin():
                break
            raw = bytes(self._buffer[:end])
            is_packet = length >= _HEADER and len(raw) == end and _sum_holds(raw)
            del self._buffer[: end if is_packet else 1]
            if is_packet:
                self._is_lost = False
                found += self._packet(raw)
            elif not self._is_lost:
                self._is_lost = True
                found += [Garbage(), Respond(NAK)]
        return found

    def pause(self) -> list[Item]:
        """Nothing came for a while: half a packet will not become whole; the scanner is asked to send it again."""
        if not self._buffer:
            return []
        self._buffer.clear()
        return [Garbage(), Respond(NAK)]

    def reset(self) -> None:
        """Forget what is held."""
        self._buffer.clear()
        self._part.clear()
        self._last = b""
        self._is_lost = False

    def _may_begin(self) -> bool:
        """Whether what is held may be the beginning of a packet of the scanner."""
        source_at = 2
        return len(self._buffer) <= source_at or self._buffer[source_at] == _DECODER

    def _packet(self, raw: bytes) -> list[Item]:
        opcode, source, status = raw[1:_HEADER]
        data = raw[_HEADER:-_CHECKSUM]
        if source != _DECODER:
            return [Garbage()]
        match opcode:
            case Opcode.CMD_ACK:
                return [Answer(is_ok=True)]
            case Opcode.CMD_NAK:
                return [Answer(is_ok=False)]
            case Opcode.REPLY_REVISION:
                return [Answer(is_ok=True, facts=data.decode("ascii", "ignore").split(" ")[0][:64]), Respond(ACK)]
            case Opcode.DECODE_DATA:
                return [Respond(ACK), *self._decoded(data, status)]
            case _:
                return [Respond(ACK)]

    def _decoded(self, data: bytes, status: int) -> list[Item]:
        if status & _RETRANSMIT and data == self._last:
            return []  # our acknowledgement was lost; the code was taken already
        self._last = data
        if not data:
            return [Garbage()]
        self._part += data[1:]
        if len(self._part) > CODE_LIMIT_BYTES:
            self._part.clear()
            return [Garbage()]
        if status & _CONTINUED:
            return []
        whole = bytes(self._part)
        self._part.clear()
        return [Code(whole, _SYMBOLOGIES.get(data[0], "other"))]


def _sum_holds(raw: bytes) -> bool:
    return (sum(raw[:-_CHECKSUM]) + int.from_bytes(raw[-_CHECKSUM:], "big")) & 0xFFFF == 0
