"""Alarms on both stores: one row a kind, changes numbered in the order of their commits."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from fleet_server.alerts.model import AlarmEdge, AlarmOrigin
from fleet_server.alerts.service import AlertService
from fleet_server.alerts.store import AlarmStore
from fleet_server.registry.ports import AlarmStatus
from kit.clock import ManualClock
from kit.store import Database
from wire.faults import FACTS, RANK, Fault, Severity
from wire.uplink import Edge

START = datetime(2026, 3, 2, tzinfo=UTC)
WRITERS, ROUNDS = 8, 12


def edge(kid: str, kind: Edge = Edge.RAISE, second: int = 0, component: str = "host") -> AlarmEdge:
    moment = START + timedelta(seconds=second)
    return AlarmEdge(kid, component, "disk_full", kind, Severity.MAJOR, moment, AlarmOrigin.KIOSK, detail={"n": second})


@pytest.fixture
def store(fleet_db: Database) -> AlarmStore:
    return AlarmStore(fleet_db)


async def test_an_alarm_survives_its_way_through_the_store(store: AlarmStore) -> None:
    (kept,) = await store.apply([edge("k-0001", second=7)], START)
    assert await store.alarms(only_open=True) == [kept]
    assert kept.detail == {"n": 7}
    assert kept.raised_at == START + timedelta(seconds=7)


async def test_edges_of_one_batch_are_applied_in_their_order(store: AlarmStore) -> None:
    edges = [edge("k-0001"), edge("k-0001", Edge.CLEAR, 1), edge("k-0001", Edge.RAISE, 2), edge("k-0002", Edge.CLEAR)]
    changed = await store.apply(edges, START)
    assert [(alarm.kid, alarm.is_open) for alarm in changed] == [("k-0001", True), ("k-0002", False)]
    assert await store.count(only_open=True) == 1
    assert await store.count(only_open=False, kid="k-0001") == 1


async def test_a_transaction_that_fails_changes_nothing(store: AlarmStore, fleet_db: Database) -> None:
    await store.apply([edge("k-0001")], START)
    before = await store.alarms(only_open=False)

    async def fail() -> None:
        async with fleet_db.write() as connection:
            await store.apply_in(connection, [edge("k-0001", Edge.CLEAR, 1), edge("k-0002")], START)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await store.alarms(only_open=False) == before
    assert len(await store.changed_since(before[0].change_seq)) == 0


async def test_a_follower_of_the_change_numbers_misses_nothing(store: AlarmStore) -> None:
    """Many writers at once; whoever polls `changed_since` with the highest number seen ends with the truth."""
    followed: dict[str, tuple[int, bool]] = {}
    position = 0
    done = asyncio.Event()

    async def write(writer: int) -> None:
        for number in range(ROUNDS):
            kind = Edge.RAISE if number % 2 == 0 else Edge.CLEAR
            await store.apply([edge(f"k-{writer:04d}", kind, number)], START)

    async def follow() -> None:
        nonlocal position
        while True:
            is_last = done.is_set()
            for alarm in await store.changed_since(position):
                position = max(position, alarm.change_seq)
                followed[alarm.kid] = (alarm.change_seq, alarm.is_open)
            if is_last:
                return

    async with asyncio.TaskGroup() as group:
        group.create_task(follow())
        async with asyncio.TaskGroup() as writers:
            for writer in range(WRITERS):
                writers.create_task(write(writer))
        done.set()
    truth = {alarm.kid: (alarm.change_seq, alarm.is_open) for alarm in await store.alarms(only_open=False)}
    assert len(truth) == WRITERS
    assert followed == truth
    assert position == WRITERS * ROUNDS


async def test_writers_of_the_same_alarm_do_not_collide(store: AlarmStore) -> None:
    async with asyncio.TaskGroup() as group:
        for second in range(20):
            kind = Edge.RAISE if second % 2 == 0 else Edge.CLEAR
            group.create_task(store.apply([edge("k-0001", kind, second)], START))
    (alarm,) = await store.alarms(only_open=False)
    assert not alarm.is_open
    assert alarm.cleared_at == START + timedelta(seconds=19)
    assert alarm.raised_at == START + timedelta(seconds=18)


async def test_the_service_counts_by_kiosk_and_wakes_whoever_follows(
    store: AlarmStore, manual_clock: ManualClock
) -> None:
    service = AlertService(store, manual_clock)
    woken: list[int] = []
    service.on_change(lambda: woken.append(1))
    by_rank = sorted(Fault, key=lambda fault: RANK[FACTS[fault].severity])
    mild, grave = by_rank[0], by_rank[-1]
    await service.raise_alarm("k-0001", "host", grave, {})
    await service.raise_alarm("k-0001", "host", mild, {})
    await service.raise_alarm("k-0002", "host", mild, {})
    await service.clear_alarm("k-0003", "host", mild)
    assert len(woken) == 3
    manual_clock.advance(1)
    await service.clear_alarm("k-0002", "host", mild)
    assert await service.open_alarms() == {"k-0001": AlarmStatus(2, FACTS[grave].severity)}
