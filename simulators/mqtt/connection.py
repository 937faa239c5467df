"""One MQTT 5 connection on asyncio, cheap enough to hold thousands of them in a process."""

from __future__ import annotations

import asyncio
import asyncio.sslproto
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from simulators.mqtt.codec import (
    PINGREQ,
    CodecError,
    Connack,
    Connect,
    Decoder,
    Disconnect,
    Packet,
    Puback,
    Publish,
    Suback,
    encode_connect,
    encode_disconnect,
    encode_puback,
    encode_publish,
    encode_subscribe,
)

TLS_BUFFER_BYTES = 16_640
"""One TLS record; asyncio's default of 256 KiB a connection is what a crowd cannot afford."""
_SUCCESS_LIMIT = 0x80
_PACKET_IDS = 65_535

T = TypeVar("T")


class Refused(ConnectionError):
    """The broker answered CONNECT or SUBSCRIBE with a failure; `reason` is its MQTT 5 reason code."""

    def __init__(self, reason: int) -> None:
        super().__init__(f"refused with reason 0x{reason:02X}")
        self.reason = reason


class Closed(ConnectionError):
    """The connection ended while something was awaited."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to connect, from which loopback address, with which identity (None: no TLS)."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    source: str | None = None


def use_small_tls_buffers() -> None:
    """Give each TLS connection made from now on one record of buffer instead of 256 KiB (CPython issue 109534)."""
    protocol = asyncio.sslproto.SSLProtocol
    protocol.max_size = TLS_BUFFER_BYTES


def _fail(future: asyncio.Future[T], error: Exception) -> None:
    """End a future that nobody may be waiting for, without a warning when nobody is."""
    if not future.done():
        future.set_exception(error)
        future.exception()


class MqttConnection(asyncio.Protocol):
    """Speaks for one client id; `on_message` and `on_closed` are called from the event loop."""

    def __init__(self, on_message: Callable[[Publish], None], on_closed: Callable[[], None]) -> None:
        self._on_message = on_message
        self._on_closed = on_closed
        self._decoder = Decoder()
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._connack: asyncio.Future[Connack] = self._loop.create_future()
        self._waiting: dict[int, asyncio.Future[tuple[int, ...]]] = {}
        self._next_id = 0
        self._ping: asyncio.TimerHandle | None = None
        self._keepalive_s = 0
        self.disconnect_reason: int | None = None

    @classmethod
    async def open(
        cls,
        address: Address,
        connect: Connect,
        on_message: Callable[[Publish], None],
        on_closed: Callable[[], None],
        *,
        timeout_s: float = 15.0,
    ) -> MqttConnection:
        """Connect and wait for CONNACK.

        Raises:
            Refused: the broker said no.
            Closed: the link ended before CONNACK; under TLS 1.3 that is how a bad certificate shows.
            OSError: no TCP or TLS connection.
            TimeoutError: no answer within `timeout_s`.
        """
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(timeout_s):
            _, self = await loop.create_connection(
                lambda: cls(on_message, on_closed),
                address.host,
                address.port,
                ssl=address.tls,
                local_addr=(address.source, 0) if address.source else None,
                ssl_handshake_timeout=timeout_s if address.tls else None,
            )
            try:
                await self._introduce(connect)
            except BaseException:
                self.abort()
                raise
        return self

    async def _introduce(self, connect: Connect) -> None:
        self._write(encode_connect(connect))
        connack = await self._connack
        if connack.reason >= _SUCCESS_LIMIT:
            raise Refused(connack.reason)
        self._keepalive_s = connect.keepalive_s
        if self._keepalive_s:
            self._ping = self._loop.call_later(self._keepalive_s * 0.75, self._send_ping)

    @property
    def is_open(self) -> bool:
        """Whether packets can still be written."""
        return self._transport is not None and not self._transport.is_closing()

    def publish_soon(self, message: Publish) -> None:
        """Write a QoS 0 message."""
        self._write(encode_publish(message))

    @property
    def unanswered(self) -> int:
        """Packets whose acknowledgement is still to come."""
        return len(self._waiting)

    def post(self, topic: str, payload: bytes) -> None:
        """Write a QoS 1 message without waiting for its PUBACK.

        Raises:
            Closed: the connection is closed.
        """
        packet_id, _ = self._expect()
        self._write(encode_publish(Publish(topic, payload, qos=1, packet_id=packet_id)))

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> int:
        """Write a QoS 1 message and return the reason code of its PUBACK.

        Raises:
            Closed: the connection ended first; whether the broker has the message is unknown.
        """
        packet_id, answer = self._expect()
        self._write(encode_publish(Publish(topic, payload, qos=1, retain=retain, packet_id=packet_id)))
        return (await answer)[0]

    async def subscribe(self, *filters: tuple[str, int]) -> tuple[int, ...]:
        """Subscribe and return the reason codes; Mosquitto grants what its ACL will never deliver.

        Raises:
            Closed: the connection ended first.
        """
        packet_id, answer = self._expect()
        self._write(encode_subscribe(packet_id, filters))
        return await answer

    def close(self) -> None:
        """Leave with DISCONNECT: the broker drops the will."""
        if self.is_open:
            self._write(encode_disconnect())
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Drop the link without a word, as a pulled cable or a power cut does."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Part of asyncio.Protocol."""
        if not isinstance(transport, asyncio.Transport):
            raise TypeError("a stream connection has a stream transport")
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Part of asyncio.Protocol."""
        try:
            packets = self._decoder.feed(data)
        except CodecError:
            self.abort()
            return
        acknowledgements: list[bytes] = []
        for packet in packets:
            self._handle(packet, acknowledgements)
        if acknowledgements:
            self._write(b"".join(acknowledgements))

    def connection_lost(self, exc: Exception | None) -> None:
        """Part of asyncio.Protocol."""
        if self._ping is not None:
            self._ping.cancel()
        closed = Closed("the connection ended" if exc is None else f"the connection ended: {type(exc).__name__}")
        _fail(self._connack, closed)
        for answer in self._waiting.values():
            _fail(answer, closed)
        self._waiting.clear()
        self._transport = None
        self._on_closed()

    def _handle(self, packet: Packet, acknowledgements: list[bytes]) -> None:
        if isinstance(packet, Publish):
            if packet.qos:
                acknowledgements.append(encode_puback(packet.packet_id))
            self._on_message(packet)
        elif isinstance(packet, Puback):
            self._resolve(packet.packet_id, (packet.reason,))
        elif isinstance(packet, Suback):
            self._resolve(packet.packet_id, packet.reasons)
        elif isinstance(packet, Connack):
            if not self._connack.done():
                self._connack.set_result(packet)
        elif isinstance(packet, Disconnect):
            self.disconnect_reason = packet.reason

    def _expect(self) -> tuple[int, asyncio.Future[tuple[int, ...]]]:
        if not self.is_open:
            raise Closed("the connection is closed")
        self._next_id = self._next_id % _PACKET_IDS + 1
        while self._next_id in self._waiting:
            self._next_id = self._next_id % _PACKET_IDS + 1
        answer: asyncio.Future[tuple[int, ...]] = self._loop.create_future()
        self._waiting[self._next_id] = answer
        return self._next_id, answer

    def _resolve(self, packet_id: int, reasons: tuple[int, ...]) -> None:
        answer = self._waiting.pop(packet_id, None)
        if answer is not None and not answer.done():
            answer.set_result(reasons)

    def _send_ping(self) -> None:
        if self.is_open:
            self._write(PINGREQ)
            self._ping = self._loop.call_later(self._keepalive_s * 0.75, self._send_ping)

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)
