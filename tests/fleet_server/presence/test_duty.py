"""The leader on a real broker: what it writes, what it says, and what its own absence and restarts do not prove."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from fleet_server.presence.duty import BLIND_AFTER_S, SEEN_FLUSH_S, PresenceDuty, PresenceParts
from fleet_server.presence.judge import BLIND_S, OFFLINE_ALARM_S, SILENT_AFTER_S
from fleet_server.presence.model import Status
from fleet_server.presence.store import PresenceStore
from fleet_server.registry.model import PresenceState
from fleet_server.registry.pki import CertificateAuthority
from fleet_server.settings import Settings
from kit.clock import ManualClock
from kit.mqtt import MqttClient, MqttSettings
from kit.store import Database
from support.broker import BrokerProcess
from support.ingest import AT
from support.mqtt import connected
from support.ports import free_port
from support.registry import Desk, make_desk
from support.waiting import wait_for
from wire.envelope import decode, encode
from wire.faults import Fault
from wire.presence import Birth, HostFacts, Live, Presence, PresenceReason, QueueDepth, ServerState
from wire.topics import DELIVERY, SERVER_STATE, Channel, topic

KID, OTHER = "zzj-001", "zzj-002"
BROKER_ALARM = ("server", "broker", Fault.BROKER_DOWN)
OFFLINE_ALARM = (KID, "kiosk", Fault.KIOSK_OFFLINE)
BOOT = "boot-1"


@dataclass(slots=True)
class Ward:
    """A leader's store, clock and alarms; leaders come and go."""

    registry: Desk
    database: Database
    clock: ManualClock
    port: int
    states: list[ServerState] = field(default_factory=list)
    leaders: set[str] = field(default_factory=set)

    @property
    def store(self) -> PresenceStore:
        return PresenceStore(self.database)

    @property
    def alarms(self) -> set[tuple[str, str, Fault]]:
        return self.registry.alarms.open

    def duty(self) -> PresenceDuty:
        """A leader as the composition root makes it."""
        return PresenceDuty(
            PresenceParts(
                mqtt=self.settings("fleet-duties"),
                fleet=self.registry.directory,
                store=self.store,
                database=self.database,
                alarms=self.registry.alarms,
                clones=self.registry.clones,
                clock=self.clock,
                backfill_per_s=20.0,
                keep_days=90,
            )
        )

    def settings(self, client_id: str) -> MqttSettings:
        return MqttSettings(
            host="127.0.0.1", port=self.port, client_id=client_id, tls=False, retry_base_s=0.02, retry_cap_s=0.1
        )

    async def status(self, kid: str = KID) -> Status | None:
        number = self.registry.directory.number_of(kid)
        assert number is not None
        return await self.store.status(number)

    async def becomes(self, state: PresenceState, kid: str = KID) -> Status:
        """Wait until the store says so."""

        async def found() -> Status | None:
            status = await self.status(kid)
            return status if status is not None and status.state is state else None

        status = await wait_for(found, what=f"{kid} to be {state}")
        assert status is not None
        return status

    async def edges(self, kid: str = KID) -> list[PresenceState]:
        """The timeline in the store."""
        number = self.registry.directory.number_of(kid)
        assert number is not None
        found = await self.store.timeline(number, AT, self.clock.utc().replace(year=2030))
        return [PresenceState(edge.state) for edge in found]


@pytest.fixture
async def ward(sqlite_fleet_db: Database, manual_clock: ManualClock) -> Ward:
    """Give a registry with two kiosks and a port at which no broker listens."""
    authority = CertificateAuthority.create(manual_clock.utc())
    registry = make_desk(sqlite_fleet_db, manual_clock, authority, Settings())
    await registry.assets("ZZJ-001,SN-1,Hall,A,1,,,k20", "ZZJ-002,SN-2,Hall,A,1,,,k20")
    return Ward(registry, sqlite_fleet_db, manual_clock, free_port())


@asynccontextmanager
async def leading(ward: Ward) -> AsyncIterator[PresenceDuty]:
    """A leader until the end of the block, which is as sudden as a crash."""
    duty = ward.duty()
    task = asyncio.get_running_loop().create_task(duty.run(), name="leader")
    try:
        yield duty
    finally:
        task.cancel()
        await asyncio.wait([task])
    if not task.cancelled() and (failure := task.exception()) is not None:
        raise failure


@asynccontextmanager
async def broker_for(ward: Ward) -> AsyncIterator[MqttClient]:
    """A broker, and a client that speaks for every kiosk and hears the server."""
    async with BrokerProcess(port=ward.port, persistence=False) as broker:
        ward.port = broker.port
        client = MqttClient(ward.settings("kiosks"), clock=ward.clock, subscriptions=[(SERVER_STATE, 1)])
        async with connected(client):
            listener = asyncio.get_running_loop().create_task(hear(client, ward), name="kiosks-hear")
            try:
                yield client
            finally:
                listener.cancel()
                await asyncio.wait([listener])


async def hear(client: MqttClient, ward: Ward) -> None:
    while True:
        ward.states += [decode(ServerState, message.payload) for message in await client.messages()]


async def beat(client: MqttClient, ward: Ward, kid: str = KID, *, session: int = 1, rows: int = 3) -> None:
    live = Live(session=session, boot=BOOT, at=ward.clock.utc(), queue=QueueDepth(p1=rows))
    await client.publish(topic(kid, Channel.LIVE), encode(live))


async def born(client: MqttClient, ward: Ward, kid: str = KID, *, hostname: str = "kiosk") -> None:
    host = HostFacts(hostname=hostname, fingerprint="f" * 16)
    birth = Birth(session=1, boot=BOOT, at=ward.clock.utc(), agent_version="1.2", epoch="e", host=host)
    await client.publish(topic(kid, Channel.BIRTH), encode(birth), retain=True)


async def says(client: MqttClient, ward: Ward, reason: PresenceReason, kid: str = KID) -> None:
    said = Presence(session=1, online=False, reason=reason, at=ward.clock.utc(), boot=BOOT)
    await client.publish(topic(kid, Channel.PRESENCE), encode(said), retain=DELIVERY[Channel.PRESENCE].retain)


async def ready(ward: Ward) -> None:
    """A leader that was not heard before is connected and has said so."""

    def is_new() -> bool:
        return bool(ward.states) and ward.states[-1].online and ward.states[-1].epoch not in ward.leaders

    await wait_for(is_new, what="the server to be online")
    ward.leaders.add(ward.states[-1].epoch)


async def test_a_life_from_birth_to_loss_and_back(ward: Ward) -> None:
    async with broker_for(ward) as kiosks, leading(ward):
        await ready(ward)
        assert ward.states[-1].backfill_per_s == 20.0
        await born(kiosks, ward)
        status = await ward.becomes(PresenceState.ONLINE)
        assert (status.agent_version, status.boot, status.session) == ("1.2", BOOT, 1)
        ward.clock.advance(10.0)
        await says(kiosks, ward, PresenceReason.CONNECTION_LOST)
        lost = await ward.becomes(PresenceState.OFFLINE)
        assert lost.reason == "connection_lost"
        assert ward.alarms == set(), "a blip is worth nobody's sleep"
        ward.clock.advance(OFFLINE_ALARM_S)
        await wait_for(lambda: ward.alarms == {OFFLINE_ALARM}, what="the alarm")
        await beat(kiosks, ward)
        await ward.becomes(PresenceState.ONLINE)
        await wait_for(lambda: not ward.alarms, what="the all-clear")
        assert await ward.edges() == [PresenceState.ONLINE, PresenceState.OFFLINE, PresenceState.ONLINE]


async def test_last_signs_of_life_are_written_in_one_go_every_few_seconds(ward: Ward) -> None:
    async with broker_for(ward) as kiosks, leading(ward):
        await ready(ward)
        for kid in (KID, OTHER):
            await beat(kiosks, ward, kid)
            await ward.becomes(PresenceState.ONLINE, kid)
        first = await ward.status()
        assert first is not None
        ward.clock.advance(SEEN_FLUSH_S / 2)
        await beat(kiosks, ward)
        ward.clock.advance(SEEN_FLUSH_S / 2 + 0.1)

        async def both_later() -> bool:
            found = [await ward.status(kid) for kid in (KID, OTHER)]
            return found[0] is not None and found[0].last_seen_at != first.last_seen_at

        await wait_for(both_later, what="the last sign of life")
        assert await ward.edges() == [PresenceState.ONLINE], "a heartbeat is no change"


async def test_its_own_restart_marks_nobody_offline(ward: Ward) -> None:
    async with broker_for(ward) as kiosks:
        async with leading(ward):
            await ready(ward)
            await beat(kiosks, ward)
            await ward.becomes(PresenceState.ONLINE)
        await wait_for(lambda: not ward.states[-1].online, what="the will of the leader that died")
        ward.clock.advance(3_600.0)
        async with leading(ward):
            await ready(ward)
            ward.clock.advance(BLIND_S - 1.0)
            await beat(kiosks, ward, OTHER)
            await ward.becomes(PresenceState.ONLINE, OTHER)
            assert await ward.edges() == [PresenceState.ONLINE]
            await beat(kiosks, ward)
            await says(kiosks, ward, PresenceReason.SHUTDOWN, OTHER)
            await ward.becomes(PresenceState.PLANNED, OTHER)
            ward.clock.advance(SILENT_AFTER_S - 1.0)
            await beat(kiosks, ward, OTHER)
            await ward.becomes(PresenceState.ONLINE, OTHER)
            assert await ward.edges() == [PresenceState.ONLINE]
            ward.clock.advance(2.0)
            await ward.becomes(PresenceState.OFFLINE)


async def test_a_broker_that_is_away_at_the_start_marks_nobody_offline(ward: Ward) -> None:
    """Both come back from a power cut, the broker never: the server knows nothing, and says so."""
    number = ward.registry.directory.number_of(KID)
    assert number is not None
    await ward.store.keep({number: Status(KID, PresenceState.ONLINE, AT, "connected", last_seen_at=AT)}, [])
    async with leading(ward):
        for _ in range(5):
            ward.clock.advance(BLIND_AFTER_S / 2)
            await ward.store.statuses()
        await ward.becomes(PresenceState.UNKNOWN)
        await wait_for(lambda: ward.alarms == {BROKER_ALARM}, what="one alarm of the server")
        ward.clock.advance(3_600.0)
        async with broker_for(ward) as kiosks:
            await ready(ward)
            await beat(kiosks, ward)
            await ward.becomes(PresenceState.ONLINE)
    assert await ward.edges() == [PresenceState.UNKNOWN, PresenceState.ONLINE]
    assert ward.alarms == set()


async def test_a_broker_that_goes_away_proves_nothing_about_kiosks(ward: Ward) -> None:
    seen = [PresenceState.ONLINE, PresenceState.UNKNOWN]
    async with leading(ward) as duty:
        async with broker_for(ward) as kiosks:
            await ready(ward)
            for kid in (KID, OTHER):
                await beat(kiosks, ward, kid)
                await ward.becomes(PresenceState.ONLINE, kid)
        await wait_for(lambda: not duty.is_connected, what="the loss to be noticed")
        ward.states.clear()
        ward.leaders.clear()
        ward.clock.advance(BLIND_AFTER_S + 1.0)
        await ward.becomes(PresenceState.UNKNOWN)
        ward.clock.advance(3_600.0)
        async with broker_for(ward) as kiosks:
            await ready(ward)
            ward.clock.advance(BLIND_S - 1.0)
            await beat(kiosks, ward)
            await ward.becomes(PresenceState.ONLINE)
            assert (await ward.edges(), await ward.edges(OTHER)) == ([*seen, PresenceState.ONLINE], seen)
            ward.clock.advance(2.0)
            await ward.becomes(PresenceState.OFFLINE, OTHER)
    assert ward.alarms == set()


async def test_the_alarm_of_a_kiosk_that_was_just_lost_survives_a_change_of_leaders(ward: Ward) -> None:
    async with broker_for(ward) as kiosks:
        async with leading(ward):
            await ready(ward)
            await born(kiosks, ward)
            await ward.becomes(PresenceState.ONLINE)
            await says(kiosks, ward, PresenceReason.CONNECTION_LOST)
            await ward.becomes(PresenceState.OFFLINE)
        assert ward.alarms == set()
        async with leading(ward):
            await ready(ward)
            ward.clock.advance(OFFLINE_ALARM_S + 1.0)
            await wait_for(lambda: ward.alarms == {OFFLINE_ALARM}, what="the alarm")


@pytest.mark.parametrize("state_at_handover", [PresenceState.OFFLINE, PresenceState.PLANNED])
async def test_an_alarm_of_an_earlier_leader_is_cleared_when_the_kiosk_is_back(
    ward: Ward, state_at_handover: PresenceState
) -> None:
    async with broker_for(ward) as kiosks:
        async with leading(ward):
            await ready(ward)
            await born(kiosks, ward)
            await ward.becomes(PresenceState.ONLINE)
            await says(kiosks, ward, PresenceReason.CONNECTION_LOST)
            await ward.becomes(PresenceState.OFFLINE)
            ward.clock.advance(OFFLINE_ALARM_S + 1.0)
            await wait_for(lambda: ward.alarms == {OFFLINE_ALARM}, what="the alarm")
            if state_at_handover is PresenceState.PLANNED:
                await says(kiosks, ward, PresenceReason.MAINTENANCE)
                await ward.becomes(PresenceState.PLANNED)

            async def is_written() -> bool:
                status = await ward.status()
                return status is not None and status.offline_alarm

            await wait_for(is_written, what="the alarm to be noted for the next leader")
        async with leading(ward):
            await ready(ward)
            await beat(kiosks, ward)
            await ward.becomes(PresenceState.ONLINE)
            await wait_for(lambda: not ward.alarms, what="the all-clear")


POISON = (b"", b"\x00", b"{}", b"[" * 4_000, b'{"v":2,"session":1}', b"x" * 70_000)


async def test_what_one_kiosk_says_wrongly_harms_nobody_else(ward: Ward) -> None:
    async with broker_for(ward) as kiosks, leading(ward):
        await ready(ward)
        for payload in POISON:
            for channel in (Channel.PRESENCE, Channel.BIRTH, Channel.LIVE):
                await kiosks.publish(topic(KID, channel), payload)
        await born(kiosks, ward, hostname="NUL \x00")
        await beat(kiosks, ward, rows=10**30)
        for stranger in ("kiosk/v1/zzj-404/up/live", "kiosk/v1/zzj-001/up/birth/x", "kiosk/v1/server/up/live"):
            await kiosks.publish(stranger, encode(Live(session=1, boot=BOOT, at=AT)))
        await beat(kiosks, ward, OTHER)
        await ward.becomes(PresenceState.ONLINE, OTHER)
        status = await ward.becomes(PresenceState.ONLINE)
        assert status.birth is None
        assert {found.kid for found in await ward.store.statuses()} == {KID, OTHER}
