"""The duty on a real store: edges become incidents once, whoever dies, and people act at the same time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from fleet_server.alerts.model import AlarmEdge, AlarmOrigin, EdgePlace
from fleet_server.alerts.store import AlarmStore
from fleet_server.errors import Refusal
from fleet_server.incidents import duty as duty_module
from fleet_server.incidents.duty import IncidentDuty, unfenced
from fleet_server.incidents.model import EventKind, IncidentState, Scope, WindowForm
from fleet_server.incidents.service import ALL_STATES, OPEN_STATES, IncidentService
from fleet_server.incidents.store import IncidentStore
from kit.clock import ManualClock
from kit.store import Database, LeaseLost
from support.incident_world import Grid
from wire.faults import FACTS, Fault
from wire.uplink import Edge

PAPER, OFFLINE = Fault.PAPER_OUT, Fault.KIOSK_OFFLINE


class Ward:
    """The feature on a store, with alarms that go up by hand."""

    def __init__(self, database: Database, clock: ManualClock) -> None:
        self.database, self.clock = database, clock
        self.alarms, self.store = AlarmStore(database), IncidentStore(database)
        self.service = IncidentService(database, self.store, clock)
        self.duty = self.fresh_duty()

    def fresh_duty(self, fence: duty_module.Fence = unfenced) -> IncidentDuty:
        return IncidentDuty(self.database, self.alarms, self.store, Grid(), self.clock, fence)

    async def edges(self, *given: tuple[str, Fault, str, bool]) -> None:
        now = self.clock.utc()
        changes = [
            AlarmEdge(
                kid, component, fault.value, Edge.RAISE if up else Edge.CLEAR, FACTS[fault].severity, now,
                AlarmOrigin.KIOSK,
            )
            for kid, fault, component, up in given
        ]  # fmt: skip
        await self.alarms.apply(changes, now)

    async def works(self, seconds: float = 0.0) -> None:
        self.clock.advance(seconds)
        while await self.duty.turn():
            pass

    async def names(self) -> Sequence[str]:
        return [one.scope_name for one in await self.service.incidents(ALL_STATES, limit=100)]


@pytest.fixture
def ward(fleet_db: Database, manual_clock: ManualClock) -> Ward:
    return Ward(fleet_db, manual_clock)


@pytest.fixture
def small_ward(sqlite_fleet_db: Database, manual_clock: ManualClock) -> Ward:
    return Ward(sqlite_fleet_db, manual_clock)


async def test_the_log_has_every_edge_that_changed_something_in_order(ward: Ward) -> None:
    await ward.edges(("kiosk-1", PAPER, "printer", True), ("kiosk-2", PAPER, "printer", True))
    ward.clock.advance(1)
    await ward.edges(("kiosk-1", PAPER, "printer", False), ("kiosk-9", PAPER, "printer", False))
    log = await ward.alarms.edges_after(EdgePlace(0, -1), 10)
    assert [(one.place, one.edge.kid, one.edge.edge) for one in log] == [
        (EdgePlace(1, 0), "kiosk-1", Edge.RAISE),
        (EdgePlace(1, 1), "kiosk-2", Edge.RAISE),
        (EdgePlace(2, 0), "kiosk-1", Edge.CLEAR),
        (EdgePlace(2, 1), "kiosk-9", Edge.CLEAR),
    ]
    assert [one.place.n for one in await ward.alarms.edges_after(EdgePlace(1, 0), 1)] == [1]


async def test_an_alarm_becomes_an_incident_that_recovers_and_closes(ward: Ward) -> None:
    await ward.edges(("kiosk-1", PAPER, "printer", True))
    await ward.works()
    (incident,) = await ward.service.incidents(OPEN_STATES, limit=10)
    assert (incident.number, incident.scope_name, incident.state) == (1, "kiosk-1/printer", IncidentState.OPEN)
    await ward.edges(("kiosk-1", PAPER, "printer", False))
    await ward.works(60)
    assert (await ward.service.incident(incident.id)).state is IncidentState.RECOVERED
    await ward.works(901)
    assert (await ward.service.incident(incident.id)).state is IncidentState.CLOSED
    kinds = [event.kind for event in await ward.service.timeline(incident.id)]
    assert kinds == [EventKind.OPENED, EventKind.RECOVERED, EventKind.CLOSED]
    feed = await ward.service.events_after(0, 10)
    assert [event.seq for event in feed] == [1, 2, 3]


async def test_a_hundred_at_once_are_one_with_a_hundred_members(ward: Ward) -> None:
    await ward.edges(*((kid, OFFLINE, "kiosk", True) for kid in Grid().kids))
    await ward.works()
    assert await ward.names() == []
    await ward.works(6)
    (incident,) = await ward.service.incidents(OPEN_STATES, limit=10)
    assert (incident.scope, len(await ward.service.members(incident.id))) == (Scope.SITE, 100)
    assert await ward.service.count(OPEN_STATES, kid="kiosk-77") == 1
    assert await ward.service.count(OPEN_STATES, kid="kiosk-777") == 0


async def test_who_takes_over_goes_on_where_the_last_one_committed(ward: Ward) -> None:
    await ward.edges(("kiosk-1", PAPER, "printer", True), ("kiosk-2", Fault.NOT_RESPONDING, "scanner", True))
    await ward.works()
    ward.duty = ward.fresh_duty()
    await ward.edges(("kiosk-1", PAPER, "printer", False))
    await ward.works(21)
    assert await ward.names() == ["kiosk-2/scanner", "kiosk-1/printer"]
    assert [event.seq for event in await ward.service.events_after(0, 10)] == [1, 2, 3]


async def test_a_process_that_leads_no_more_writes_nothing(ward: Ward) -> None:
    async def lost(_connection: AsyncConnection) -> None:
        raise LeaseLost("duties")

    ward.duty = ward.fresh_duty(lost)
    await ward.edges(("kiosk-1", PAPER, "printer", True))
    with pytest.raises(LeaseLost):
        await ward.works()
    assert await ward.names() == []
    ward.duty = ward.fresh_duty()
    await ward.works()
    assert await ward.names() == ["kiosk-1/printer"]


async def test_two_leaders_at_once_make_no_incident_twice(ward: Ward) -> None:
    other = ward.fresh_duty()
    await ward.works()
    await other.turn()
    await ward.edges(("kiosk-1", PAPER, "printer", True))
    await ward.works()
    while await other.turn():
        pass
    assert await ward.names() == ["kiosk-1/printer"]


async def test_a_page_at_a_time(small_ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    ward = small_ward
    monkeypatch.setattr(duty_module, "PAGE", 7)
    await ward.edges(*((kid, PAPER, "printer", True) for kid in Grid().kids[:40]))
    turns = 1
    while await ward.duty.turn():
        turns += 1
    assert turns == 6
    assert len(await ward.names()) == 40


async def test_people_and_the_duty_write_at_the_same_time(ward: Ward) -> None:
    await ward.edges(("kiosk-1", PAPER, "printer", True))
    await ward.works()
    (incident,) = await ward.service.incidents(OPEN_STATES, limit=10)
    acknowledged = await ward.service.acknowledge(incident.id, "wang", "带纸过去")
    assert (acknowledged.state, acknowledged.acknowledged_by) == (IncidentState.ACKNOWLEDGED, "wang")
    again = await ward.service.acknowledge(incident.id, "li")
    assert again.acknowledged_by == "wang"
    await ward.edges(("kiosk-1", PAPER, "printer", False))
    await ward.works(1)
    after = await ward.service.incident(incident.id)
    assert (after.state, after.acknowledged_by) == (IncidentState.RECOVERED, "wang")
    kinds = [event.kind for event in await ward.service.timeline(incident.id)]
    assert kinds == [EventKind.OPENED, EventKind.ACKNOWLEDGED, EventKind.ACKNOWLEDGED, EventKind.RECOVERED]
    with pytest.raises(Refusal, match="over"):
        await ward.service.acknowledge(incident.id, "wang")


async def test_snoozing_has_an_end(ward: Ward) -> None:
    await ward.edges(("kiosk-1", PAPER, "printer", True))
    await ward.works()
    (incident,) = await ward.service.incidents(OPEN_STATES, limit=10)
    now = ward.clock.utc()
    for until in (now, now - timedelta(seconds=1), now + timedelta(hours=25)):
        with pytest.raises(Refusal, match="24 hours"):
            await ward.service.snooze(incident.id, until, "wang")
    until = now + timedelta(hours=2)
    assert (await ward.service.snooze(incident.id, until, "wang", "等配件")).snoozed_until == until
    assert (await ward.service.timeline(incident.id))[-1].fields == {"until": until.isoformat(), "note": "等配件"}


@pytest.mark.parametrize("act", ["acknowledge", "note", "snooze"])
async def test_nobody_acts_on_what_is_not_there(small_ward: Ward, act: str) -> None:
    service, until = small_ward.service, small_ward.clock.utc() + timedelta(hours=1)
    acts = {
        "acknowledge": lambda: service.acknowledge("none", "wang"),
        "note": lambda: service.note("none", "wang", "x"),
        "snooze": lambda: service.snooze("none", until, "wang"),
    }
    with pytest.raises(Refusal, match="no such incident"):
        await acts[act]()


async def test_planned_work_is_kept_and_ended(ward: Ward) -> None:
    now = ward.clock.utc()
    hour = timedelta(hours=1)
    form = WindowForm(scope=Scope.KIOSK, scope_name="kiosk-1", starts_at=now, ends_at=now + hour, reason="换打印机")
    window = await ward.service.add_window(form, "wang")
    await ward.edges(("kiosk-1", PAPER, "printer", True), ("kiosk-2", PAPER, "printer", True))
    await ward.works()
    found = {one.scope_name: one.window for one in await ward.service.incidents(OPEN_STATES, limit=10)}
    assert found == {"kiosk-1/printer": window.id, "kiosk-2/printer": None}
    ward.clock.advance(60)
    assert (await ward.service.end_window(window.id)).ends_at == ward.clock.utc()
    assert await ward.service.windows() == []
    with pytest.raises(Refusal, match="it is over"):
        await ward.service.end_window(window.id)
    wrong = [
        form.model_copy(update={"ends_at": now}),
        form.model_copy(update={"ends_at": now + timedelta(days=15)}),
        form.model_copy(update={"scope_name": ""}),
    ]
    for one in wrong:
        with pytest.raises(Refusal):
            await ward.service.add_window(one, "wang")


async def test_a_burst_is_worked_off_and_nothing_of_it_is_lost(small_ward: Ward) -> None:
    """Hundreds of edges in one transaction, up and down: what is left is what is up."""
    ward, kids = small_ward, Grid().kids
    changes = [(kid, PAPER, f"printer-{turn % 10}", turn < 10) for turn in range(20) for kid in kids[:20] if turn != 13]
    await ward.edges(*changes)
    await ward.works()
    left = {one.scope_name for one in await ward.service.incidents(OPEN_STATES, limit=1_000)}
    assert left == {f"{kid}/printer-3" for kid in kids[:20]}
