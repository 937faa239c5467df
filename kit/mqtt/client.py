"""One MQTT 5 connection that comes back by itself, on asyncio, with paho's network thread underneath.

Each attempt is a fresh paho client: what a caller published on a dead connection fails with `NotConnected`
instead of being sent again behind its back. Messages cross from paho's thread in a deque; the event loop is
woken once per idle period, not once per message. When the deque is full, QoS 1 messages are left without
PUBACK, so the broker holds the rest back (its Receive Maximum bounds what is on the way); QoS 0 ones are
dropped and counted. paho's thread uses select(2): the process must stay below 1,024 open files while connecting.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from kit.clock import Clock
from kit.logs import get_logger
from kit.mqtt.buffered import client_class
from kit.mqtt.settings import MqttSettings
from kit.supervise import Backoff

log = get_logger(__name__)

_COALESCE_S: Final = 0.01
_INFLIGHT: Final = 500
_STOP_TIMEOUT_S: Final = 5.0
_SERVER_CLOSED: Final = (
    "the broker closed the connection before CONNACK: under TLS 1.3 that is how a refused certificate shows"
)


class MqttError(Exception):
    """Something with the broker went wrong."""


class NotConnected(MqttError):
    """There is no connection, or it ended before the broker answered; whether it has the message is unknown."""


class ClosedEarly(NotConnected):
    """The broker took the TLS connection and ended it before CONNACK, as it does with a refused certificate."""


class PublishTimeout(MqttError):
    """The broker did not acknowledge in time; whether it has the message is unknown."""


class ConnectRefused(MqttError):
    """The broker refused the connection or a subscription; carries the MQTT 5 reason code."""

    def __init__(self, reason_code: int, reason: str) -> None:
        super().__init__(f"refused: {reason} (0x{reason_code:02X})")
        self.reason_code = reason_code


class PublishRefused(MqttError):
    """The broker acknowledged with a failure; carries the MQTT 5 reason code."""

    def __init__(self, topic: str, reason_code: int, reason: str) -> None:
        super().__init__(f"{topic} refused: {reason} (0x{reason_code:02X})")
        self.reason_code = reason_code


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes when this connection dies."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = True
    delay_s: int = 0


@dataclass(frozen=True, slots=True)
class Message:
    """A received message; `received_mono_s` is the injected monotonic clock at hand-over."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    expiry_s: int | None
    content_type: str | None
    received_mono_s: float


@dataclass(slots=True)
class _Link:
    """One attempt: its paho client and what is waited for on it. Events come from paho's thread."""

    client: paho.Client
    events: deque[tuple[str, int, Any]] = field(default_factory=deque)
    waiting: dict[int, tuple[str, asyncio.Future[None]]] = field(default_factory=dict)
    subscribed: dict[int, asyncio.Future[list[ReasonCode]]] = field(default_factory=dict)
    opened: asyncio.Future[None] | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    end_reason: str = ""
    end_code: int | None = None
    drain_scheduled: bool = False
    unacknowledged: deque[int] = field(default_factory=deque)
    is_given_up: bool = False


class MqttClient:
    """Stays connected until cancelled or closed.

    `will` is asked before each attempt, so that it can carry the attempt's own session number. `on_connected`
    is awaited after all subscriptions were granted; if it fails, the connection is dropped and tried again.
    """

    def __init__(  # noqa: PLR0913 - the parts of a connection, all by keyword
        self,
        settings: MqttSettings,
        *,
        clock: Clock,
        subscriptions: Sequence[tuple[str, int]] = (),
        will: Callable[[], Will | None] = lambda: None,
        on_connected: Callable[[], Awaitable[None]] | None = None,
        on_disconnected: Callable[[int | None, str], None] | None = None,
        backoff: Backoff | None = None,
        queue_limit: int = 10_000,
    ) -> None:
        self.name = f"mqtt-{settings.client_id}"
        self.settings = settings
        self.last_error: str | None = None
        self.last_failure: Exception | None = None
        """Why the last attempt did not end in a connection; None while connected."""
        self.last_connected_s: float | None = None
        self.dropped = 0
        self._clock = clock
        self._subscriptions = tuple(subscriptions)
        self._will = will
        self._on_connected = on_connected
        self._on_disconnected = on_disconnected
        self._backoff = backoff or Backoff(base_s=settings.retry_base_s, cap_s=settings.retry_cap_s)
        self._queue_limit = queue_limit
        self._messages: deque[Message] = deque()
        self._arrived = asyncio.Event()
        self._is_waiting = False
        self._last_wake_s = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._link: _Link | None = None
        self._is_connected = False
        self._closing = asyncio.Event()
        self._paho = client_class()

    @property
    def is_connected(self) -> bool:
        """Whether the broker has accepted the connection and granted all subscriptions."""
        return self._is_connected

    @property
    def backlog(self) -> int:
        """Messages that were received and not yet taken."""
        return len(self._messages)

    async def run(self) -> None:
        """Connect, stay, reconnect with full jitter; returns after `close`."""
        self._loop = asyncio.get_running_loop()
        failing = False
        while not self._closing.is_set():
            try:
                await self._attempt()
                failing = False
            except (MqttError, OSError, TimeoutError) as error:
                self.last_error = str(error) or type(error).__name__
                self.last_failure = error
                if not failing:
                    log.warning("mqtt.unreachable", client_id=self.settings.client_id, error=self.last_error)
                failing = True
            await self._pause(self._backoff.next_s())

    async def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        expiry_s: int | None = None,
        timeout_s: float = 10.0,
    ) -> None:
        """Publish and wait for the broker's acknowledgement (QoS 1) or the write (QoS 0).

        A cancelled caller leaves the message on its way.

        Raises:
            NotConnected: no connection, or it ended before the acknowledgement.
            PublishRefused: the broker acknowledged with a failure, such as 0x87 not authorized.
            PublishTimeout: no acknowledgement within `timeout_s`.
        """
        answer = self.publish_soon(topic, payload, qos=qos, retain=retain, expiry_s=expiry_s)
        done, _ = await asyncio.wait((answer,), timeout=timeout_s)
        if not done:
            raise PublishTimeout(f"{topic}: no acknowledgement within {timeout_s:g} s")
        answer.result()

    def publish_soon(
        self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, expiry_s: int | None = None
    ) -> asyncio.Future[None]:
        """Hand a message to the network thread; the future settles as `publish` would. It need not be awaited.

        Raises:
            NotConnected: no connection.
        """
        link = self._link
        if link is None or not self._is_usable(link):
            raise NotConnected(f"{topic}: not connected")
        properties = None
        if expiry_s is not None:
            properties = _properties(PacketTypes.PUBLISH)
            properties.MessageExpiryInterval = expiry_s
        info = link.client.publish(topic, payload, qos, retain, properties)
        if info.rc not in {MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_NO_CONN}:
            raise NotConnected(f"{topic}: {paho.error_string(info.rc)}")
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        link.waiting[info.mid] = (topic, answer)
        return answer

    async def messages(self, limit: int = 1_000) -> list[Message]:
        """Wait until there are messages and take up to `limit` of them, oldest first."""
        while not self._messages:
            self._arrived.clear()
            self._is_waiting = True
            if self._messages:
                break
            await self._arrived.wait()
            since_s = self._clock.monotonic() - self._last_wake_s
            if 0.0 <= since_s < _COALESCE_S:
                await asyncio.sleep(_COALESCE_S - since_s)
            self._last_wake_s = self._clock.monotonic()
        self._is_waiting = False
        taken = [self._messages.popleft() for _ in range(min(limit, len(self._messages)))]
        if len(self._messages) <= self._queue_limit // 2:
            self._release()
        return taken

    async def close(self) -> None:
        """Leave with DISCONNECT, so that the broker drops the will, and make `run` return."""
        self._closing.set()
        link = self._link
        if link is not None:
            link.client.disconnect()
            try:
                async with asyncio.timeout(_STOP_TIMEOUT_S):
                    await link.ended.wait()
            except TimeoutError:
                log.warning("mqtt.close_timed_out", client_id=self.settings.client_id)

    def drop(self) -> None:
        """Cut the connection without DISCONNECT; `run` makes a new one."""
        if self._link is not None and (link_socket := self._link.client.socket()) is not None:
            link_socket.close()

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            return

    def _is_usable(self, link: _Link) -> bool:
        return link.opened is not None and link.opened.done() and not link.ended.is_set()

    async def _attempt(self) -> None:
        """One connection from TCP to its end.

        Raises:
            MqttError, OSError, TimeoutError: it did not come about, or ended.
        """
        link = self._new_link()
        self._link = link
        try:
            await self._open(link)
            await self._subscribe(link)
            self._is_connected = True
            self.last_error = None
            self.last_failure = None
            self.last_connected_s = self._clock.monotonic()
            log.info("mqtt.connected", client_id=self.settings.client_id)
            if self._on_connected is not None:
                await self._on_connected()
            self._backoff.reset()
            await link.ended.wait()
        finally:
            was_connected, self._is_connected = self._is_connected, False
            self._link = None
            await self._stop(link)
            self._fail_waiting(link)
            if was_connected:
                log.info("mqtt.disconnected", client_id=self.settings.client_id, reason=link.end_reason)
                if self._on_disconnected is not None:
                    self._on_disconnected(link.end_code, link.end_reason)
        self.last_error = link.end_reason or None

    def _new_link(self) -> _Link:
        settings = self.settings
        client = self._paho(
            CallbackAPIVersion.VERSION2,
            client_id=settings.client_id,
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
        )
        client.connect_timeout = settings.connect_timeout_s
        client.max_inflight_messages_set(_INFLIGHT)
        if settings.tls:
            client.tls_set_context(settings.ssl_context())
        will = self._will()
        if will is not None:
            properties = _properties(PacketTypes.WILLMESSAGE)
            properties.WillDelayInterval = will.delay_s
            client.will_set(will.topic, will.payload, will.qos, will.retain, properties)
        link = _Link(client)
        self._listen(link)
        return link

    def _listen(self, link: _Link) -> None:
        """Paho's callbacks, all in its thread: they only put things where the loop finds them."""
        client = link.client

        def note(kind: str, number: int, value: object) -> None:
            link.events.append((kind, number, value))
            if not link.drain_scheduled and self._loop is not None:
                link.drain_scheduled = True
                self._call_soon(self._drain, link)

        client.on_connect = lambda _c, _u, _f, code, _p: note("connect", 0, code)
        client.on_subscribe = lambda _c, _u, mid, codes, _p: note("subscribe", mid, codes)
        client.on_publish = lambda _c, _u, mid, code, _p: note("publish", mid, code)
        client.on_disconnect = lambda _c, _u, _f, code, _p: note("disconnect", 0, code)
        client.on_message = lambda _c, _u, message: self._arrive(link, message)

    def _arrive(self, link: _Link, message: paho.MQTTMessage) -> None:
        """A message, in paho's thread."""
        full = len(self._messages) >= self._queue_limit
        if full and message.qos == 0:
            self.dropped += 1
            return
        link.client.manual_ack_set(full)
        if full:
            link.unacknowledged.append(message.mid)
        properties = message.properties
        self._messages.append(
            Message(
                message.topic,
                bytes(message.payload),
                message.qos,
                message.retain,
                getattr(properties, "MessageExpiryInterval", None),
                getattr(properties, "ContentType", None),
                self._clock.monotonic(),
            )
        )
        if self._is_waiting:
            self._is_waiting = False
            self._call_soon(self._arrived.set)

    def _release(self) -> None:
        """Acknowledge what was held back while the queue was full."""
        link = self._link
        while link is not None and link.unacknowledged:
            link.client.ack(link.unacknowledged.popleft(), 1)

    def _call_soon(self, callback: Callable[..., object], *arguments: object) -> None:
        if self._loop is not None and not self._loop.is_closed():
            try:
                self._loop.call_soon_threadsafe(callback, *arguments)
            except RuntimeError:  # the loop was closed in between: nobody listens any more
                return

    def _drain(self, link: _Link) -> None:
        """Settle what paho's thread reported, in the event loop."""
        link.drain_scheduled = False
        while link.events:
            kind, number, value = link.events.popleft()
            if kind == "publish":
                self._settle_publish(link, number, value)
            elif kind == "subscribe":
                answer = link.subscribed.pop(number, None)
                if answer is not None and not answer.done():
                    answer.set_result(value)
            elif kind == "connect":
                self._settle_connect(link, value)
            else:
                self._settle_end(link, value)

    def _settle_publish(self, link: _Link, mid: int, code: ReasonCode) -> None:
        topic, answer = link.waiting.pop(mid, ("", None))
        if answer is None or answer.done():
            return
        if code.is_failure:
            answer.set_exception(PublishRefused(topic, code.value, str(code)))
            answer.exception()
        else:
            answer.set_result(None)

    def _settle_connect(self, link: _Link, code: ReasonCode) -> None:
        if link.opened is None or link.opened.done():
            return
        if code.is_failure:
            link.opened.set_exception(ConnectRefused(code.value, str(code)))
        else:
            link.opened.set_result(None)

    def _settle_end(self, link: _Link, code: ReasonCode) -> None:
        link.end_code, link.end_reason = code.value, str(code)
        link.ended.set()
        self._fail_waiting(link)
        if link.opened is not None and not link.opened.done():
            link.opened.set_exception(ClosedEarly(_SERVER_CLOSED) if self.settings.tls else NotConnected(str(code)))

    async def _open(self, link: _Link) -> None:
        settings = self.settings
        loop = asyncio.get_running_loop()
        link.opened = loop.create_future()
        properties = _properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = settings.session_expiry_s
        properties.ReceiveMaximum = settings.receive_maximum

        def connect() -> None:
            link.client.connect(
                settings.host,
                settings.port,
                settings.keepalive_s,
                clean_start=settings.clean_start,
                properties=properties,
            )
            if not link.is_given_up:
                link.client.loop_start()

        async with asyncio.timeout(settings.connect_timeout_s * 2):
            try:
                await _in_thread(f"connect-{settings.client_id}", connect)
            except ssl.SSLCertVerificationError as error:
                raise NotConnected(f"the broker's certificate is not trusted: {error.verify_message}") from error
            except ssl.SSLError as error:
                raise NotConnected(f"no TLS connection: {error.reason}") from error
            await link.opened

    async def _subscribe(self, link: _Link) -> None:
        if not self._subscriptions:
            return
        filters = [(name, SubscribeOptions(qos=qos)) for name, qos in self._subscriptions]
        result, mid = link.client.subscribe(filters)
        if result != MQTTErrorCode.MQTT_ERR_SUCCESS or mid is None:
            raise NotConnected(f"SUBSCRIBE: {paho.error_string(result)}")
        answer: asyncio.Future[list[ReasonCode]] = asyncio.get_running_loop().create_future()
        link.subscribed[mid] = answer
        async with asyncio.timeout(self.settings.connect_timeout_s):
            codes = await answer
        for (name, _), code in zip(self._subscriptions, codes, strict=True):
            if code.is_failure:
                raise ConnectRefused(code.value, f"subscription {name}: {code}")

    async def _stop(self, link: _Link) -> None:
        """End paho's thread; also when this task is being cancelled."""
        link.is_given_up = True
        link.client.disconnect()
        stopping = asyncio.ensure_future(_in_thread(f"stop-{self.settings.client_id}", link.client.loop_stop))
        await asyncio.shield(stopping)  # a cancelled owner must not leave paho's thread behind
        link.unacknowledged.clear()

    def _fail_waiting(self, link: _Link) -> None:
        lost = NotConnected(link.end_reason or "the connection ended")
        for topic_and_answer in link.waiting.values():
            answer = topic_and_answer[1]
            if not answer.done():
                answer.set_exception(lost)
                answer.exception()
        for pending in link.subscribed.values():
            pending.cancel()
        link.waiting.clear()
        link.subscribed.clear()


def _properties(packet_type: int) -> Properties:
    return Properties(packet_type)  # type: ignore[no-untyped-call]  # paho leaves this class untyped


async def _in_thread(name: str, work: Callable[[], object]) -> None:
    """Run blocking `work` in a daemon thread of its own; a cancelled caller leaves it to end by itself."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[None] = loop.create_future()

    def settle(error: BaseException | None) -> None:
        if not answer.done():
            if error is None:
                answer.set_result(None)
            else:
                answer.set_exception(error)

    def body() -> None:
        error: BaseException | None = None
        try:
            work()
        except BaseException as raised:  # noqa: BLE001 - carried to the caller
            error = raised
        try:
            loop.call_soon_threadsafe(settle, error)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return

    threading.Thread(target=body, name=name, daemon=True).start()
    await answer
