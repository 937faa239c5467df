"""MQTT 5 control packets, client side (OASIS MQTT Version 5.0, sections 2 and 3). Pure: bytes in, packets out.

Covers what a kiosk says and hears: CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK, PINGREQ, PINGRESP,
DISCONNECT. QoS 2 and AUTH are not spoken; receiving them is a protocol error. Only tested against Mosquitto.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

PACKET_LIMIT_BYTES: Final = 268_435_455
PropertyValue = int | bytes | str


class CodecError(ValueError):
    """The peer broke the protocol; the connection must be closed."""


class PacketType(IntEnum):
    """Section 2.1.2."""

    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    SUBSCRIBE = 8
    SUBACK = 9
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14


class PropertyId(IntEnum):
    """The properties this client sends or reads by name (section 2.2.2.2)."""

    MESSAGE_EXPIRY_S = 0x02
    CONTENT_TYPE = 0x03
    SESSION_EXPIRY_S = 0x11
    WILL_DELAY_S = 0x18
    REASON_STRING = 0x1F
    RECEIVE_MAXIMUM = 0x21


_BYTE, _SHORT, _LONG, _VARIABLE, _STRING, _BINARY, _PAIR = range(7)
_PROPERTY_KINDS: Final[Mapping[int, int]] = {
    0x01: _BYTE,
    0x02: _LONG,
    0x03: _STRING,
    0x08: _STRING,
    0x09: _BINARY,
    0x0B: _VARIABLE,
    0x11: _LONG,
    0x12: _STRING,
    0x13: _SHORT,
    0x15: _STRING,
    0x16: _BINARY,
    0x17: _BYTE,
    0x18: _LONG,
    0x19: _BYTE,
    0x1A: _STRING,
    0x1C: _STRING,
    0x1F: _STRING,
    0x21: _SHORT,
    0x22: _SHORT,
    0x23: _SHORT,
    0x24: _BYTE,
    0x25: _BYTE,
    0x26: _PAIR,
    0x27: _LONG,
    0x28: _BYTE,
    0x29: _BYTE,
    0x2A: _BYTE,
}


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes when this connection dies (section 3.1.2.5)."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = True
    delay_s: int = 0


@dataclass(frozen=True, slots=True)
class Connect:
    """Section 3.1; the client names itself by `client_id`, credentials come from TLS."""

    client_id: str
    keepalive_s: int
    clean_start: bool = False
    session_expiry_s: int = 0
    receive_maximum: int = 100
    will: Will | None = None


@dataclass(frozen=True, slots=True)
class Connack:
    """Section 3.2."""

    session_present: bool
    reason: int


@dataclass(frozen=True, slots=True)
class Publish:
    """Section 3.3, as received or to be sent."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    packet_id: int = 0
    properties: Mapping[int, PropertyValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Puback:
    """Section 3.4."""

    packet_id: int
    reason: int = 0


@dataclass(frozen=True, slots=True)
class Suback:
    """Section 3.9."""

    packet_id: int
    reasons: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Pingresp:
    """Section 3.13."""


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Section 3.14."""

    reason: int = 0


Packet = Connack | Publish | Puback | Suback | Pingresp | Disconnect
PINGREQ: Final = b"\xc0\x00"


def _variable(number: int) -> bytes:
    """Section 1.5.5, variable byte integer."""
    out = bytearray()
    while True:
        number, low = divmod(number, 128)
        out.append(low | 0x80 if number else low)
        if not number:
            return bytes(out)


def _string(text: str) -> bytes:
    data = text.encode()
    return len(data).to_bytes(2) + data


def _binary(data: bytes) -> bytes:
    return len(data).to_bytes(2) + data


def _packet(kind: PacketType, flags: int, body: bytes) -> bytes:
    return bytes((kind << 4 | flags,)) + _variable(len(body)) + body


def encode_connect(connect: Connect) -> bytes:
    """A CONNECT packet."""
    will = connect.will
    flags = (0x02 if connect.clean_start else 0) | (0x04 | will.qos << 3 | (0x20 if will.retain else 0) if will else 0)
    properties = bytes((PropertyId.SESSION_EXPIRY_S,)) + connect.session_expiry_s.to_bytes(4)
    properties += bytes((PropertyId.RECEIVE_MAXIMUM,)) + connect.receive_maximum.to_bytes(2)
    body = b"\x00\x04MQTT\x05" + bytes((flags,)) + connect.keepalive_s.to_bytes(2)
    body += _variable(len(properties)) + properties + _string(connect.client_id)
    if will is not None:
        will_properties = bytes((PropertyId.WILL_DELAY_S,)) + will.delay_s.to_bytes(4)
        body += _variable(len(will_properties)) + will_properties + _string(will.topic) + _binary(will.payload)
    return _packet(PacketType.CONNECT, 0, body)


def encode_publish(message: Publish) -> bytes:
    """A PUBLISH packet without properties; `packet_id` is used above QoS 0."""
    body = _string(message.topic)
    if message.qos:
        body += message.packet_id.to_bytes(2)
    return _packet(
        PacketType.PUBLISH,
        message.qos << 1 | message.retain,
        body + b"\x00" + message.payload,
    )


def encode_puback(packet_id: int) -> bytes:
    """A PUBACK packet that says success."""
    return b"\x40\x02" + packet_id.to_bytes(2)


def encode_subscribe(packet_id: int, filters: Sequence[tuple[str, int]]) -> bytes:
    """A SUBSCRIBE packet for (filter, QoS) pairs."""
    body = packet_id.to_bytes(2) + b"\x00" + b"".join(_string(name) + bytes((qos,)) for name, qos in filters)
    return _packet(PacketType.SUBSCRIBE, 2, body)


def encode_disconnect(reason: int = 0) -> bytes:
    """A DISCONNECT packet; reason 0x04 asks the broker to publish the will all the same."""
    return _packet(PacketType.DISCONNECT, 0, bytes((reason,)) if reason else b"")


class _Reader:
    """A cursor over one packet's body that refuses to run past its end."""

    __slots__ = ("at", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        end = self.at + count
        if end > len(self.data):
            raise CodecError("the packet ends too early")
        part = self.data[self.at : end]
        self.at = end
        return part

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size))

    def text(self) -> str:
        try:
            return self.take(self.number(2)).decode()
        except UnicodeDecodeError as error:
            raise CodecError("a string is not UTF-8") from error

    def variable(self) -> int:
        value = 0
        for shift in range(0, 28, 7):
            byte = self.number(1)
            value |= (byte & 0x7F) << shift
            if not byte & 0x80:
                return value
        raise CodecError("a variable byte integer has more than four bytes")

    def rest(self) -> bytes:
        part = self.data[self.at :]
        self.at = len(self.data)
        return part

    def properties(self) -> dict[int, PropertyValue]:
        end = self.variable() + self.at
        found: dict[int, PropertyValue] = {}
        while self.at < end:
            identifier = self.variable()
            kind = _PROPERTY_KINDS.get(identifier)
            if kind is None:
                raise CodecError("an unknown property")
            found[identifier] = self._property(kind)
        if self.at != end:
            raise CodecError("properties overrun their length")
        return found

    def _property(self, kind: int) -> PropertyValue:
        if kind == _VARIABLE:
            return self.variable()
        if kind == _STRING:
            return self.text()
        if kind == _BINARY:
            return self.take(self.number(2))
        if kind == _PAIR:
            return f"{self.text()}={self.text()}"
        return self.number({_BYTE: 1, _SHORT: 2, _LONG: 4}[kind])


def _connack(reader: _Reader) -> Connack:
    flags = reader.number(1)
    return Connack(bool(flags & 1), reader.number(1))


def _publish(flags: int, reader: _Reader) -> Publish:
    qos = flags >> 1 & 3
    if qos > 1:
        raise CodecError("QoS 2 is not spoken here")
    topic = reader.text()
    packet_id = reader.number(2) if qos else 0
    properties = reader.properties()
    return Publish(topic, reader.rest(), qos, bool(flags & 1), packet_id, properties)


def _puback(reader: _Reader) -> Puback:
    packet_id = reader.number(2)
    return Puback(packet_id, reader.number(1) if reader.at < len(reader.data) else 0)


def _suback(reader: _Reader) -> Suback:
    packet_id = reader.number(2)
    reader.properties()
    return Suback(packet_id, tuple(reader.rest()))


def _parse(head: int, body: bytes) -> Packet:
    reader = _Reader(body)
    kind, flags = head >> 4, head & 0x0F
    if kind == PacketType.PUBLISH:
        return _publish(flags, reader)
    if kind == PacketType.PUBACK:
        return _puback(reader)
    if kind == PacketType.CONNACK:
        return _connack(reader)
    if kind == PacketType.SUBACK:
        return _suback(reader)
    if kind == PacketType.PINGRESP:
        return Pingresp()
    if kind == PacketType.DISCONNECT:
        return Disconnect(reader.number(1) if body else 0)
    raise CodecError(f"a client does not expect packet type {kind}")


class Decoder:
    """Cuts a byte stream into packets; holds at most one incomplete packet of `limit_bytes`."""

    def __init__(self, *, limit_bytes: int = 1_048_576) -> None:
        self._rest = b""
        self._limit_bytes = limit_bytes

    def feed(self, data: bytes) -> list[Packet]:
        """The packets completed by `data`.

        Raises:
            CodecError: malformed or oversized; the stream cannot be trusted any more.
        """
        buffer = self._rest + data if self._rest else data
        packets: list[Packet] = []
        at = 0
        while (frame := self._frame(buffer, at)) is not None:
            start, end = frame
            packets.append(_parse(buffer[at], buffer[start:end]))
            at = end
        self._rest = buffer[at:]
        return packets

    def _frame(self, buffer: bytes, at: int) -> tuple[int, int] | None:
        """Where the body of the packet at `at` starts and ends, None while it is incomplete."""
        length = 0
        for index in range(4):
            position = at + 1 + index
            if position >= len(buffer):
                return None
            byte = buffer[position]
            length |= (byte & 0x7F) << 7 * index
            if not byte & 0x80:
                if length > self._limit_bytes:
                    raise CodecError(f"a packet of {length} bytes, at most {self._limit_bytes} are taken")
                end = position + 1 + length
                return (position + 1, end) if end <= len(buffer) else None
        raise CodecError("a remaining length of more than four bytes")
