"""One cause is one incident: grouping by time and place, parents and children, flapping, planned work."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest

from fleet_server.incidents.machine import TABLE, Turn
from fleet_server.incidents.model import EventKind, IncidentState, Part, Scope, Window
from fleet_server.incidents.rules import SERVER, common_places
from kit.machine import can_step, pairs
from support.incident_world import START, Grid, World
from wire.faults import Fault, Severity

OFFLINE, PAPER = Fault.KIOSK_OFFLINE, Fault.PAPER_OUT


def power_cut(world: World, kids: list[str], *, spread_s: float = 15.0, seed: int = 1) -> None:
    """All go dark at once; the server notices each a little later than the other."""
    chance = random.Random(seed)
    moments = sorted((chance.uniform(0, spread_s), kid) for kid in kids)
    gone = 0.0
    for after_s, kid in moments:
        world.passes(after_s - gone)
        gone = after_s
        world.edge(kid, OFFLINE)


def test_a_power_cut_of_a_hundred_kiosks_is_one_incident() -> None:
    world = World()
    power_cut(world, world.grid.kids)
    world.passes(6)
    (case,) = world.told
    assert (case.incident.scope, case.incident.severity, len(case.causes)) == (Scope.SITE, Severity.CRITICAL, 100)
    assert case.incident.number == 1
    assert world.kinds(case.incident.id).count(EventKind.OPENED) == 1
    opened = next(event for event in world.events if event.kind is EventKind.OPENED)
    assert opened.fields["members"] == 100
    assert world.now - START <= timedelta(seconds=25)


def test_paper_that_runs_out_meanwhile_is_its_own_incident_at_once() -> None:
    world = World()
    power_cut(world, world.grid.kids[:-1])
    last = world.grid.kids[-1]
    world.edge(last, PAPER, "receipt_printer")
    world.passes(0.5)
    assert [case.incident.scope_name for case in world.told] == [f"{last}/receipt_printer"]
    world.passes(6)
    assert {case.incident.scope for case in world.told} == {Scope.COMPONENT, Scope.SITE}


@pytest.mark.parametrize(
    ("kids", "scope", "name"),
    [
        (slice(0, 5), Scope.SWITCH, "switch-0"),
        (slice(10, 20), Scope.AREA, "area-1"),
        (slice(20, 40), Scope.POWER_FEED, "feed-1"),
    ],
)
def test_the_place_most_of_whose_kiosks_are_gone_is_named(kids: slice, scope: Scope, name: str) -> None:
    world = World()
    power_cut(world, world.grid.kids[kids], spread_s=5)
    world.passes(6)
    (case,) = world.told
    assert (case.incident.scope, case.incident.scope_name) == (scope, name)


def test_three_that_have_nothing_in_common_are_three() -> None:
    world = World()
    for kid in ("kiosk-3", "kiosk-33", "kiosk-63"):
        world.edge(kid, OFFLINE)
        world.passes(1_200)
    assert [case.incident.scope_name for case in world.told] == ["kiosk-3", "kiosk-33", "kiosk-63"]
    world = World()
    for kid in ("kiosk-3", "kiosk-33", "kiosk-63"):
        world.edge(kid, OFFLINE)
    world.passes(10)
    assert len(world.told) == 3


def test_ninety_nine_come_back_and_it_stays_the_same_incident() -> None:
    world = World()
    power_cut(world, world.grid.kids)
    world.passes(60)
    for kid in world.grid.kids[:-1]:
        world.edge(kid, OFFLINE, up=False)
    world.passes(1)
    (case,) = world.told
    assert [one.kid for one in case.causes if one.cleared_at is None] == ["kiosk-100"]
    assert case.incident.state is IncidentState.OPEN
    world.edge("kiosk-100", OFFLINE, up=False)
    (over,) = world.told
    assert (over.incident.state, over.incident.recovered_at) == (IncidentState.RECOVERED, world.now)


def test_a_hundred_that_go_and_come_back_within_seconds_are_one_that_recovered() -> None:
    world = World()
    power_cut(world, world.grid.kids, spread_s=3)
    for kid in world.grid.kids:
        world.edge(kid, OFFLINE, up=False)
    well_at = world.now
    assert world.told == []
    world.passes(10)
    (case,) = world.told
    assert (case.incident.scope, len(case.causes)) == (Scope.SITE, 100)
    assert (case.incident.state, case.incident.recovered_at) == (IncidentState.RECOVERED, well_at)
    assert [kind for kind in world.kinds(case.incident.id) if kind is not EventKind.LEFT] == [
        EventKind.OPENED,
        EventKind.RECOVERED,
    ]


def test_planned_work_mutes_what_was_over_before_anybody_looked() -> None:
    world = World(windows=[Window("w1", Scope.SITE, "", START, START + timedelta(hours=1), "换线", "wang")])
    world.passes(1)
    world.edge("kiosk-1", PAPER, "receipt_printer")
    world.edge("kiosk-1", PAPER, "receipt_printer", up=False, at=world.now + timedelta(seconds=1))
    world.passes(1)
    assert [(one.incident.window, one.incident.state) for one in world.told] == [("w1", IncidentState.RECOVERED)]


def test_a_late_one_joins_its_place() -> None:
    world = World()
    power_cut(world, world.grid.kids[:19], spread_s=5)
    world.passes(15)
    world.edge("kiosk-20", OFFLINE)
    world.passes(30)
    (case,) = world.told
    assert len(case.causes) == 20
    assert world.kinds(case.incident.id)[-1] is EventKind.JOINED
    world.edge("kiosk-21", OFFLINE)
    world.passes(30)
    assert [case.incident.scope for case in world.told] == [Scope.POWER_FEED, Scope.KIOSK]


def test_what_follows_from_a_parent_is_hidden_and_comes_up_when_it_outlives_it() -> None:
    world = World()
    world.edge("kiosk-1", Fault.NOT_RESPONDING, "scanner")
    world.passes(10)
    world.edge("kiosk-1", OFFLINE)
    world.edge("kiosk-1", Fault.COMPONENT_SILENT, "receipt_printer")
    world.passes(60)
    (case,) = world.told
    assert {one.component: one.part for one in case.members.values()} == {
        "kiosk": Part.CAUSE,
        "scanner": Part.CHILD,
        "receipt_printer": Part.CHILD,
    }
    world.edge("kiosk-1", Fault.COMPONENT_SILENT, "receipt_printer", up=False)
    world.edge("kiosk-1", OFFLINE, up=False)
    world.passes(30)
    assert [one.incident.scope_name for one in world.told] == ["kiosk-1", "kiosk-1/scanner"]
    assert world.told[1].incident.since == START


def test_an_outage_of_the_broker_hides_every_offline_kiosk_before_and_after() -> None:
    world = World()
    power_cut(world, world.grid.kids[:40], spread_s=3)
    world.edge(SERVER, Fault.BROKER_DOWN, "broker")
    power_cut(world, world.grid.kids[40:], spread_s=3)
    world.passes(40)
    (case,) = world.told
    assert (case.incident.scope, case.incident.scope_name) == (Scope.SERVER, "broker")
    assert [one.code for one in case.causes] == ["broker_down"]
    assert len(case.members) == 101
    world.edge(SERVER, Fault.BROKER_DOWN, "broker", up=False)
    world.passes(20)
    for kid in world.grid.kids[:97]:
        world.edge(kid, OFFLINE, up=False)
    world.passes(30)
    assert [one.incident.cause for one in world.told] == ["broker_down"]
    world.passes(20)
    late = sorted(one.incident.scope_name for one in world.told if one.incident.cause == OFFLINE)
    assert late == ["kiosk-100", "kiosk-98", "kiosk-99"]


def test_the_server_hides_nothing_but_silence() -> None:
    world = World()
    world.edge(SERVER, Fault.BROKER_DOWN, "broker")
    world.edge("kiosk-1", PAPER, "receipt_printer")
    world.passes(20)
    assert sorted(one.incident.cause for one in world.told) == ["broker_down", "paper_out"]


def test_a_system_that_is_not_ours_is_one_incident_whoever_says_it() -> None:
    world = World()
    for kid in world.grid.kids[:30]:
        world.edge(kid, Fault.CHANNEL_DOWN, "wechat")
        world.passes(3)
    world.edge("kiosk-1", Fault.CHANNEL_DOWN, "alipay")
    world.passes(40)
    assert [(one.incident.scope, one.incident.scope_name, len(one.causes)) for one in world.told] == [
        (Scope.OUTSIDE, "wechat", 30),
        (Scope.OUTSIDE, "alipay", 1),
    ]


def test_a_parent_hides_only_its_own_kiosk() -> None:
    world = World()
    world.edge("kiosk-1", OFFLINE)
    world.edge("kiosk-2", Fault.NOT_RESPONDING, "scanner")
    world.passes(60)
    assert [one.incident.scope_name for one in world.told] == ["kiosk-1", "kiosk-2/scanner"]


def test_what_is_over_before_its_debounce_is_told_to_nobody() -> None:
    world = World()
    world.edge("kiosk-1", Fault.NOT_RESPONDING, "scanner")
    world.passes(15)
    world.edge("kiosk-1", Fault.NOT_RESPONDING, "scanner", up=False)
    world.passes(60)
    assert (world.told, world.events) == ([], [])
    assert [incident.state for incident in world.closed.values()] == [IncidentState.CLOSED]


def test_flapping_is_one_incident() -> None:
    world = World()
    for _ in range(20):
        world.edge("kiosk-1", PAPER, "receipt_printer")
        world.passes(30)
        world.edge("kiosk-1", PAPER, "receipt_printer", up=False)
        world.passes(30)
    (case,) = world.told
    assert (case.incident.flaps, case.incident.since) == (19, START)
    kinds = world.kinds(case.incident.id)
    assert (kinds.count(EventKind.OPENED), kinds.count(EventKind.RELAPSED)) == (1, 19)
    world.passes(1_000, step_s=10)
    assert world.told == []
    world.edge("kiosk-1", PAPER, "receipt_printer")
    world.passes(1)
    assert [one.incident.number for one in world.told] == [2]


def test_it_worsens_only_upwards() -> None:
    world = World()
    power_cut(world, world.grid.kids[:5], spread_s=1)
    world.passes(6)
    (case,) = world.told
    assert EventKind.WORSENED not in world.kinds(case.incident.id)


def test_planned_work_mutes_what_begins_in_it() -> None:
    window = Window("w1", Scope.AREA, "area-0", START, START + timedelta(hours=1), "换线", "wang")
    world = World(windows=[window])
    world.edge("kiosk-1", PAPER, "receipt_printer")
    world.edge("kiosk-11", PAPER, "receipt_printer")
    world.passes(1)
    muted, heard = world.told
    assert (muted.incident.window, heard.incident.window) == ("w1", None)
    assert world.kinds(muted.incident.id) == [EventKind.OPENED, EventKind.MUTED]
    world.passes(3_700, step_s=60)
    world.edge("kiosk-2", PAPER, "receipt_printer")
    world.passes(1)
    assert world.told[-1].incident.window is None


def test_a_window_of_the_fleet_mutes_every_place_and_one_of_a_kiosk_only_it() -> None:
    hour = timedelta(hours=1)
    world = World(windows=[Window("w1", Scope.KIOSK, "kiosk-1", START, START + hour, "换线", "wang")])
    power_cut(world, world.grid.kids[:5], spread_s=1)
    world.passes(6)
    assert [case.incident.window for case in world.told] == [None]
    world = World(windows=[Window("w1", Scope.SITE, "", START, START + hour, "停电检修", "wang")])
    power_cut(world, world.grid.kids, spread_s=1)
    world.passes(6)
    assert [case.incident.window for case in world.told] == ["w1"]


def test_history_opens_and_recovers_with_its_own_moments() -> None:
    world = World()
    since, until = START - timedelta(hours=5), START - timedelta(hours=4)
    world.edge("kiosk-1", PAPER, "receipt_printer", at=since, hist=True)
    world.edge("kiosk-1", PAPER, "receipt_printer", up=False, at=until, hist=True)
    (case,) = world.told
    assert (case.incident.is_hist, case.incident.since, case.incident.recovered_at) == (True, since, until)
    assert next(event.fields["hist"] for event in world.book.changes.events) is True


def test_late_evidence_dates_it_back() -> None:
    world = World()
    world.edge("kiosk-1", PAPER, "receipt_printer")
    world.passes(5)
    world.edge("kiosk-1", PAPER, "receipt_printer", at=START - timedelta(minutes=9), hist=True)
    (case,) = world.told
    assert (case.incident.since, case.incident.is_hist) == (START - timedelta(minutes=9), False)


def test_the_table_has_no_way_back_from_closed_and_every_state_an_end() -> None:
    assert not any(can_step(TABLE, IncidentState.CLOSED, turn) for turn in Turn)
    for state, turn in pairs(IncidentState, Turn):
        if can_step(TABLE, state, turn):
            assert turn is not Turn.GATHER or state is IncidentState.FORMING
    assert {state for state, _ in TABLE} == set(IncidentState) - {IncidentState.CLOSED}


def test_places_take_each_kiosk_once() -> None:
    grid = Grid()
    order = (Scope.SWITCH, Scope.AREA, Scope.FLOOR, Scope.SITE)
    kids = [*grid.kids[:20], *grid.kids[40:45], "kiosk-99"]
    found = common_places(kids, grid, order)
    assert [(scope, name, len(there)) for scope, name, there in found] == [
        (Scope.FLOOR, "0F", 20),
        (Scope.SWITCH, "switch-8", 5),
    ]


@pytest.mark.parametrize("seed", [*range(8), 68])
def test_restarts_change_nothing(seed: int) -> None:
    """The same hour of alarms, once in one life and once with deaths in between, gives the same incidents."""
    faults = (
        (OFFLINE, "kiosk"),
        (PAPER, "receipt_printer"),
        (Fault.NOT_RESPONDING, "scanner"),
        (Fault.ON_BATTERY, "ups"),
    )

    def hour(*, dies: bool) -> list[tuple[object, ...]]:
        chance, deaths = random.Random(seed), random.Random(-seed - 1)
        world = World(Grid(20))
        up: set[tuple[str, Fault, str]] = set()
        for _ in range(120):
            key = (chance.choice(world.grid.kids), *chance.choice(faults))
            if chance.random() < 0.08:
                key = (SERVER, Fault.BROKER_DOWN, "broker")
            world.edge(*key, up=key not in up)
            up ^= {key}
            if chance.random() < 0.1:
                power_cut(world, [kid for kid in world.grid.kids if (kid, OFFLINE, "kiosk") not in up], spread_s=3)
                up |= {(kid, OFFLINE, "kiosk") for kid in world.grid.kids}
            world.passes(chance.choice((0.5, 4, 21, 70)))
            world.write()
            if dies and deaths.random() < 0.4:
                world.restarts()
            hold(world, up)
        return [
            (one.number, one.state, one.cause, one.scope, one.scope_name, one.since, one.recovered_at, one.flaps)
            for one in [*world.closed.values(), *(case.incident for case in world.told)]
            if one.number
        ]

    assert sorted(hour(dies=True), key=str) == sorted(hour(dies=False), key=str)


def hold(world: World, up: set[tuple[str, Fault, str]]) -> None:
    """Every alarm that is up is up in exactly one incident, and no other is."""
    live = [
        (one.kid, one.code, one.component)
        for case in world.book.cases.values()
        for one in case.members.values()
        if one.cleared_at is None
    ]
    assert sorted(live) == sorted((kid, fault.value, component) for kid, fault, component in up)
    for case in world.told:
        assert case.incident.number > 0
        assert (case.incident.state is IncidentState.RECOVERED) == (not case.is_up)
        assert case.incident.since == min(one.since for one in case.causes) or case.incident.flaps > 0
