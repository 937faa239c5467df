"""One patient at a time, and nothing ends a payment too early or keeps a kiosk for ever."""

from __future__ import annotations

import pytest

from agent.local_api.dialogue import Refusal
from agent.local_api.lease import IDLE_S, LONGEST_S, PAYING_S, SessionLease
from kit.clock import ManualClock
from wire.presence import Activity


def begun(clock: ManualClock) -> tuple[SessionLease, str]:
    lease = SessionLease(clock)
    number = lease.begin().lease
    assert number is not None
    return lease, number


def test_one_page_at_a_time(clock: ManualClock) -> None:
    lease, number = begun(clock)
    assert lease.activity() is Activity.IN_SESSION
    with pytest.raises(Refusal, match="sessionActive"):
        lease.begin()
    lease.end(number)
    assert lease.activity() is Activity.IDLE
    assert lease.begin().lease != number


def test_a_page_that_is_silent_loses_it(clock: ManualClock) -> None:
    lease, number = begun(clock)
    clock.advance(IDLE_S - 1)
    lease.renew(number)
    clock.advance(IDLE_S - 1)
    assert lease.activity() is Activity.IN_SESSION
    clock.advance(1)
    assert lease.activity() is Activity.IDLE
    with pytest.raises(Refusal, match="noSession"):
        lease.renew(number)


def test_no_session_lasts_for_ever(clock: ManualClock) -> None:
    lease, number = begun(clock)
    for _ in range(int(LONGEST_S / 50)):
        clock.advance(50)
        if lease.activity() is Activity.IDLE:
            break
        lease.renew(number)
    assert lease.activity() is Activity.IDLE


def test_a_payment_outlives_its_session_and_not_for_ever(clock: ManualClock) -> None:
    lease, number = begun(clock)
    assert lease.pay(number, is_paying=True).activity is Activity.PAYING
    clock.advance(IDLE_S + 1)
    assert lease.activity() is Activity.PAYING
    assert lease.pay(number, is_paying=False).activity is Activity.IDLE
    other, name = begun(clock)
    other.pay(name, is_paying=True)
    clock.advance(PAYING_S)
    assert other.activity() is Activity.IDLE


def test_the_wall_clock_decides_nothing(clock: ManualClock) -> None:
    lease, number = begun(clock)
    clock.jump_wall(-400 * 86_400)
    assert lease.activity() is Activity.IN_SESSION
    clock.jump_wall(800 * 86_400)
    assert lease.renew(number).expires_in_s == IDLE_S


def test_a_number_of_another_session_does_nothing(clock: ManualClock) -> None:
    lease, _ = begun(clock)
    for work in (lease.renew, lease.end):
        with pytest.raises(Refusal):
            work("01ARZ3NDEKTSV4RRFFQ69G5FAV")
    assert lease.activity() is Activity.IN_SESSION


def test_money_under_way_keeps_the_lease_and_its_kiosk(clock: ManualClock) -> None:
    lease, number = begun(clock)
    is_moving = True
    lease.held = lambda: is_moving
    assert lease.activity() is Activity.PAYING
    clock.advance(LONGEST_S + PAYING_S)
    state = lease.state()
    assert (state.lease, state.activity, state.expires_in_s) == (number, Activity.PAYING, 0.0)
    is_moving = False
    assert lease.activity() is Activity.IDLE


def test_a_page_that_was_loaded_anew_takes_over_a_lease_that_only_money_keeps(clock: ManualClock) -> None:
    lease, number = begun(clock)
    lease.held = lambda: True
    with pytest.raises(Refusal, match="sessionActive"):
        lease.begin()
    clock.advance(IDLE_S)
    assert lease.begin().lease != number
    with pytest.raises(Refusal, match="noSession"):
        lease.renew(number)


def test_money_of_an_earlier_start_is_under_way_without_a_lease(clock: ManualClock) -> None:
    lease = SessionLease(clock)
    lease.held = lambda: True
    assert lease.activity() is Activity.PAYING
    assert lease.state().activity is Activity.PAYING
    assert lease.begin().lease is not None
