"""What edges do to an alarm, in whatever order they arrive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_server.alerts.model import Alarm, AlarmEdge, AlarmOrigin, view
from fleet_server.alerts.rules import apply
from wire.faults import FACTS, Fault, Severity
from wire.uplink import Edge

START = datetime(2026, 3, 2, tzinfo=UTC)
FAULT = next(iter(Fault))


def at(second: int) -> datetime:
    return START + timedelta(seconds=second)


def edge(kind: Edge, second: int, *, origin: AlarmOrigin = AlarmOrigin.KIOSK) -> AlarmEdge:
    return AlarmEdge("k-0001", "receipt_printer", FAULT.value, kind, Severity.MAJOR, at(second), origin)


def up(second: int) -> AlarmEdge:
    return edge(Edge.RAISE, second)


def down(second: int) -> AlarmEdge:
    return edge(Edge.CLEAR, second)


def after(edges: Sequence[AlarmEdge]) -> Alarm | None:
    alarm: Alarm | None = None
    for item in edges:
        alarm = apply(alarm, item, at(1_000)) or alarm
    return alarm


def shown(alarm: Alarm | None) -> tuple[bool, datetime | None, datetime | None]:
    """What people see of it."""
    if alarm is None:
        return False, None, None
    seen = view(alarm)
    return seen.is_open, seen.raised_at, seen.cleared_at


@pytest.mark.parametrize(
    ("edges", "expected"),
    [
        ([up(1)], (True, at(1), None)),
        ([up(1), up(1)], (True, at(1), None)),
        ([up(5), up(1)], (True, at(1), None)),
        ([up(1), up(5)], (True, at(1), None)),
        ([up(1), down(2)], (False, at(1), at(2))),
        ([up(1), down(1)], (False, at(1), at(1))),
        ([up(1), down(2), up(1)], (False, at(1), at(2))),
        ([up(1), down(2), up(2)], (False, at(2), at(2))),
        ([up(1), down(2), up(3)], (True, at(3), None)),
        # Live first: what happens now arrives before what happened during the outage.
        ([down(2), up(1)], (False, at(1), at(2))),
        ([up(5), up(1), down(2)], (True, at(5), None)),
        ([up(5), down(2), up(1)], (True, at(5), None)),
        ([down(6), up(1), down(2), up(5)], (False, at(5), at(6))),
        ([up(3), up(5), down(4)], (True, at(5), None)),
    ],
)
def test_edges_in_any_order(edges: list[AlarmEdge], expected: tuple[bool, datetime, datetime | None]) -> None:
    assert shown(after(edges)) == expected


def test_a_repeated_raise_brings_its_severity_and_detail() -> None:
    worse = replace(up(4), severity=Severity.CRITICAL, detail={"sheets": 0})
    alarm = after([up(1), worse])
    assert alarm is not None
    assert (alarm.severity, alarm.detail, alarm.raised_at) == (Severity.CRITICAL, {"sheets": 0}, at(1))
    late = replace(up(2), severity=Severity.INFO)
    assert apply(alarm, late, at(1_000)) is None


def test_the_server_clears_only_what_is_up() -> None:
    clear = edge(Edge.CLEAR, 3, origin=AlarmOrigin.SERVER)
    assert apply(None, clear, at(3)) is None
    closed = after([up(1), down(2)])
    assert apply(closed, clear, at(3)) is None


def test_reopening_is_a_new_detection() -> None:
    closed = after([up(1), down(2)])
    opened = apply(closed, up(3), at(2_000))
    assert opened is not None
    assert opened.detected_at == at(2_000)


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[AlarmEdge], list[AlarmEdge]]:
    """Edges as they happened, one up and one down in turn, and as they arrived: shuffled, some twice."""
    moments = sorted(draw(st.sets(st.integers(0, 500), min_size=1, max_size=12)))
    happened = [up(moment) if place % 2 == 0 else down(moment) for place, moment in enumerate(moments)]
    again = draw(st.lists(st.sampled_from(happened), max_size=6))
    return happened, draw(st.permutations([*happened, *again]))


@given(histories())
def test_order_and_repetition_of_arrival_do_not_matter(history: tuple[list[AlarmEdge], list[AlarmEdge]]) -> None:
    happened, arrived = history
    assert shown(after(arrived)) == shown(after(happened))


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30)), min_size=1, max_size=30))
def test_the_newest_edge_decides(edges: list[tuple[bool, int]]) -> None:
    alarm = after([up(moment) if is_up else down(moment) for is_up, moment in edges])
    newest = max(edges, key=lambda item: (item[1], not item[0]))
    assert alarm is not None
    assert alarm.is_open is newest[0]
    if alarm.is_open:
        clears = [moment for is_up, moment in edges if not is_up]
        assert alarm.raised_at > at(max(clears, default=-1))
        assert alarm.raised_at in {at(moment) for is_up, moment in edges if is_up}


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30)), max_size=30), st.randoms())
def test_applying_everything_again_changes_nothing(edges: list[tuple[bool, int]], random: object) -> None:
    once = after([up(moment) if is_up else down(moment) for is_up, moment in edges])
    if once is not None:
        for is_up, moment in edges:
            again = apply(once, up(moment) if is_up else down(moment), at(2_000))
            assert again is None or shown(again)[0] is once.is_open


def test_every_known_fault_is_shown_in_both_languages() -> None:
    for fault in Fault:
        alarm = after([replace(up(1), code=fault.value)])
        assert alarm is not None
        shown_as = view(alarm)
        assert (shown_as.title_zh, shown_as.title_en) == (FACTS[fault].zh, FACTS[fault].en)
        assert view(alarm).model_dump()["id"] == f"k-0001/receipt_printer/{fault.value}"


def test_an_unknown_code_is_shown_by_itself() -> None:
    alarm = after([replace(up(1), code="of_a_newer_agent")])
    assert alarm is not None
    assert view(alarm).title_zh == "of_a_newer_agent"
