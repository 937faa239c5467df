from __future__ import annotations

import re
import threading
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.clock import ManualClock, ServerTime, SystemClock, ulid

DAY_S = 86_400.0
JUMPS_S = [3_600.0, -3_600.0, DAY_S, -DAY_S, 400 * DAY_S, -400 * DAY_S]
TO_1970_S = -(datetime(2026, 3, 2, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()
TO_2038_S = (datetime(2038, 1, 20, tzinfo=UTC) - datetime(2026, 3, 2, tzinfo=UTC)).total_seconds()
ALL_JUMPS_S = [*JUMPS_S, TO_1970_S, TO_2038_S]


def test_the_system_clock_is_aware_and_its_monotonic_half_never_goes_back() -> None:
    clock = SystemClock()
    assert clock.utc().tzinfo is UTC
    readings = [clock.monotonic() for _ in range(1_000)]
    assert readings == sorted(readings)


def test_a_manual_clock_stands_still_until_it_is_moved(manual_clock: ManualClock) -> None:
    before = manual_clock.utc(), manual_clock.monotonic()
    assert before == (manual_clock.utc(), manual_clock.monotonic())
    manual_clock.advance(1.5)
    assert manual_clock.utc() == before[0] + timedelta(seconds=1.5)
    assert manual_clock.monotonic() == before[1] + 1.5


def test_a_wall_jump_leaves_the_monotonic_half_alone(manual_clock: ManualClock) -> None:
    before = manual_clock.monotonic()
    manual_clock.jump_wall(-3_600)
    assert manual_clock.monotonic() == before


def test_a_manual_clock_refuses_to_go_back_and_to_start_without_a_zone(manual_clock: ManualClock) -> None:
    with pytest.raises(ValueError, match="does not go back"):
        manual_clock.advance(-1)
    with pytest.raises(ValueError, match="time zone"):
        ManualClock(datetime(2026, 1, 1))  # noqa: DTZ001 - the point


def test_server_time_is_the_wall_clock_until_the_server_was_heard(manual_clock: ManualClock) -> None:
    server = ServerTime(manual_clock)
    assert not server.is_known
    assert server.offset_s is None
    assert server.now() == manual_clock.utc()


def test_half_the_round_trip_is_added(manual_clock: ManualClock) -> None:
    server = ServerTime(manual_clock)
    server.observe(manual_clock.utc(), round_trip_s=0.4)
    assert server.is_known
    assert server.now() == manual_clock.utc() + timedelta(seconds=0.2)


@pytest.mark.parametrize("jump_s", ALL_JUMPS_S)
def test_a_wall_jump_shows_in_the_offset_and_not_in_server_time(manual_clock: ManualClock, jump_s: float) -> None:
    server = ServerTime(manual_clock)
    server.observe(manual_clock.utc() - timedelta(seconds=5))
    manual_clock.advance(10)
    expected = server.now()
    assert server.offset_s == pytest.approx(5.0)
    manual_clock.jump_wall(jump_s)
    assert server.now() == expected
    assert server.offset_s == pytest.approx(5.0 + jump_s)


def test_a_new_observation_replaces_the_old_one(manual_clock: ManualClock) -> None:
    server = ServerTime(manual_clock)
    server.observe(manual_clock.utc() + timedelta(hours=1))
    manual_clock.advance(60)
    server.observe(manual_clock.utc())
    assert server.offset_s == 0.0


def test_server_time_keeps_the_moment_of_another_zone(manual_clock: ManualClock) -> None:
    server = ServerTime(manual_clock)
    server.observe(manual_clock.utc().astimezone(timezone(timedelta(hours=8))))
    assert server.now() == manual_clock.utc()


def test_a_ulid_is_crockford_and_carries_the_millisecond() -> None:
    text = ulid(ManualClock(datetime(2300, 1, 1, tzinfo=UTC)))
    assert re.fullmatch(r"[0-7][0-9A-HJKMNP-TV-Z]{25}", text)
    alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    milliseconds = sum(alphabet.index(character) << 5 * place for place, character in enumerate(reversed(text[:10])))
    assert milliseconds == datetime(2300, 1, 1, tzinfo=UTC).timestamp() * 1_000


@given(st.lists(st.sampled_from([0.0, 0.0004, 0.5, 3_600.0, -3_600.0, -400 * DAY_S, 400 * DAY_S]), max_size=40))
def test_ulids_of_a_process_rise_whatever_the_wall_clock_does(moves_s: list[float]) -> None:
    clock = ManualClock()
    made = [ulid(clock)]
    for move_s in moves_s:
        clock.jump_wall(move_s)
        made.append(ulid(clock))
    assert made == sorted(set(made))


def test_ulids_work_before_1970() -> None:
    assert len(ulid(ManualClock(datetime(1969, 12, 31, tzinfo=UTC)))) == 26


def test_ulids_of_several_threads_differ() -> None:
    clock = ManualClock()
    made: list[str] = []

    def make() -> None:
        made.extend(ulid(clock) for _ in range(2_000))

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 8_000
