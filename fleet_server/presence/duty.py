"""The leader's duty: listens to every kiosk's presence, judges, writes what changed, and says how the server is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final, Protocol

import sqlalchemy.exc

from fleet_server.presence.judge import OFFLINE_ALARM_S, Judge, Watch
from fleet_server.presence.model import Status
from fleet_server.presence.store import PresenceStore
from fleet_server.registry.clones import CloneWatch
from fleet_server.registry.model import PresenceState
from fleet_server.registry.ports import AlarmSink
from fleet_server.registry.renewals import RenewalWatch
from kit.clock import Clock, ulid
from kit.logs import get_logger
from kit.mqtt import Message, MqttClient, MqttError, MqttSettings, Will
from kit.store import Database, StoreBusy
from kit.supervise import TaskGroup
from wire.envelope import WireError, WireFault, decode, encode
from wire.faults import Fault
from wire.presence import Birth, Live, Presence, ServerState
from wire.topics import DELIVERY, SERVER_STATE, Address, Channel, UnknownTopic, every_kiosk, parse

TICK_S: Final = 0.25
SEEN_FLUSH_S: Final = 5.0
STATE_S: Final = 30.0
BLIND_AFTER_S: Final = 10.0
TIDY_S: Final = 86_400.0
COMPONENT: Final = "kiosk"
SERVER: Final = "server"
BROKER: Final = "broker"
CHANNELS: Final = (Channel.PRESENCE, Channel.BIRTH, Channel.LIVE)
_NUL: Final = b"\\u0000"
"""No store takes it in a text, and one kiosk's would hold up what is written of all."""
_STORE_AWAY: Final = (StoreBusy, sqlalchemy.exc.DBAPIError, OSError)
log = get_logger(__name__)


class Fleet(Protocol):
    """The part of the registry that is asked."""

    def number_of(self, kid: str) -> int | None:
        """The kiosk's number."""


@dataclass(frozen=True, slots=True)
class PresenceParts:
    """What the duty works with."""

    mqtt: MqttSettings
    fleet: Fleet
    store: PresenceStore
    database: Database
    alarms: AlarmSink
    clones: CloneWatch
    clock: Clock
    backfill_per_s: float | None
    keep_days: int
    renewals: RenewalWatch | None = None


class PresenceDuty:
    """Runs on one process at a time; a new leader starts from what the last one wrote."""

    name = "presence"

    def __init__(self, parts: PresenceParts) -> None:
        """Connect the parts; nothing runs yet."""
        self._parts = parts
        self._wake: Callable[[], None] = lambda: None
        self._epoch = ulid(parts.clock)
        self._judge = Judge(parts.clock.monotonic())
        self._client = self._new_client()
        self._lost_s: float | None = None
        self._seen_due_s = 0.0
        self._broker_alarm: bool | None = None
        """None: an earlier leader may have raised it."""

    @property
    def is_connected(self) -> bool:
        """Whether the broker is there."""
        return self._client.is_connected

    def on_change(self, wake: Callable[[], None]) -> None:
        """Call `wake` after every write of this process."""
        self._wake = wake

    async def run(self) -> None:
        """Lead until cancelled; says goodbye to the kiosks when it ends."""
        now_s = self._parts.clock.monotonic()
        self._judge = Judge(now_s)
        self._judge.load(await self._parts.store.statuses(), now_s)
        self._lost_s = now_s  # nothing is seen before the first connection
        self._broker_alarm = None
        self._client = self._new_client()
        try:
            async with TaskGroup() as group:
                for name, work in (
                    ("mqtt", self._client.run()),
                    ("listen", self._listen()),
                    ("judge", self._keep_judging()),
                    ("state", self._keep_telling()),
                    ("tidy", self._tidy()),
                ):
                    group.create_task(work, name=f"presence-{name}")
        finally:
            self._client.drop()

    def _new_client(self) -> MqttClient:
        return MqttClient(
            self._parts.mqtt,
            clock=self._parts.clock,
            subscriptions=[(every_kiosk(channel), DELIVERY[channel].qos) for channel in CHANNELS],
            will=lambda: Will(SERVER_STATE, self._state(online=False), qos=1, retain=True),
            on_connected=self._connected,
            on_disconnected=self._disconnected,
        )

    async def _connected(self) -> None:
        self._lost_s = None
        self._judge.sighted(self._parts.clock.monotonic())
        await self._tell()

    def _disconnected(self, code: int | None, reason: str) -> None:
        self._lost_s = self._parts.clock.monotonic()
        log.warning("presence.blind", code=code, reason=reason)

    def _state(self, *, online: bool) -> bytes:
        parts = self._parts
        return encode(
            ServerState(online=online, epoch=self._epoch, utc=parts.clock.utc(), backfill_per_s=parts.backfill_per_s)
        )

    async def _tell(self) -> None:
        """Tell every kiosk whether data is taken: only with a store that answers."""
        try:
            await self._parts.database.ping()
            online = True
        except _STORE_AWAY:
            online = False
        await self._client.publish(SERVER_STATE, self._state(online=online), qos=1, retain=True)

    async def _keep_telling(self) -> None:
        while True:
            await asyncio.sleep(STATE_S)
            if self._client.is_connected:
                try:
                    await self._tell()
                except MqttError as error:
                    log.warning("server_state.not_sent", error=str(error))

    async def _listen(self) -> None:
        while True:
            for message in await self._client.messages():
                try:
                    await self._hear(parse(message.topic), message)
                except (UnknownTopic, WireError) as error:
                    log.warning("presence.unreadable", error=str(error))
                except _STORE_AWAY as error:
                    log.warning("presence.not_noted", error=type(error).__name__)

    async def _hear(self, address: Address, message: Message) -> None:
        """Take one message in. Raises: WireError, UnknownTopic."""
        parts, kid = self._parts, address.kid
        if parts.fleet.number_of(kid) is None:
            return
        now, now_s = parts.clock.utc(), parts.clock.monotonic()
        limit_bytes = DELIVERY[address.channel].limit_bytes
        if _NUL in message.payload:
            raise WireError(WireFault.WRONG_SCHEMA, "a NUL character")
        if address.channel is Channel.LIVE:
            self._judge.live(kid, decode(Live, message.payload, limit_bytes=limit_bytes), now, now_s)
        elif address.channel is Channel.PRESENCE:
            said = decode(Presence, message.payload, limit_bytes=limit_bytes)
            self._judge.presence(kid, said, retained=message.retain, now=now, now_s=now_s)
        else:
            birth = decode(Birth, message.payload, limit_bytes=limit_bytes)
            self._judge.birth(kid, birth, retained=message.retain, now=now, now_s=now_s)
            await parts.clones.note_session(
                kid, boot=birth.boot, session=birth.session, fingerprint=birth.host.fingerprint, at=now
            )
            if parts.renewals is not None and birth.certificate_expires_at is not None:
                parts.renewals.note(kid, birth.certificate_expires_at)

    async def _keep_judging(self) -> None:
        failing = False
        while True:
            await asyncio.sleep(TICK_S)
            now, now_s = self._parts.clock.utc(), self._parts.clock.monotonic()
            if self._lost_s is not None and now_s - self._lost_s > BLIND_AFTER_S:
                self._judge.blind(now, now_s)
                self._lost_s = None
            self._judge.tick(now, now_s)
            try:
                await self._flush(now_s)
                await self._tell_of_broker()
                await self._alarms(now_s)
                failing = False
            except _STORE_AWAY as error:
                if not failing:
                    log.warning("presence.not_written", error=type(error).__name__)
                failing = True

    async def _flush(self, now_s: float) -> None:
        """Write what people look at now, and the last signs of life every few seconds in one go."""
        is_due = now_s >= self._seen_due_s
        changed = self._changed(seen_too=is_due)
        edges, self._judge.edges = self._judge.edges, []
        numbered = [(number, edge) for edge in edges if (number := self._parts.fleet.number_of(edge.kid)) is not None]
        if changed or numbered:
            try:
                await self._parts.store.keep(changed, numbered)
            except BaseException:
                self._judge.edges = edges + self._judge.edges
                for status in changed.values():
                    self._judge.watches[status.kid].is_material = True
                raise
            self._wake()
        if is_due:
            self._seen_due_s = now_s + SEEN_FLUSH_S

    def _changed(self, *, seen_too: bool) -> Mapping[int, Status]:
        found: dict[int, Status] = {}
        for kid, watch in self._judge.watches.items():
            number = self._parts.fleet.number_of(kid)
            if number is not None and (watch.is_material or (seen_too and watch.is_seen)):
                found[number] = watch.status
                watch.is_material = watch.is_seen = False
        return found

    async def _tell_of_broker(self) -> None:
        """A broker that is away is one alarm of the server, and no kiosk's."""
        if self._judge.is_blind and self._broker_alarm is not True:
            await self._parts.alarms.raise_alarm(SERVER, BROKER, Fault.BROKER_DOWN, {})
            self._broker_alarm = True
        elif self._client.is_connected and self._broker_alarm is not False:
            await self._parts.alarms.clear_alarm(SERVER, BROKER, Fault.BROKER_DOWN)
            self._broker_alarm = False

    async def _alarms(self, now_s: float) -> None:
        for kid, watch in self._judge.watches.items():
            state = watch.status.state
            is_gone = state is PresenceState.OFFLINE
            if is_gone and watch.offline_alarm is not True and now_s - watch.changed_s >= OFFLINE_ALARM_S:
                await self._raise(kid, watch, Fault.KIOSK_OFFLINE)
                _remember(watch, offline=True)
            elif watch.offline_alarm is not False and state in {PresenceState.ONLINE, PresenceState.UNSTABLE}:
                await self._parts.alarms.clear_alarm(kid, COMPONENT, Fault.KIOSK_OFFLINE)
                _remember(watch, offline=False)
            if state is PresenceState.UNSTABLE and watch.unstable_alarm is not True:
                await self._raise(kid, watch, Fault.KIOSK_UNSTABLE)
                _remember(watch, unstable=True)
            elif watch.unstable_alarm is not False and state is PresenceState.ONLINE:
                await self._parts.alarms.clear_alarm(kid, COMPONENT, Fault.KIOSK_UNSTABLE)
                _remember(watch, unstable=False)

    async def _raise(self, kid: str, watch: Watch, fault: Fault) -> None:
        detail = {"since": watch.status.since.isoformat(), "reason": watch.status.reason}
        await self._parts.alarms.raise_alarm(kid, COMPONENT, fault, detail)

    async def _tidy(self) -> None:
        while True:
            before = self._parts.clock.utc() - timedelta(days=self._parts.keep_days)
            try:
                await self._parts.store.forget_edges(before)
            except _STORE_AWAY as error:
                log.warning("presence.tidying_delayed", error=type(error).__name__)
            await asyncio.sleep(TIDY_S)


def _remember(watch: Watch, *, offline: bool | None = None, unstable: bool | None = None) -> None:
    """Note which alarms are open, for the next leader too."""
    watch.offline_alarm = watch.offline_alarm if offline is None else offline
    watch.unstable_alarm = watch.unstable_alarm if unstable is None else unstable
    watch.status = replace(
        watch.status, offline_alarm=watch.offline_alarm is not False, unstable_alarm=watch.unstable_alarm is not False
    )
    watch.is_material = True
