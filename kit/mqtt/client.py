"""One MQTT 5 connection that comes back by itself, on asyncio.

Each attempt is a fresh `kit.mqtt.network.Network`: what a caller published on a dead connection fails with
`NotConnected` instead of being sent again behind its back. Received messages cross into the event loop through an
`Inbox`. When it is full, QoS 1 messages are left without PUBACK, so that the broker holds the rest back, and at twice
its limit nothing is read any more; QoS 0 ones are dropped and counted. So a consumer that stops for longer than the
keepalive may lose the connection, never a message with QoS 1 of a session that outlives it.

Ending: `close` sends DISCONNECT, so the broker drops the will. A `run` that is cancelled without `close` sends
DISCONNECT with Will Message (0x04): nobody has said goodbye, so the will tells.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, assert_never

from kit.clock import Clock
from kit.logs import get_logger
from kit.mqtt.errors import Congested, ConnectRefused, MqttError, NotConnected, PublishRefused, PublishTimeout
from kit.mqtt.inbox import Inbox, Message, call_in_loop
from kit.mqtt.network import Ended, Network, Opened, Outgoing, Report, Settled, Subscribed, Verdict, Will
from kit.mqtt.settings import MqttSettings
from kit.supervise import Backoff

log = get_logger(__name__)

_STOP_TIMEOUT_S: Final = 5.0
_PACKET_TOO_LARGE: Final = 0x95
_HEADER_LIMIT_BYTES: Final = 32
"""Most that fixed header, lengths, packet id and properties add to topic and payload."""
_MIDS: Final = 65_535
_ACKNOWLEDGED_QOS: Final = (0, 1)


@dataclass(slots=True, eq=False)
class _Link:
    """One attempt, as the event loop sees it."""

    opened: asyncio.Future[Opened]
    subscribed: asyncio.Future[tuple[Verdict, ...]]
    network: Network = field(init=False)
    reports: deque[Report] = field(default_factory=deque)
    is_drain_due: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    end: Ended | None = None
    is_open: bool = False
    """The broker has accepted the connection and it has not ended."""
    packet_limit_bytes: int | None = None

    def fail(self, error: BaseException) -> None:
        """Let everything that waits for this attempt fail."""
        for answer in (self.opened, self.subscribed):
            if not answer.done():
                answer.set_exception(error)
                answer.exception()


class MqttClient:
    """Stays connected until cancelled or closed; `messages` has one consumer.

    `will` is asked before each attempt, so that it can carry the attempt's own session number. `on_connected`
    is awaited after all subscriptions were granted and must end by itself; if it fails with an `MqttError`, `OSError`
    or `TimeoutError`, the connection is dropped and tried again. `on_disconnected` gets the broker's reason code, or
    None when the broker gave none, and a text.
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
        publish_limit: int = 10_000,
    ) -> None:
        if any(qos not in _ACKNOWLEDGED_QOS for _, qos in subscriptions):
            raise ValueError("only QoS 0 and 1 are supported")
        if not 0 < publish_limit < _MIDS:
            raise ValueError("publish_limit must leave packet ids free")
        self.name = f"mqtt-{settings.client_id}"
        self.settings = settings
        self.last_error: str | None = None
        self.last_failure: Exception | None = None
        """Why the last attempt did not end in a connection; None while connected."""
        self.last_connected_s: float | None = None
        self.session_present = False
        """Whether the broker still had our session at the last connect."""
        self._clock = clock
        self._subscriptions = tuple(subscriptions)
        self._will = will
        self._on_connected = on_connected
        self._on_disconnected = on_disconnected
        self._backoff = backoff or Backoff(base_s=settings.retry_base_s, cap_s=settings.retry_cap_s)
        self._publish_limit = publish_limit
        self._inbox = Inbox(queue_limit)
        self._inbox.on_room = self._room
        self._link: _Link | None = None
        self._is_connected = False
        self._closing = asyncio.Event()

    @property
    def is_connected(self) -> bool:
        """Whether the broker has accepted the connection and granted all subscriptions."""
        return self._is_connected

    @property
    def backlog(self) -> int:
        """Messages that were received and not yet taken."""
        return len(self._inbox)

    @property
    def dropped(self) -> int:
        """Messages without acknowledgement (QoS 0) that were dropped because the queue was full."""
        return self._inbox.dropped

    async def run(self) -> None:
        """Connect, stay, reconnect with full jitter; returns after `close`."""
        is_failing = False
        while not self._closing.is_set():
            try:
                await self._attempt()
                is_failing = False
            except (MqttError, OSError, TimeoutError) as error:
                if self._closing.is_set():
                    return
                self.last_error = str(error) or type(error).__name__
                self.last_failure = error
                if not is_failing:
                    log.warning("mqtt.unreachable", client_id=self.settings.client_id, error=self.last_error)
                is_failing = True
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

        A caller that is cancelled leaves a message that was already written on its way.

        Raises:
            NotConnected: no connection, or it ended before the acknowledgement.
            Congested: `publish_limit` messages wait already.
            PublishRefused: the broker acknowledged with a failure, such as 0x87 not authorized, or never takes
                packets of this size.
            PublishTimeout: no acknowledgement within `timeout_s`.
            ValueError: no topic to publish on, or QoS 2.
        """
        answer = self.publish_soon(topic, payload, qos=qos, retain=retain, expiry_s=expiry_s)
        try:
            done, _ = await asyncio.wait((answer,), timeout=timeout_s)
        except asyncio.CancelledError:
            answer.cancel()
            raise
        if not done:
            answer.cancel()
            raise PublishTimeout(f"{topic}: no acknowledgement within {timeout_s:g} s")
        answer.result()

    def publish_soon(
        self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, expiry_s: int | None = None
    ) -> asyncio.Future[None]:
        """Hand a message to the network thread; the future settles as `publish` would. It need not be awaited.

        Cancelling the future takes the message back as long as it is not written. Messages keep their order.

        Raises:
            NotConnected: no connection.
            Congested: `publish_limit` messages wait already.
            PublishRefused: larger than any packet the broker takes.
            ValueError: no topic to publish on, or QoS 2.
        """
        if not topic or "+" in topic or "#" in topic or "\0" in topic or qos not in _ACKNOWLEDGED_QOS:
            raise ValueError(f"cannot publish on {topic!r} with QoS {qos}")
        link = self._link
        if link is None or not link.is_open:
            raise NotConnected(f"{topic}: not connected")
        limit_bytes = link.packet_limit_bytes
        if limit_bytes is not None and len(topic.encode()) + len(payload) + _HEADER_LIMIT_BYTES > limit_bytes:
            raise PublishRefused(topic, _PACKET_TOO_LARGE, f"Packet too large for the broker's {limit_bytes} bytes")
        if link.network.backlog >= self._publish_limit:
            raise Congested(f"{topic}: {self._publish_limit} messages wait already")
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        link.network.send(Outgoing(topic, payload, qos, retain, expiry_s, answer))
        return answer

    async def messages(self, limit: int = 1_000) -> list[Message]:
        """Wait until there are messages and take up to `limit` of them, oldest first."""
        return await self._inbox.take(limit)

    async def close(self) -> None:
        """Leave with DISCONNECT, so that the broker drops the will, and make `run` return."""
        self._closing.set()
        link = self._link
        if link is None:
            return
        link.fail(NotConnected("closed by ourselves"))
        await self._stop(link)

    def drop(self) -> None:
        """Cut the connection without DISCONNECT; `run` makes a new one."""
        if self._link is not None:
            self._link.network.cut()

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            return

    async def _attempt(self) -> None:
        """One connection from TCP to its end.

        Raises:
            MqttError, OSError, TimeoutError: it did not come about.
        """
        link = self._new_link()
        self._link = link
        try:
            await self._open(link)
            await self._subscribe(link)
            self._is_connected = True
            self.last_error = self.last_failure = None
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
            if was_connected:
                self._lost(link.end)
        if link.end is not None and link.end.failure is not None:
            raise link.end.failure

    def _new_link(self) -> _Link:
        loop = asyncio.get_running_loop()
        link = _Link(loop.create_future(), loop.create_future())

        def tell(report: Report) -> None:
            """In the network thread: one wake-up carries a burst of reports."""
            link.reports.append(report)
            if not link.is_drain_due:
                link.is_drain_due = True
                call_in_loop(loop, self._drain, link)

        link.network = Network(self.settings, will=self._will(), inbox=self._inbox, clock=self._clock, tell=tell)
        return link

    async def _open(self, link: _Link) -> None:
        link.network.start()
        limit_s = self.settings.connect_timeout_s * 2
        try:
            async with asyncio.timeout(limit_s):
                opened = await link.opened
        except TimeoutError:
            raise NotConnected(f"no CONNACK within {limit_s:g} s") from None
        self.session_present = opened.session_present

    async def _subscribe(self, link: _Link) -> None:
        if not self._subscriptions:
            return
        link.network.subscribe(self._subscriptions)
        limit_s = self.settings.connect_timeout_s
        try:
            async with asyncio.timeout(limit_s):
                verdicts = await link.subscribed
        except TimeoutError:
            raise NotConnected(f"no SUBACK within {limit_s:g} s") from None
        for (name, _), verdict in zip(self._subscriptions, verdicts, strict=True):
            if verdict.is_failure:
                raise ConnectRefused(verdict.code, f"subscription {name}: {verdict.text}")

    async def _stop(self, link: _Link) -> None:
        """Let the thread end; it does so on its own when it still hangs in a connect or we are cancelled here."""
        link.network.stop(with_will=not self._closing.is_set())
        if link.network.is_connecting:
            return
        try:
            async with asyncio.timeout(_STOP_TIMEOUT_S):
                await link.ended.wait()
        except TimeoutError:
            log.warning("mqtt.thread_stuck", client_id=self.settings.client_id)

    def _lost(self, end: Ended | None) -> None:
        code, reason = (None, "given up") if end is None else (end.code, end.reason)
        self.last_error = reason
        log.info("mqtt.disconnected", client_id=self.settings.client_id, reason=reason, reason_code=code)
        if self._on_disconnected is not None:
            self._on_disconnected(code, reason)

    def _room(self) -> None:
        if self._link is not None:
            self._link.network.acknowledge_more()

    def _drain(self, link: _Link) -> None:
        """Take note of what the network thread reported, in the event loop."""
        link.is_drain_due = False
        while link.reports:
            report = link.reports.popleft()
            match report:
                case Settled():
                    _settle(report.outgoing, report.refusal)
                case Subscribed():
                    if not link.subscribed.done():
                        link.subscribed.set_result(report.verdicts)
                case Opened():
                    _open(link, report)
                case Ended():
                    _end(link, report)
                case _:
                    assert_never(report)


def _settle(outgoing: Outgoing, refusal: Verdict | None) -> None:
    answer = outgoing.answer
    if answer.done():
        return
    if refusal is None:
        answer.set_result(None)
    else:
        answer.set_exception(PublishRefused(outgoing.topic, refusal.code, refusal.text))
        answer.exception()


def _open(link: _Link, opened: Opened) -> None:
    if link.opened.done():
        return
    if opened.verdict.is_failure:
        link.fail(ConnectRefused(opened.verdict.code, opened.verdict.text))
    else:
        link.is_open = True
        link.packet_limit_bytes = opened.packet_limit_bytes
        link.opened.set_result(opened)


def _end(link: _Link, end: Ended) -> None:
    link.end = end
    link.is_open = False
    link.ended.set()
    lost = NotConnected(end.reason)
    link.fail(end.failure or lost)
    for outgoing in link.network.unsettled():
        if not outgoing.answer.done():
            outgoing.answer.set_exception(lost)
            outgoing.answer.exception()
