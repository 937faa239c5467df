"""What is said about kiosks: once a minute, taken back when it no longer holds, the newest wish wins."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from fleet_server.registry.model import QuarantineReason
from fleet_server.uplink.desk import DETAIL_LIMIT, REJECTED_CLEAR_S, REPEAT_S, Desk
from kit.clock import ManualClock
from kit.store import StoreBusy
from support.ingest import FakeFleet
from support.waiting import wait_for
from wire.envelope import Scalar
from wire.faults import Fault

KID = "zzj-001"
REJECTED, VERSION, FLOODING = Fault.UPLINK_REJECTED, Fault.WIRE_VERSION_UNSUPPORTED, Fault.KIOSK_FLOODING


@dataclass(slots=True)
class Alarms:
    """Remembers every edge."""

    edges: list[tuple[str, Fault]] = field(default_factory=list)
    details: list[Mapping[str, Scalar]] = field(default_factory=list)
    refusals: int = 0

    async def raise_alarm(self, kid: str, component: str, code: Fault, detail: Mapping[str, Scalar]) -> None:
        if self.refusals:
            self.refusals -= 1
            raise StoreBusy("test")
        self.edges.append(("raise", code))
        self.details.append(detail)

    async def clear_alarm(self, kid: str, component: str, code: Fault) -> None:
        self.edges.append(("clear", code))


@pytest.fixture
def alarms() -> Alarms:
    return Alarms()


@pytest.fixture
def desk(alarms: Alarms, fleet: FakeFleet, manual_clock: ManualClock) -> Desk:
    return Desk(alarms, fleet, manual_clock)


@asynccontextmanager
async def at_work(desk: Desk) -> AsyncIterator[None]:
    """The end waits until every wish is carried out."""
    task = asyncio.get_running_loop().create_task(desk.run(), name="desk")
    try:
        yield
        await wait_for(lambda: desk.is_settled, what="every wish")
    finally:
        task.cancel()
        await asyncio.wait([task])


async def said(desk: Desk, alarms: Alarms) -> list[tuple[str, Fault]]:
    """What was done since the last time."""
    async with at_work(desk):
        pass
    edges, alarms.edges = alarms.edges, []
    return edges


async def test_the_same_complaint_is_passed_on_once_a_minute(
    desk: Desk, alarms: Alarms, manual_clock: ManualClock
) -> None:
    for _ in range(10):
        desk.complain(KID, REJECTED, "x" * 1_000)
        assert len(await said(desk, alarms)) == (1 if manual_clock.monotonic() in {1_000.0, 1_000.0 + REPEAT_S} else 0)
        manual_clock.advance(REPEAT_S / 5)
    assert {len(str(detail["detail"])) for detail in alarms.details} == {DETAIL_LIMIT}


async def test_a_complaint_is_taken_back_after_an_hour_without_a_reason(
    desk: Desk, alarms: Alarms, manual_clock: ManualClock
) -> None:
    desk.complain(KID, REJECTED, "bad")
    assert await said(desk, alarms) == [("raise", REJECTED)]
    desk.all_is_well(KID)
    await said(desk, alarms)
    manual_clock.advance(REJECTED_CLEAR_S - 1.0)
    desk.all_is_well(KID)
    assert await said(desk, alarms) == []
    desk.complain(KID, REJECTED, "bad again")
    assert await said(desk, alarms) == [("raise", REJECTED)]
    manual_clock.advance(REJECTED_CLEAR_S - 1.0)
    desk.all_is_well(KID)
    assert await said(desk, alarms) == [], "the hour begins again"
    manual_clock.advance(1.0)
    desk.all_is_well(KID)
    desk.all_is_well(KID)
    assert await said(desk, alarms) == [("clear", REJECTED)]


async def test_what_an_earlier_process_complained_about_is_taken_back_too(
    desk: Desk, alarms: Alarms, manual_clock: ManualClock
) -> None:
    desk.all_is_well(KID)
    assert await said(desk, alarms) == [("clear", VERSION)], "a batch of our version arrived"
    manual_clock.advance(REJECTED_CLEAR_S)
    desk.all_is_well(KID)
    assert await said(desk, alarms) == [("clear", REJECTED)]
    manual_clock.advance(REJECTED_CLEAR_S)
    desk.all_is_well(KID)
    assert await said(desk, alarms) == []


async def test_a_busy_store_is_asked_again(desk: Desk, alarms: Alarms) -> None:
    alarms.refusals = 2
    desk.complain(KID, REJECTED, "bad")
    assert await said(desk, alarms) == [("raise", REJECTED)]


class SlowFleet(FakeFleet):
    """A registry that takes its time with a quarantine."""

    started: asyncio.Event
    may_end: asyncio.Event

    async def quarantine(self, kid: str, why: QuarantineReason, reason: str) -> bool:
        self.started.set()
        await self.may_end.wait()
        return await super().quarantine(kid, why, reason)


async def test_a_wish_made_while_the_one_before_is_carried_out_is_not_lost(
    alarms: Alarms, fleet: FakeFleet, manual_clock: ManualClock
) -> None:
    slow = SlowFleet(fleet.kiosks)
    slow.started, slow.may_end = asyncio.Event(), asyncio.Event()
    desk = Desk(alarms, slow, manual_clock)
    async with at_work(desk):
        desk.set_aside(KID, "flood")
        await wait_for(slow.started.is_set, what="the quarantine to begin")
        desk.take_back(KID)
        slow.may_end.set()
    assert slow.accepts(KID)
    assert alarms.edges == [("raise", FLOODING), ("clear", FLOODING)]


async def test_a_release_that_comes_too_late_is_no_failure(desk: Desk, alarms: Alarms, fleet: FakeFleet) -> None:
    await fleet.quarantine(KID, QuarantineReason.CLONED, "two machines")
    desk.take_back(KID)
    assert await said(desk, alarms) == [("clear", FLOODING)]
    assert not fleet.accepts(KID)
