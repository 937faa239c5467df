"""When people are told that alerting is gone: not for one lost answer, again until it is back, once that it is."""

from __future__ import annotations

import itertools
import math
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_server.watch import rules
from fleet_server.watch.model import Sight, WatchState

START = datetime(2026, 3, 2, 3, tzinfo=UTC)
SILENT, REPEAT = timedelta(seconds=120), timedelta(seconds=600)


def sight(at_s: float, idle_s: float | None) -> Sight:
    return Sight(START + timedelta(seconds=at_s), idle_s, "")


def looked(state: WatchState, at_s: float, idle_s: float | None) -> WatchState:
    return rules.seen(state, sight(at_s, idle_s), SILENT, f"W{int(at_s)}")


def due(state: WatchState, at_s: float) -> list[str]:
    return rules.due(state, ("sms", "mail"), START + timedelta(seconds=at_s), REPEAT)


def test_silence_is_told_after_its_time_and_again_and_its_end_once() -> None:
    state = looked(WatchState(), 0, 4)
    state = looked(state, 15, None)
    state = looked(state, 110, None)
    assert due(state, 110) == []
    state = looked(state, 116, None)  # the last sign of life was four seconds before the first look
    assert (due(state, 116), state.began_at) == (["sms", "mail"], START - timedelta(seconds=4))
    state = rules.took(state, "sms", START + timedelta(seconds=116))
    assert due(looked(state, 130, None), 130) == ["mail"]
    assert due(looked(state, 716, None), 716) == ["sms", "mail"]
    state = looked(state, 720, 1)
    assert (due(state, 720), state.over) == ([], ("sms",))  # who never heard of it needs no news that it is over
    assert rules.heard_over(state, "sms").over == ()


def test_servers_that_answer_while_alerting_stands_still_are_no_sign_of_life() -> None:
    state = looked(WatchState(), 0, 0)
    for at_s in range(15, 121, 15):
        state = looked(state, at_s, None if at_s % 2 else float(at_s) + 0.5)
    assert due(state, 120) == ["sms", "mail"] or due(looked(state, 135, 135.5), 135) == ["sms", "mail"]


def test_a_watch_that_never_saw_it_well_waits_before_it_calls() -> None:
    state = looked(WatchState(), 0, None)
    assert due(looked(state, 119, None), 119) == []
    assert due(looked(state, 120, None), 120) == ["sms", "mail"]


def test_a_clock_that_is_put_back_neither_hides_it_nor_tells_for_ever() -> None:
    state = looked(WatchState(), 0, 0)
    state = looked(state, -3_600, None)
    state = looked(state, -3_600 + 120, None)
    assert state.began_at is not None
    told = rules.took(state, "sms", START)
    assert "sms" in due(told, -3_480)  # told at a moment that has not come: rather once more


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats(0, 400)), min_size=1, max_size=60))
def test_nobody_is_called_while_there_was_a_sign_of_life_in_time(looks: list[float | None]) -> None:
    state, alive = WatchState(), -math.inf
    for number, idle_s in enumerate(looks):
        at_s = number * 15.0
        state = looked(state, at_s, idle_s)
        if idle_s is not None and idle_s <= SILENT.total_seconds():
            alive = max(alive, at_s - idle_s)
        elif number == 0:
            alive = at_s  # a watch that was just started waits first
        is_gone = at_s - alive >= SILENT.total_seconds()
        is_well_now = idle_s is not None and idle_s <= SILENT.total_seconds()
        assert (due(state, at_s) == []) is (is_well_now or not is_gone)


def test_each_call_has_its_own_name() -> None:
    state, names = WatchState(), set()
    for number in itertools.count():
        state = looked(state, number * 60.0, 0 if number % 5 == 0 else None)
        names.add(state.id)
        if number == 20:
            break
    assert len(names - {""}) == 4
