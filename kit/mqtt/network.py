"""One attempt at a connection: a thread in which paho lives, and which alone touches it.

The event loop leaves orders and wakes the thread; the thread answers with reports, carried into the loop in bursts.
paho's own loops are not used: they wait by select(2), which ends at file 1,023, and scan all open messages for
each acknowledgement. The window of unacknowledged messages is kept here, at most what the broker allows.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
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
from kit.mqtt.buffered import BufferedClient, ReadBuffer, is_buffered, pending_bytes
from kit.mqtt.errors import ClosedEarly, NotConnected
from kit.mqtt.inbox import Inbox, Message
from kit.mqtt.settings import MqttSettings

log = get_logger(__name__)

WINDOW: Final = 500
READ_BURST: Final = 200
"""Packets read before writing and keepalive get their turn."""
TURN_MS: Final = 1_000
FAREWELL_S: Final = 2.0
_FAILURES_FROM: Final = 0x80
_KEEPALIVE_TIMEOUT: Final = 0x8D
_CLOSED_EARLY: Final = (
    "the broker closed the connection before CONNACK: under TLS 1.3 that is how a refused certificate shows"
)


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes when this connection dies."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = True
    delay_s: int = 0


@dataclass(slots=True, eq=False)
class Outgoing:
    """A message on its way to the broker."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    expiry_s: int | None
    answer: asyncio.Future[None]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A reason code of MQTT 5."""

    code: int
    text: str

    @property
    def is_failure(self) -> bool:
        """Whether the broker refused."""
        return self.code >= _FAILURES_FROM


@dataclass(frozen=True, slots=True)
class Opened:
    """CONNACK."""

    verdict: Verdict
    session_present: bool
    packet_limit_bytes: int | None


@dataclass(frozen=True, slots=True)
class Subscribed:
    """SUBACK."""

    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True)
class Settled:
    """PUBACK, or the write of a message with QoS 0; `refusal` when the broker refused it."""

    outgoing: Outgoing
    refusal: Verdict | None


@dataclass(frozen=True, slots=True)
class Ended:
    """The last report; `code` only when the broker said it, `failure` when the connection never came about."""

    code: int | None
    reason: str
    failure: BaseException | None


Report = Opened | Subscribed | Settled | Ended


@dataclass(slots=True)
class _Orders:
    """What the event loop has left for the thread."""

    outgoing: deque[Outgoing] = field(default_factory=deque)
    subscriptions: Sequence[tuple[str, int]] = ()
    stop: bool = False
    with_will: bool = False
    cut: bool = False


class Network:
    """The thread of one attempt. `start`, `send`, `subscribe`, `acknowledge_more`, `stop`, `cut` are the loop's."""

    client_type: type[paho.Client] = BufferedClient

    def __init__(
        self, settings: MqttSettings, *, will: Will | None, inbox: Inbox, clock: Clock, tell: Callable[[Report], None]
    ) -> None:
        self.is_connecting = True
        self._settings = settings
        self._will = will
        self._inbox = inbox
        self._clock = clock
        self._tell = tell
        self._orders = _Orders()
        self._is_asked = False
        self._wake_lock = threading.Lock()
        self._wake_fd = -1
        self._in_flight: dict[int, Outgoing] = {}
        self._in_window = 0
        self._window = WINDOW
        self._to_acknowledge: deque[int] = deque()
        self._expiries: dict[int, Properties] = {}
        self._is_open = False
        self._leave_by_s: float | None = None
        self._end: tuple[int | None, str] | None = None
        self._link: Any = None
        self._client = self._new_client()

    # --- the event loop's side ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Connect, in a thread of its own."""
        threading.Thread(target=self._body, name=f"mqtt-{self._settings.client_id}", daemon=True).start()

    @property
    def backlog(self) -> int:
        """Messages sent or to be sent that the broker has not acknowledged."""
        return len(self._orders.outgoing) + len(self._in_flight)

    def send(self, outgoing: Outgoing) -> None:
        """Publish; answered by `Settled`, or not at all when the connection ends, see `unsettled`."""
        self._orders.outgoing.append(outgoing)
        self._ask()

    def subscribe(self, subscriptions: Sequence[tuple[str, int]]) -> None:
        """Subscribe; answered by `Subscribed`."""
        self._orders.subscriptions = subscriptions
        self._ask()

    def acknowledge_more(self) -> None:
        """The inbox has room again."""
        if self._to_acknowledge:
            self._ask()

    def stop(self, *, with_will: bool) -> None:
        """Leave with DISCONNECT, after what was sent before as far as the broker takes it."""
        self._orders.with_will = with_will
        self._orders.stop = True
        self._ask()

    def cut(self) -> None:
        """Close the socket without a word."""
        self._orders.cut = True
        self._ask()

    def unsettled(self) -> list[Outgoing]:
        """After `Ended`: the messages that no `Settled` will come for."""
        return [*self._in_flight.values(), *self._orders.outgoing]

    def _ask(self) -> None:
        if self._is_asked:
            return
        self._is_asked = True
        with self._wake_lock:
            if self._wake_fd >= 0:
                os.eventfd_write(self._wake_fd, 1)

    # --- the thread's side -------------------------------------------------------------------------------------

    def _body(self) -> None:
        failure: BaseException | None = None
        try:
            self._connect()
            self._serve()
        except OSError as error:
            failure = _explained(error, self._settings)
        except BaseException as error:  # noqa: BLE001 - carried into the loop, where `run` raises it
            failure = error
        finally:
            self.is_connecting = False
            self._close()
        code, reason = self._end or (None, str(failure or self._why_lost()))
        if failure is None and not self._is_open:
            failure = self._why_early(reason)
        self._tell(Ended(code, reason, failure))

    def _connect(self) -> None:
        settings, client = self._settings, self._client
        self._wake_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        if settings.tls:
            client.tls_set_context(settings.ssl_context())
        properties = _properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = settings.session_expiry_s
        properties.ReceiveMaximum = settings.receive_maximum
        client.connect(
            settings.host,
            settings.port,
            settings.keepalive_s,
            clean_start=settings.clean_start,
            properties=properties,
        )
        self._link = client.socket()
        self.is_connecting = False
        if not is_buffered(client):
            log.warning("mqtt.unbuffered")

    def _serve(self) -> None:
        poller = select.poll()
        poller.register(self._wake_fd, select.POLLIN)
        file = self._link.fileno()
        while self._client.socket() is not None:
            self._is_asked = False
            if not self._obey():
                return
            self._client.loop_write()
            if self._client.socket() is None:
                return
            may_read = not self._inbox.is_choked
            to_write = select.POLLOUT if self._client.want_write() else 0
            poller.register(file, to_write | (select.POLLIN if may_read else 0))
            is_busy = self._is_asked or (may_read and pending_bytes(self._link) > 0)
            ready = dict(poller.poll(0 if is_busy else TURN_MS))
            if self._wake_fd in ready:
                os.eventfd_read(self._wake_fd)
            if ready.get(file, 0) & ~select.POLLOUT or (may_read and pending_bytes(self._link) > 0):
                self._read()
            self._client.loop_misc()

    def _obey(self) -> bool:
        """Do what the loop has ordered; False when the connection is to be closed at once."""
        orders = self._orders
        if orders.cut or (orders.stop and not self._is_open):
            self._end = None, "given up by ourselves"
            return False
        if self._leave_by_s is not None:
            return time.monotonic() < self._leave_by_s
        if orders.subscriptions:
            filters = [(name, SubscribeOptions(qos=qos)) for name, qos in orders.subscriptions]
            orders.subscriptions = ()
            self._client.subscribe(filters)
        while self._to_acknowledge and not self._inbox.is_full:
            self._client.ack(self._to_acknowledge.popleft(), 1)
        self._send_more()
        if orders.stop:
            self._leave_by_s = time.monotonic() + FAREWELL_S
            name = "Disconnect with will message" if orders.with_will else "Normal disconnection"
            self._client.disconnect(ReasonCode(PacketTypes.DISCONNECT, name))
        return True

    def _send_more(self) -> None:
        outgoing = self._orders.outgoing
        while outgoing and self._in_window < self._window:
            message = outgoing.popleft()
            if message.answer.cancelled():
                continue
            properties = None if message.expiry_s is None else self._expiry(message.expiry_s)
            info = self._client.publish(message.topic, message.payload, message.qos, message.retain, properties)
            self._in_flight[info.mid] = message
            self._in_window += message.qos

    def _read(self) -> None:
        for _ in range(READ_BURST):
            if self._client.loop_read() != MQTTErrorCode.MQTT_ERR_SUCCESS:
                return
            if self._client.socket() is None or self._inbox.is_choked or pending_bytes(self._link) == 0:
                return

    def _close(self) -> None:
        link = self._client.socket()
        if link is not None:
            link.close()
        with self._wake_lock:
            if self._wake_fd >= 0:
                os.close(self._wake_fd)
            self._wake_fd = -1

    def _why_lost(self) -> str:
        failure = self._link.failure if isinstance(self._link, ReadBuffer) else None
        return "the broker closed the connection" if failure is None else _sentence(failure)

    def _why_early(self, reason: str) -> Exception:
        if self._orders.stop or self._orders.cut or not self._settings.tls:
            return NotConnected(reason)
        failure = self._link.failure if isinstance(self._link, ReadBuffer) else None
        return ClosedEarly(_alert(failure) if isinstance(failure, ssl.SSLError) else _CLOSED_EARLY)

    def _expiry(self, expiry_s: int) -> Properties:
        """Making these costs paho more than sending them does."""
        properties = self._expiries.get(expiry_s)
        if properties is None:
            if len(self._expiries) >= WINDOW:
                self._expiries.clear()
            properties = self._expiries[expiry_s] = _properties(PacketTypes.PUBLISH)
            properties.MessageExpiryInterval = expiry_s
        return properties

    def _new_client(self) -> paho.Client:
        settings, will = self._settings, self._will
        client = self.client_type(
            CallbackAPIVersion.VERSION2,
            client_id=settings.client_id,
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.connect_timeout = settings.connect_timeout_s
        client.max_inflight_messages_set(0)
        if will is not None:
            properties = _properties(PacketTypes.WILLMESSAGE)
            properties.WillDelayInterval = will.delay_s
            client.will_set(will.topic, will.payload, will.qos, will.retain, properties)
        client.on_connect = self._on_connect
        client.on_subscribe = lambda _client, _data, _mid, codes, _properties: self._tell(
            Subscribed(tuple(_verdict(code) for code in codes))
        )
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        client.on_disconnect = self._on_disconnect
        client.on_socket_register_write = lambda *_: None  # its presence keeps paho from writing before our turn
        return client

    def _on_connect(
        self, _client: object, _data: object, flags: paho.ConnectFlags, code: ReasonCode, properties: Properties | None
    ) -> None:
        verdict = _verdict(code)
        self._is_open = not verdict.is_failure
        self._window = min(WINDOW, getattr(properties, "ReceiveMaximum", WINDOW))
        self._tell(Opened(verdict, bool(flags.session_present), getattr(properties, "MaximumPacketSize", None)))

    def _on_publish(self, _client: object, _data: object, mid: int, code: ReasonCode, _properties: object) -> None:
        message = self._in_flight.pop(mid, None)
        if message is not None:
            self._in_window -= message.qos
            self._tell(Settled(message, _verdict(code) if code.is_failure else None))

    def _on_message(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        if message.qos > 0:
            self._to_acknowledge.append(message.mid)
        elif self._inbox.is_full:
            self._inbox.dropped += 1
            return
        try:
            topic = message.topic
        except UnicodeDecodeError:
            self._inbox.dropped += 1
            return
        properties = message.properties
        self._inbox.put(
            Message(
                topic,
                bytes(message.payload),
                message.qos,
                message.retain,
                getattr(properties, "MessageExpiryInterval", None),
                getattr(properties, "ContentType", None),
                self._clock.monotonic(),
            )
        )

    def _on_disconnect(
        self, _client: object, _data: object, flags: paho.DisconnectFlags, code: ReasonCode, _properties: object
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            self._end = code.value, str(code)
        elif self._orders.stop:
            self._end = None, "left by ourselves"
        elif code.value == _KEEPALIVE_TIMEOUT:
            self._end = None, f"no answer to a ping for {self._settings.keepalive_s} s"
        else:
            self._end = None, self._why_lost()


def _verdict(code: ReasonCode) -> Verdict:
    return Verdict(code.value, str(code))


def _properties(packet_type: int) -> Properties:
    return Properties(packet_type)  # type: ignore[no-untyped-call]  # paho leaves this class untyped


def _explained(error: OSError, settings: MqttSettings) -> NotConnected:
    """What an engineer can do something with."""
    where = f"{settings.host}:{settings.port}"
    if isinstance(error, ssl.SSLCertVerificationError):
        text = f"the certificate of {where} is not trusted: {error.verify_message}"
    elif isinstance(error, ssl.SSLError):
        text = f"no TLS connection with {where}: {_sentence(error)}"
    elif isinstance(error, socket.gaierror):
        text = f"the name {settings.host} is not known: {error.strerror}"
    elif isinstance(error, TimeoutError):
        text = f"no answer from {where} within {settings.connect_timeout_s:g} s"
    elif error.filename is None and error.errno is not None:
        text = f"{where}: {error.strerror}"
    else:
        text = str(error)
    return NotConnected(text)


def _alert(error: ssl.SSLError) -> str:
    return f"the broker ended TLS before CONNACK, as it does with a refused certificate: {_sentence(error)}"


def _sentence(error: OSError) -> str:
    """OpenSSL's `TLSV1_ALERT_UNKNOWN_CA` as `unknown ca`; errno's text otherwise."""
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return "closed without an alert"
    if isinstance(error, ssl.SSLError) and isinstance(error.reason, str):
        return error.reason.rpartition("ALERT_")[2].replace("_", " ").lower()
    return error.strerror or type(error).__name__
