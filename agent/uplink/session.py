"""One identity's connection: presence with will, birth, heartbeat, server state, receipts.

Every attempt to connect has its own session number, already on disk, in its will: a will that arrives late is
older than what the server knows. A planned stop says why before DISCONNECT.

A connection under the same identity elsewhere shows in two ways: reason 0x8E where the broker gives it, and, since
Mosquitto 2.0 closes without a word (seen with 2.0.11), sessions that end at once, one after another, while every
attempt to connect succeeds.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agent.reporter import Reporter, SelfDescription
from agent.settings import UplinkSettings
from agent.uplink.identity import Identity
from agent.uplink.outbox import Outbox
from agent.uplink.pump import Pump
from agent.uplink.session_numbers import SessionNumbers
from kit.blocking import Abandoned, CallTimeout, DeviceThread
from kit.clock import Clock, ServerTime
from kit.logs import get_logger
from kit.mqtt import Message, MqttClient, MqttError, MqttSettings, Will
from kit.supervise import Backoff, TaskGroup, spawn
from wire.enrolment import BrokerAddress
from wire.envelope import WireError, decode, encode
from wire.faults import Fault
from wire.presence import Birth, Live, Presence, PresenceReason, ServerState
from wire.topics import DELIVERY, SERVER_STATE, Channel, topic
from wire.uplink import RecordClass

log = get_logger(__name__)

COMPONENT = "agent.uplink"
TAKEN_OVER = 0x8E
TAKEOVERS_LIMIT = 3
SHORT_SESSIONS_LIMIT = 6
SHORT_S = 30.0
FAILED_ATTEMPTS_LIMIT = 3
"""After so many attempts in vain it is the broker that comes and goes, not a rival."""
TAKEOVERS_WITHIN_S = 600.0
JUMP_S = 5.0
_SERVER_STATE_LIMIT_BYTES = 4_096
_GOODBYE_S = 3.0
_SPARE_EXPIRY_S = 55

Inbound = Callable[[Message], None]


@dataclass(frozen=True, slots=True)
class About:
    """What does not change while the agent runs."""

    agent_version: str
    started_at: datetime
    started_mono_s: float
    serial: str | None = None
    profile: str | None = None


@dataclass(frozen=True, slots=True)
class Parts:
    """What every session of this agent uses."""

    outbox: Outbox
    reporter: Reporter
    pump: Pump
    numbers: SessionNumbers
    server_time: ServerTime
    description: SelfDescription
    about: About
    clock: Clock
    settings: UplinkSettings


class PatientBackoff(Backoff):
    """Forgets its failures only after a connection that lasted: two that take each other's session calm down."""

    def reset(self) -> None:
        """See `Backoff`; nothing yet, a connection alone proves nothing."""

    def forget(self) -> None:
        """The connection lasted."""
        super().reset()


class Session:
    """Stays connected as one kiosk until `leave`; constructed anew for each identity."""

    def __init__(
        self,
        kid: str,
        mqtt: MqttSettings,
        parts: Parts,
        *,
        certificate_expires_at: datetime | None = None,
        inbound: Mapping[str, Inbound] | None = None,
    ) -> None:
        self.kid = kid
        self.number = 0
        self.server_state: ServerState | None = None
        self._parts = parts
        self._settings = parts.settings
        self._expires_at = certificate_expires_at
        self._inbound = dict(inbound or {})
        self._is_announced = False
        self._has_presence = False
        self._takeovers: deque[float] = deque(maxlen=50)
        self._short: deque[float] = deque(maxlen=50)
        self._attempts = 0
        self._since_s = 0.0
        self._stopping = asyncio.Event()
        self._stop_reason = PresenceReason.SHUTDOWN
        self._thread: DeviceThread | None = None
        self._wall_minus_mono_s = self._wall_s() - parts.clock.monotonic()
        self._backoff = PatientBackoff(base_s=self._settings.reconnect_base_s, cap_s=self._settings.reconnect_cap_s)
        self.client = MqttClient(
            mqtt,
            clock=parts.clock,
            subscriptions=[(topic(kid, Channel.RECEIPT), 1), (SERVER_STATE, 1), *((name, 1) for name in self._inbound)],
            will=self._will,
            on_connected=self._announce,
            on_disconnected=self._lost,
            backoff=self._backoff,
        )

    @property
    def is_server_online(self) -> bool | None:
        """What `server/state` says on this connection; None while nothing was heard."""
        return None if self.server_state is None else self.server_state.online

    def is_contested(self) -> bool:
        """Whether another connection took this session repeatedly of late."""
        since = self._parts.clock.monotonic() - TAKEOVERS_WITHIN_S
        told = sum(1 for at in self._takeovers if at >= since)
        guessed = sum(1 for at in self._short if at >= since)
        return told >= TAKEOVERS_LIMIT or guessed >= SHORT_SESSIONS_LIMIT

    async def run(self) -> None:
        """Connect and stay until `leave`; when cancelled, say goodbye first."""
        try:
            async with TaskGroup() as group:
                tasks = [
                    spawn(group, self.client.run(), "mqtt"),
                    spawn(group, self._listen(), "uplink-listen"),
                    spawn(group, self._beat(), "uplink-heartbeat"),
                ]
                try:
                    await self._stopping.wait()
                finally:
                    await self._goodbye()
                    for task in tasks:
                        task.cancel()
        finally:
            self._parts.pump.close_gate()
            if self._thread is not None:
                self._thread.close(timeout_s=0.0)

    def leave(self, reason: PresenceReason) -> None:
        """Ask for a planned stop; `run` returns soon."""
        self._stop_reason = reason
        self._stopping.set()

    def renew(self, expires_at: datetime | None) -> None:
        """Connect again with the certificate that is on disk now."""
        self._expires_at = expires_at
        self.client.drop()

    async def heartbeat(self) -> None:
        """One beat: say that we live, and look at what changes slowly."""
        parts = self._parts
        await self._watch_wall_clock()
        await parts.reporter.alarm(COMPONENT, Fault.SESSION_TAKEN_OVER, is_up=self.is_contested())
        if parts.numbers.is_low:
            await self._reserve_numbers()
        if not self._is_announced:
            return
        if parts.clock.monotonic() - self._since_s >= SHORT_S:
            self._backoff.forget()
        live = Live(
            session=self.number,
            boot=parts.outbox.boot,
            at=parts.clock.utc(),
            uptime_s=max(0.0, parts.clock.monotonic() - parts.about.started_mono_s),
            activity=parts.description.activity(),
            queue=parts.outbox.depth(),
            clock_offset_s=parts.server_time.offset_s,
        )
        with suppress(MqttError):
            _ = self.client.publish_soon(topic(self.kid, Channel.LIVE), encode(live), qos=0)

    async def _listen(self) -> None:
        while True:
            for message in await self.client.messages(100):
                await self._take(message)

    async def _beat(self) -> None:
        while True:
            await self.heartbeat()
            await asyncio.sleep(self._settings.heartbeat_s)

    async def _take(self, message: Message) -> None:
        if message.topic == SERVER_STATE:
            self._take_server_state(message)
        elif message.topic == topic(self.kid, Channel.RECEIPT):
            await self._parts.pump.take_receipt(message.payload)
        elif message.topic in self._inbound:
            self._inbound[message.topic](message)

    def _take_server_state(self, message: Message) -> None:
        try:
            state = decode(ServerState, message.payload, limit_bytes=_SERVER_STATE_LIMIT_BYTES)
        except WireError as error:
            log.warning("server_state.refused", reason=str(error))
            return
        if not message.retain and state.online:
            self._parts.server_time.observe(state.utc)
        before = self.server_state
        self.server_state = state
        if before is None or (before.online, before.epoch) != (state.online, state.epoch):
            log.info("server.state_changed", online=state.online, server_epoch=state.epoch)
        self._set_gate()

    def _set_gate(self) -> None:
        pump, state = self._parts.pump, self.server_state
        if state is not None and state.online and self._is_announced:
            pump.open_gate(topic(self.kid, Channel.LOG), self.client, state.backfill_per_s)
        else:
            pump.close_gate()

    def _will(self) -> Will:
        """Asked before each attempt: the attempt gets its number here."""
        self._attempts += 1
        if self._attempts > FAILED_ATTEMPTS_LIMIT:
            self._short.clear()
        self.number = self._parts.numbers.take()
        payload = encode(self._presence(PresenceReason.CONNECTION_LOST, online=False))
        return Will(topic(self.kid, Channel.PRESENCE), payload, delay_s=self._settings.will_delay_s)

    async def _announce(self) -> None:
        """Presence, birth, and what we know."""
        parts = self._parts
        self._attempts = 0
        self._since_s = parts.clock.monotonic()
        if self._stopping.is_set():
            return
        self._has_presence = True
        presence = self._presence(PresenceReason.CONNECTED, online=True)
        await self._publish(Channel.PRESENCE, encode(presence))
        birth = Birth(
            session=self.number,
            boot=parts.outbox.boot,
            at=parts.clock.utc(),
            agent_version=parts.about.agent_version,
            epoch=parts.outbox.epoch,
            profile=parts.about.profile,
            serial=parts.about.serial,
            host=parts.description.host(),
            components=parts.description.components(),
            twin_version=parts.description.twin_version(),
            certificate_expires_at=self._expires_at,
            started_at=parts.about.started_at,
            functions=parts.description.functions(),
            consumables=parts.description.consumables(),
        )
        await self._publish(Channel.BIRTH, encode(birth))
        fields: dict[str, Any] = {
            "twin_version": parts.description.twin_version(),
            "open_commands": parts.description.open_commands(),
            "agent_version": parts.about.agent_version,
            "dropped": parts.outbox.dropped(),
        }
        await parts.outbox.append(RecordClass.P1, "sync", fields)
        log.info("uplink.connected", session=self.number)
        self._is_announced = not self._stopping.is_set()
        self._set_gate()

    def _lost(self, code: int | None, reason: str) -> None:
        self._is_announced = self._has_presence = False
        self.server_state = None
        self._parts.pump.close_gate()
        now_s = self._parts.clock.monotonic()
        if code == TAKEN_OVER:
            self._takeovers.append(now_s)
        elif now_s - self._since_s < SHORT_S and not self._stopping.is_set():
            self._short.append(now_s)
        if not self._stopping.is_set():
            log.warning("uplink.lost", session=self.number, code=code, reason=reason)

    async def _goodbye(self) -> None:
        """Say why, so that nobody takes a planned stop for a failure."""
        self._stopping.set()
        self._is_announced = False
        if self._has_presence:
            payload = encode(self._presence(self._stop_reason, online=False))
            try:
                await self._publish(Channel.PRESENCE, payload, timeout_s=_GOODBYE_S)
            except MqttError as error:
                log.warning("uplink.goodbye_failed", reason=str(error))
        await self.client.close()

    async def _publish(self, channel: Channel, payload: bytes, *, timeout_s: float | None = None) -> None:
        delivery = DELIVERY[channel]
        await self.client.publish(
            topic(self.kid, channel),
            payload,
            qos=delivery.qos,
            retain=delivery.retain,
            timeout_s=self._settings.publish_timeout_s if timeout_s is None else timeout_s,
        )

    def _presence(self, reason: PresenceReason, *, online: bool) -> Presence:
        parts = self._parts
        return Presence(session=self.number, online=online, reason=reason, at=parts.clock.utc(), boot=parts.outbox.boot)

    async def _watch_wall_clock(self) -> None:
        """Tell when the wall clock was moved; the offset to the server shows where to."""
        difference_s = self._wall_s() - self._parts.clock.monotonic()
        jump_s = difference_s - self._wall_minus_mono_s
        self._wall_minus_mono_s = difference_s
        if abs(jump_s) >= JUMP_S:
            log.warning("clock.jumped", jump_s=round(jump_s, 3))
            await self._parts.reporter.event("host", "clock.jumped", {"jump_s": round(jump_s, 3)})

    async def _reserve_numbers(self) -> None:
        if self._thread is None or not self._thread.is_usable:
            self._thread = DeviceThread("session-numbers")
        try:
            await self._thread.call(self._parts.numbers.reserve, timeout_s=30.0)
        except (OSError, CallTimeout, Abandoned) as error:
            log.warning("session.number_not_saved", reason=str(error))

    def _wall_s(self) -> float:
        return self._parts.clock.utc().timestamp()


def mqtt_settings(identity: Identity, broker: BrokerAddress, settings: UplinkSettings) -> MqttSettings:
    """How a kiosk connects; the session outlives the will delay, so that a blip shows to nobody."""
    return MqttSettings(
        host=broker.host,
        port=broker.port,
        client_id=identity.kid,
        ca_file=identity.ca_file,
        cert_file=identity.cert_file,
        key_file=identity.key_file,
        keepalive_s=settings.keepalive_s,
        clean_start=False,
        session_expiry_s=settings.will_delay_s + _SPARE_EXPIRY_S,
        retry_base_s=settings.reconnect_base_s,
        retry_cap_s=settings.reconnect_cap_s,
    )
