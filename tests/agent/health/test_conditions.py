"""Conditions: thresholds, hysteresis, time to hold; every pair of the table."""

from __future__ import annotations

import pytest

from agent.health.conditions import CONDITIONS, TABLE, Condition, ConditionBook, Finding, Level
from kit.machine import pairs
from wire.faults import FACTS, Fault
from wire.uplink import Edge

HOT = Condition(Fault.TEMPERATURE_HIGH, "temperature_c", raise_at=80.0, clear_at=70.0, hold_s=10.0)
SKEW = Condition(Fault.CLOCK_SKEW, "clock_offset_s", raise_at=60.0, clear_at=30.0, hold_s=0.0, absolute=True)


def walk(condition: Condition, samples: list[tuple[float, float]]) -> list[tuple[float, Edge]]:
    """The edges (time, edge) of a list of (time, value)."""
    book = ConditionBook([condition])
    return [(at_s, change.edge) for at_s, value in samples for change in book.look({condition.metric: value}, at_s)]


def test_every_pair_of_the_table_is_there() -> None:
    assert set(TABLE) == set(pairs(Level, Finding))


def test_every_condition_names_a_known_fault_and_has_hysteresis() -> None:
    for condition in CONDITIONS:
        assert condition.fault in FACTS
        assert condition.clear_at < condition.raise_at


def test_a_peak_shorter_than_the_hold_time_is_no_alarm() -> None:
    assert walk(HOT, [(0, 90), (5, 90), (9, 60), (20, 90), (29, 90)]) == []


def test_a_lasting_peak_raises_once() -> None:
    assert walk(HOT, [(0, 90), (10, 90), (20, 95), (30, 99)]) == [(10, Edge.RAISE)]


def test_between_the_thresholds_nothing_changes() -> None:
    assert walk(HOT, [(0, 90), (10, 90), (20, 75), (30, 78), (40, 70)]) == [(10, Edge.RAISE), (40, Edge.CLEAR)]


@pytest.mark.parametrize("offset_s", [61.0, -61.0, 400 * 86_400.0, -400 * 86_400.0])
def test_a_clock_is_wrong_in_either_direction(offset_s: float) -> None:
    assert walk(SKEW, [(0, offset_s), (1, 0.0)]) == [(0, Edge.RAISE), (1, Edge.CLEAR)]


def test_a_missing_metric_changes_nothing() -> None:
    book = ConditionBook([HOT])
    book.look({"temperature_c": 90.0}, 0.0)
    book.look({"temperature_c": 90.0}, 10.0)
    assert book.look({}, 20.0) == []
    assert [change.edge for change in book.look({"temperature_c": 60.0}, 30.0)] == [Edge.CLEAR]


def test_an_alarm_of_an_earlier_run_goes_on_and_ends() -> None:
    book = ConditionBook([HOT, SKEW])
    book.resume({"temperature_high", "paper_out"})
    assert book.look({"temperature_c": 75.0, "clock_offset_s": 0.0}, 0.0) == []
    (change,) = book.look({"temperature_c": 69.0, "clock_offset_s": 0.0}, 5.0)
    assert (change.condition.fault, change.edge) == (Fault.TEMPERATURE_HIGH, Edge.CLEAR)
