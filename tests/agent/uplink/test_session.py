"""The connection on a real broker, with a small server that speaks the wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from agent.uplink.outbox import Outbox, RunIdentity
from agent.uplink.pump import Pump
from agent.uplink.report import OutboxReporter
from agent.uplink.session import SHORT_SESSIONS_LIMIT, About, Parts, Session
from agent.uplink.session_numbers import SessionNumbers
from agent.uplink.upkeep import Upkeep
from kit.clock import Clock, ManualClock, ServerTime, SystemClock, ulid
from kit.mqtt import MqttClient, MqttSettings
from support.broker import BrokerProcess
from support.fleet_peer import FleetPeer
from support.kiosk_outbox import SMALL
from support.uplink_parts import QUICK, Description
from support.waiting import wait_for
from wire.presence import Activity, PresenceReason
from wire.uplink import EventRecord

pytestmark = [pytest.mark.system, pytest.mark.timeout(30)]

KID = "kiosk-001"
OUTBOX = SMALL.model_copy(update={"group_s": 0.05})


@dataclass(slots=True)
class Agent:
    """The uplink of one kiosk."""

    session: Session
    outbox: Outbox
    reporter: OutboxReporter
    pump: Pump
    parts: Parts
    task: asyncio.Task[None] | None = None


async def make_agent(directory: Path, port: int, *, kid: str = KID, clock: Clock | None = None) -> Agent:
    clock = clock or SystemClock()
    server_time = ServerTime(clock)
    outbox = Outbox(OUTBOX, directory / "outbox", RunIdentity(f"h.{ulid(clock)}", "h"), clock, server_time)
    await outbox.open()
    reporter = OutboxReporter(outbox)
    await reporter.load()
    pump = Pump(outbox, reporter, QUICK, clock)
    numbers = SessionNumbers(directory / "session", clock)
    await asyncio.to_thread(numbers.load)
    await asyncio.to_thread(numbers.reserve)
    about = About("0.1.0", clock.utc(), clock.monotonic())
    parts = Parts(outbox, reporter, pump, numbers, server_time, Description(), about, clock, QUICK)
    mqtt = MqttSettings(host="127.0.0.1", port=port, client_id=kid, tls=False, keepalive_s=5, session_expiry_s=60)
    return Agent(Session(kid, mqtt, parts), outbox, reporter, pump, parts)


@asynccontextmanager
async def running(directory: Path, port: int, **options: object) -> AsyncIterator[Agent]:
    directory.mkdir(exist_ok=True)
    agent = await make_agent(directory, port, **options)  # type: ignore[arg-type]  # passed on as they are
    loop = asyncio.get_running_loop()
    agent.task = loop.create_task(agent.session.run(), name="agent")
    pump = loop.create_task(agent.pump.run(), name="pump")
    upkeep = loop.create_task(Upkeep(agent.outbox, agent.reporter).run(), name="upkeep")
    try:
        yield agent
    finally:
        for task in (agent.task, pump, upkeep):
            task.cancel()
        await asyncio.wait([agent.task, pump, upkeep])
        await agent.outbox.close()


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[tuple[BrokerProcess, FleetPeer, Path]]:
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(BrokerProcess())
        peer = await stack.enter_async_context(FleetPeer(broker.port))
        yield broker, peer, tmp_path


Stage = tuple[BrokerProcess, FleetPeer, Path]


def event_numbers(peer: FleetPeer) -> list[int]:
    return [int(record.fields["n"] or 0) for record in peer.server.records if isinstance(record, EventRecord)]


async def until(condition: Callable[[], object], what: str) -> None:
    await wait_for(lambda: bool(condition()), what=what, timeout_s=8.0)


async def test_connect_announces_and_records_arrive_with_receipts(stage: Stage) -> None:
    broker, peer, directory = stage
    async with running(directory, broker.port) as agent:
        for number in range(5):
            await agent.reporter.event("host", "thing.happened", {"n": number})
        await agent.outbox.flush()
        await until(lambda: len(event_numbers(peer)) == 5, "five events")
        await until(lambda: agent.outbox.depth().p1 == 0, "receipts")
        presence, birth = peer.presence[-1], peer.births[-1]
        assert presence.online
        assert presence.session == birth.session == agent.session.number
        assert birth.epoch == agent.outbox.epoch
        assert birth.twin_version == 3
        assert [record.kind for record in peer.server.records].count("sync") == 1
        await until(lambda: peer.lives, "a heartbeat")
        assert peer.lives[-1].activity is Activity.IDLE
        assert peer.lives[-1].session == agent.session.number


async def test_a_planned_stop_says_why(stage: Stage) -> None:
    broker, peer, directory = stage
    async with running(directory, broker.port) as agent:
        await until(lambda: peer.presence, "presence")
        agent.session.leave(PresenceReason.UPDATE)
        await until(lambda: len(peer.presence) == 2, "goodbye")
        assert (peer.presence[-1].online, peer.presence[-1].reason) == (False, PresenceReason.UPDATE)
        assert peer.presence[-1].session == peer.presence[0].session


async def test_cancelling_says_goodbye_too(stage: Stage) -> None:
    broker, peer, directory = stage
    async with running(directory, broker.port):
        await until(lambda: peer.presence, "presence")
    await until(lambda: len(peer.presence) == 2, "goodbye")
    assert peer.presence[-1].reason is PresenceReason.SHUTDOWN


async def test_a_cut_line_shows_as_lost_with_the_number_of_that_session(stage: Stage) -> None:
    broker, peer, directory = stage
    async with running(directory, broker.port) as agent:
        await until(lambda: peer.presence, "presence")
        first = agent.session.number
        agent.session.client.drop()
        await until(lambda: [item for item in peer.presence if item.online and item.session > first], "reconnect")
        lost = [item for item in peer.presence if item.reason is PresenceReason.CONNECTION_LOST]
        assert all(item.session == first for item in lost)


async def test_the_gate_follows_the_server(stage: Stage) -> None:
    broker, peer, directory = stage
    await peer.say(online=False)
    async with running(directory, broker.port) as agent:
        await until(lambda: agent.session.is_server_online is False, "server state")
        await agent.reporter.audit("engineer-1", "visit", "ok")
        assert not agent.pump.is_open
        assert peer.server.batches == []
        await peer.say(online=True)
        await until(lambda: any(record.kind == "audit" for record in peer.server.records), "the audit record")
        await peer.say(online=False)
        await until(lambda: not agent.pump.is_open, "closed gate")


async def test_only_fresh_server_state_sets_the_clock(stage: Stage) -> None:
    broker, peer, directory = stage
    peer.offset_s = 86_400.0 * 400
    await peer.say(online=True)
    async with running(directory, broker.port) as agent:
        await until(lambda: agent.session.is_server_online, "server state")
        assert agent.parts.server_time.offset_s is None
        await peer.say(online=True)
        await until(lambda: agent.parts.server_time.offset_s is not None, "an observation")
        assert agent.parts.server_time.offset_s == pytest.approx(-86_400.0 * 400, abs=5.0)
        await agent.reporter.audit("engineer-1", "visit", "ok")
        await until(lambda: any(record.kind == "audit" for record in peer.server.records), "the audit record")
        audit = next(record for record in peer.server.records if record.kind == "audit")
        assert audit.offset_s == pytest.approx(-86_400.0 * 400, abs=5.0)


async def test_broker_killed_under_load_loses_and_doubles_nothing(stage: Stage) -> None:
    broker, peer, directory = stage
    async with running(directory, broker.port) as agent:
        await until(lambda: peer.presence, "presence")
        for number in range(600):
            await agent.reporter.event("host", "thing.happened", {"n": number})
            if number in {200, 400}:
                await agent.outbox.flush()
                await until(partial(has_arrived, peer, number - 100), "events before the kill")
                broker.kill9()
                await broker.start()
        await agent.outbox.flush()
        await until(lambda: len(event_numbers(peer)) >= 600, "all events")
        await until(lambda: agent.outbox.depth().p1 == 0, "all receipts")
    assert sorted(event_numbers(peer)) == list(range(600))


async def test_starts_without_a_broker_and_sends_what_waited(tmp_path: Path) -> None:
    broker = BrokerProcess()
    async with running(tmp_path, broker.port) as agent:
        await agent.reporter.event("host", "thing.happened", {"n": 1})
        await until(lambda: agent.session.client.last_failure is not None, "a failed attempt")
        async with broker, FleetPeer(broker.port) as peer:
            await until(lambda: event_numbers(peer) == [1], "the event")


async def test_a_server_that_forgets_receipts_gets_batches_again(stage: Stage) -> None:
    broker, peer, directory = stage
    peer.gives_receipts = False
    async with running(directory, broker.port) as agent:
        await agent.reporter.event("host", "thing.happened", {"n": 1})
        await agent.outbox.flush()
        await until(lambda: peer.server.duplicates > 0, "a second delivery")
        assert agent.outbox.depth().p1 >= 1
        peer.gives_receipts = True
        await until(lambda: agent.outbox.depth().p1 == 0, "the receipt")
        assert event_numbers(peer) == [1]


async def test_a_session_taken_over_again_and_again_is_an_alarm(stage: Stage) -> None:
    broker, _, directory = stage
    async with running(directory, broker.port) as agent:
        for _ in range(4 * SHORT_SESSIONS_LIMIT):
            number = agent.session.number
            await until(lambda: agent.session.client.is_connected, "connected")
            await take_over(broker.port)
            await until(partial(has_moved_on, agent.session, number), "the next attempt")
            if agent.session.is_contested():
                break
        await until(agent.reporter.open_alarms, "the alarm")
        assert [alarm.code for alarm in agent.reporter.open_alarms()] == ["session_taken_over"]


def has_arrived(peer: FleetPeer, count: int) -> bool:
    return len(event_numbers(peer)) >= count


def has_moved_on(session: Session, number: int) -> bool:
    return session.number > number


async def take_over(port: int) -> None:
    """Connect once under the kiosk's client id."""
    settings = MqttSettings(host="127.0.0.1", port=port, client_id=KID, tls=False, retry_cap_s=0.1)
    done = asyncio.Event()

    async def connected() -> None:
        done.set()

    other = MqttClient(settings, clock=SystemClock(), on_connected=connected)
    task = asyncio.get_running_loop().create_task(other.run())
    await wait_for(done.is_set, what="the takeover")
    task.cancel()
    await asyncio.wait([task])


async def test_a_jump_of_the_wall_clock_is_told_and_deletes_nothing(tmp_path: Path) -> None:
    clock = ManualClock()
    agent = await make_agent(tmp_path, 1, clock=clock)
    await agent.reporter.audit("engineer-1", "visit", "ok")
    for jump_s in (3_600.0, -3_600.0, 86_400.0, -86_400.0, 400 * 86_400.0, -400 * 86_400.0):
        clock.advance(1.0)
        await agent.session.heartbeat()
        before = agent.outbox.depth().p1
        clock.jump_wall(jump_s)
        await agent.session.heartbeat()
        assert agent.outbox.depth().p1 == before + 1
    assert agent.outbox.depth().p0 == 1
    await agent.outbox.close()
