"""One light kiosk: presence, birth, heartbeat, telemetry and events over the real protocol.

What it does not have: a disk (its outbox survives a simulated reboot, not the end of the process),
devices, a local API. Everything it says is built from `wire`, as the agent's messages are.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypedDict

from kit.clock import Clock, ulid
from kit.supervise import Backoff
from simulators.fleet.backlog import Absence, Backlog, length
from simulators.fleet.behaviour import Behaviour, HostWalk, next_in
from simulators.fleet.identities import Identity
from simulators.fleet.ledger import Ledger
from simulators.fleet.queue import MemoryOutbox
from simulators.mqtt.codec import Connect, Publish, Will
from simulators.mqtt.connection import Address, MqttConnection, Refused
from wire.envelope import Scalar, WireError, decode, encode
from wire.faults import Severity
from wire.presence import (
    KEEPALIVE_S,
    WILL_DELAY_S,
    Activity,
    Birth,
    Component,
    HostFacts,
    Live,
    Presence,
    PresenceReason,
    QueueDepth,
    ServerState,
)
from wire.topics import SERVER_STATE, Channel, topic
from wire.uplink import (
    CHAIN_START,
    AlarmRecord,
    AnyRecord,
    Edge,
    EventRecord,
    Receipt,
    RecordClass,
    SyncRecord,
    TelemetryRecord,
    chain_next,
    record_digest,
)

AGENT_VERSION = "0.1.0-light"
SESSION_EXPIRY_S = 3_600
TICK_S = 1.0
UNANSWERED_BATCHES = 20
BACKFILL_WAITING = 400
"""So many records may wait for receipts before more of the backlog is sent."""


@dataclass(slots=True)
class Counters:
    """What happened to one kiosk so far."""

    connects: int = 0
    connect_failures: int = 0
    takeovers: int = 0
    records: int = 0
    acknowledged: int = 0
    batches: int = 0
    heartbeats: int = 0


class Base(TypedDict):
    """The fields every record starts with."""

    seq: int
    record_class: RecordClass
    at: datetime
    boot: str
    mono_ms: int
    offset_s: float


@dataclass(slots=True)
class _Boot:
    """What a reboot changes."""

    boot: str
    started_s: float


@dataclass(slots=True)
class _Timers:
    """Monotonic times of the next spontaneous act, in seconds."""

    heartbeat_s: float = 0.0
    telemetry_s: float = 0.0
    event_s: float = 0.0
    disconnect_s: float = 0.0
    reboot_s: float = 0.0


@dataclass(slots=True)
class Wishes:
    """What a tester asked for; read at the next tick."""

    connected: bool = True
    flood_per_s: float = 0.0
    flood_until_s: float = 0.0
    silent: bool = False
    activity: Activity = Activity.IDLE


@dataclass(frozen=True, slots=True)
class World:
    """What all kiosks of a crowd share."""

    clock: Clock
    host: str
    port: int
    gate: asyncio.Semaphore
    ledger: Ledger
    backoff: Callable[[random.Random], Backoff] = field(default=lambda rng: Backoff(base_s=1.0, cap_s=30.0, rng=rng))


class LightKiosk:
    """A kiosk as the fleet sees it. `run` lives until cancelled."""

    def __init__(
        self,
        identity: Identity,
        world: World,
        behaviour: Behaviour,
        seed: int,
        source: str | None,
    ) -> None:
        self.kid = identity.kid
        self.counters = Counters()
        self.wishes = Wishes()
        self.last_error: str | None = None
        self._identity = identity
        self._world = world
        self._rng = random.Random(f"{seed}/{identity.kid}")
        self.behaviour = behaviour.personal(self._rng)
        self._source = source
        self._tls: ssl.SSLContext | None = None
        self._walk = HostWalk(self._rng)
        self._outbox = MemoryOutbox(ulid(world.clock))
        self._chain = CHAIN_START
        self._chain_n = 0
        self._session = 0
        self._boot = self._new_boot()
        self._timers = _Timers()
        self._connection: MqttConnection | None = None
        self._closed = asyncio.Event()
        self._server_online = False
        self._backfill_per_s: float | None = None
        self._backlog = self._absent(self.behaviour.backlog_s)

    @property
    def is_connected(self) -> bool:
        """Whether the broker has accepted this kiosk's current connection."""
        return self._connection is not None and self._connection.is_open

    @property
    def pending(self) -> int:
        """Records no receipt has covered yet."""
        return len(self._outbox) + (0 if self._backlog is None else self._backlog.remaining)

    async def run(self) -> None:
        """Connect, live, reconnect with full jitter, for ever."""
        backoff = self._world.backoff(self._rng)
        while True:
            if not self.wishes.connected:
                await asyncio.sleep(TICK_S)
                continue
            try:
                await self._connect()
                backoff.reset()
                await self._live()
            except (OSError, TimeoutError) as error:
                self.counters.connect_failures += 1
                self.last_error = (
                    f"{type(error).__name__}: {error}" if isinstance(error, Refused) else type(error).__name__
                )
            finally:
                self._drop()
            await asyncio.sleep(backoff.next_s())

    def alarm(self, component: str, code: str, edge: Edge, severity: Severity) -> None:
        """Raise or clear an alarm; it does not wait for the next tick."""
        self._append(
            RecordClass.P0,
            lambda base: AlarmRecord(**base, component=component, code=code, edge=edge, severity=severity),
        )
        self._flush(self._world.clock.monotonic())

    def event(self, name: str, fields: dict[str, Scalar] | None = None) -> None:
        """Report an event of class P1."""
        self._append(
            RecordClass.P1,
            lambda base: EventRecord(**base, component="host", name=name, fields=fields or {}),
        )

    def reboot(self) -> None:
        """Lose the connection without a word and come back with a new boot id."""
        self._boot = self._new_boot()
        self._timers = _Timers()
        if self._connection is not None:
            self._connection.abort()

    def cut(self) -> None:
        """Pull the network cable for a moment: the next connect is up to the back-off."""
        if self._connection is not None:
            self._connection.abort()

    def _new_boot(self) -> _Boot:
        return _Boot(ulid(self._world.clock), self._world.clock.monotonic())

    def _now(self) -> datetime:
        """The kiosk's own, possibly wrong, wall clock."""
        return self._world.clock.utc() + timedelta(seconds=self.behaviour.clock_skew_s)

    def _uptime_s(self) -> float:
        return self._world.clock.monotonic() - self._boot.started_s

    async def _connect(self) -> None:
        self._session += 1
        will = Will(
            topic(self.kid, Channel.PRESENCE),
            self._presence(online=False),
            delay_s=WILL_DELAY_S,
        )
        connect = Connect(self.kid, KEEPALIVE_S, session_expiry_s=SESSION_EXPIRY_S, will=will)
        if self._tls is None:
            self._tls = self._identity.tls()
        address = Address(self._world.host, self._world.port, self._tls, self._source)
        self._closed = asyncio.Event()
        async with self._world.gate:
            self._connection = await MqttConnection.open(address, connect, self._received, self._closed.set)
        self.counters.connects += 1
        connection = self._connection
        await connection.subscribe(
            (topic(self.kid, Channel.RECEIPT), 1),
            (topic(self.kid, Channel.TWIN), 1),
            (topic(self.kid, Channel.COMMAND), 1),
            (SERVER_STATE, 1),
        )
        await connection.publish(topic(self.kid, Channel.PRESENCE), self._presence(online=True), retain=True)
        await connection.publish(topic(self.kid, Channel.BIRTH), encode(self._birth()), retain=True)
        self._outbox.forget_sent()
        self._append(
            RecordClass.P1,
            lambda base: SyncRecord(**base, twin_version=0, agent_version=AGENT_VERSION),
        )

    async def _live(self) -> None:
        """Act once a second until the connection ends or a tester wants it down."""
        while not self._closed.is_set():
            self._tick(self._world.clock.monotonic())
            if not self.wishes.connected:
                return
            try:
                async with asyncio.timeout(TICK_S):
                    await self._closed.wait()
            except TimeoutError:
                continue
        if self._connection is not None and self._connection.disconnect_reason is not None:
            self.counters.takeovers += self._connection.disconnect_reason == 0x8E  # noqa: PLR2004 - MQTT 5: session taken over
            self.last_error = f"disconnected with reason 0x{self._connection.disconnect_reason:02X}"

    def _tick(self, now_s: float) -> None:
        if not self.wishes.silent:
            self._heartbeat(now_s)
            self._telemetry(now_s)
            self._spontaneous(now_s)
        if now_s < self.wishes.flood_until_s:
            for number in range(round(self.wishes.flood_per_s * TICK_S)):
                self.event("flood.record", {"number": number})
        self._flush(now_s)
        self._backfill(now_s)

    def _heartbeat(self, now_s: float) -> None:
        if now_s < self._timers.heartbeat_s or self._connection is None:
            return
        self._timers.heartbeat_s = now_s + self.behaviour.heartbeat_s
        live = Live(
            session=self._session,
            boot=self._boot.boot,
            at=self._now(),
            uptime_s=self._uptime_s(),
            activity=self.wishes.activity,
            queue=QueueDepth(p1=self.pending),
            clock_offset_s=self.behaviour.clock_skew_s,
        )
        self._connection.publish_soon(Publish(topic(self.kid, Channel.LIVE), encode(live)))
        self.counters.heartbeats += 1

    def _telemetry(self, now_s: float) -> None:
        if now_s < self._timers.telemetry_s:
            return
        first = self._timers.telemetry_s == 0.0
        spread = self._rng.uniform(0.0, self.behaviour.telemetry_s) if first else self.behaviour.telemetry_s
        self._timers.telemetry_s = now_s + spread
        values = self._walk.sample(
            uptime_s=self._uptime_s(),
            clock_offset_s=self.behaviour.clock_skew_s,
            pending=self.pending,
        )
        self._append(RecordClass.P2, lambda base: TelemetryRecord(**base, values=values))

    def _spontaneous(self, now_s: float) -> None:
        timers, behaviour = self._timers, self.behaviour
        if timers.event_s == 0.0:
            timers.event_s = now_s + next_in(behaviour.event_s, self._rng)
            timers.disconnect_s = now_s + next_in(behaviour.disconnect_s, self._rng)
            timers.reboot_s = now_s + next_in(behaviour.reboot_s, self._rng)
        if now_s >= timers.event_s:
            timers.event_s = now_s + next_in(behaviour.event_s, self._rng)
            self.event(
                "session.ended",
                {"duration_s": round(self._rng.uniform(20.0, 180.0), 1)},
            )
        if now_s >= timers.reboot_s:
            self.reboot()
        elif now_s >= timers.disconnect_s:
            timers.disconnect_s = now_s + next_in(behaviour.disconnect_s, self._rng)
            self.cut()

    def _append(self, record_class: RecordClass, make: Callable[[Base], AnyRecord]) -> None:
        base: Base = {
            "seq": self._outbox.next_seq(),
            "record_class": record_class,
            "at": self._now(),
            "boot": self._boot.boot,
            "mono_ms": int(self._uptime_s() * 1_000),
            "offset_s": round(self.behaviour.clock_skew_s, 3),
        }
        record = make(base)
        if record_class is RecordClass.P0:
            record = self._chained(record)
        self._keep(record)

    def _keep(self, record: AnyRecord) -> None:
        self._outbox.add(record)
        self.counters.records += 1
        self._world.ledger.invoke(self.kid, self._outbox.epoch, record.seq, record.kind)

    def _chained(self, record: AnyRecord) -> AnyRecord:
        self._chain_n += 1
        digest = record_digest(record.model_dump(mode="json", exclude_none=True))
        self._chain = chain_next(self._chain, digest)
        return record.model_copy(update={"chain_n": self._chain_n, "chain": self._chain})

    def _flush(self, now_s: float) -> None:
        connection = self._connection
        if connection is None or not connection.is_open or not self._server_online:
            return
        room = UNANSWERED_BATCHES - connection.unanswered
        for batch in self._outbox.due(now_s, resend_after_s=self.behaviour.receipt_timeout_s, limit=room):
            connection.post(topic(self.kid, Channel.LOG), encode(batch))
            self.counters.batches += 1

    def _absent(self, seconds: float) -> Backlog | None:
        """The records of an absence that ends now."""
        if seconds <= 0.0:
            return None
        absence = Absence(self._now(), seconds, ulid(self._world.clock), round(self.behaviour.clock_skew_s, 3))
        skew_s = self.behaviour.clock_skew_s
        return Backlog(
            absence,
            self._outbox.reserve(length(seconds)),
            lambda uptime_s: self._walk.sample(uptime_s=uptime_s, clock_offset_s=skew_s, pending=0),
        )

    def _backfill(self, now_s: float) -> None:
        """Send of the backlog what the rate allows, after everything live."""
        backlog = self._backlog
        if backlog is None or backlog.remaining == 0 or not self._server_online:
            return
        per_s = self._backfill_per_s or self.behaviour.backfill_per_s
        for record in backlog.due(now_s, per_s=per_s, room=BACKFILL_WAITING - len(self._outbox)):
            self._keep(record)
        self._flush(now_s)

    def _received(self, message: Publish) -> None:
        try:
            if message.topic == SERVER_STATE:
                state = decode(ServerState, message.payload)
                self._server_online, self._backfill_per_s = state.online, state.backfill_per_s
            elif message.topic == topic(self.kid, Channel.RECEIPT):
                receipt = decode(Receipt, message.payload)
                for seq in self._outbox.accept(receipt):
                    self.counters.acknowledged += 1
                    self._world.ledger.ok(self.kid, receipt.epoch, seq)
        except WireError as error:
            self.last_error = str(error)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        self._server_online = False
        if connection is not None and connection.is_open:
            if self.wishes.connected:
                connection.close()
            else:
                connection.abort()

    def _presence(self, *, online: bool) -> bytes:
        reason = PresenceReason.CONNECTED if online else PresenceReason.CONNECTION_LOST
        return encode(
            Presence(
                session=self._session,
                online=online,
                reason=reason,
                at=self._now(),
                boot=self._boot.boot,
            )
        )

    def _birth(self) -> Birth:
        return Birth(
            session=self._session,
            boot=self._boot.boot,
            at=self._now(),
            agent_version=AGENT_VERSION,
            epoch=self._outbox.epoch,
            host=HostFacts(
                hostname=self.kid,
                fingerprint=f"light-{self.kid}"[:64],
                os="simulated",
                cpu_count=4,
                memory_bytes=8_000_000_000,
            ),
            components=[Component(name="host", kind="host")],
        )
