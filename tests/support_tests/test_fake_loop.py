"""Simulated time: a day in no time, the same for the same seed, and no way to hang."""

from __future__ import annotations

import asyncio
import itertools
import time
from datetime import UTC, datetime, timedelta

import pytest

from kit.clock import ManualClock
from support.fake_loop import DeadlockError, LivelockError, VirtualTimeError, run

DAY_S = 86_400.0
START = datetime(2026, 3, 1, tzinfo=UTC)


def test_a_day_of_a_hundred_loops_takes_seconds_and_moves_the_clock() -> None:
    clock = ManualClock(START)
    beats = 0

    async def agent() -> None:
        nonlocal beats
        for _ in range(96):
            await asyncio.sleep(900)
            beats += 1

    async def fleet() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(100):
                group.create_task(agent(), name=f"agent-{number}")

    started = time.monotonic()
    run(fleet(), clock=clock)
    assert time.monotonic() - started < 5
    assert beats == 9_600
    assert abs(clock.utc() - (START + timedelta(days=1))) < timedelta(seconds=1)


def test_timeouts_and_sleeps_share_one_time_with_the_clock() -> None:
    clock = ManualClock(START)

    async def main() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        before = loop.time()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await asyncio.sleep(40)
        first = loop.time() - before
        clock.advance(1_000)
        return first, loop.time() - before

    first, second = run(main(), clock=clock)
    assert first == pytest.approx(30, abs=0.001)
    assert second == pytest.approx(1_030, abs=0.001)


def test_a_jump_of_the_wall_clock_fires_no_timer() -> None:
    clock = ManualClock(START)

    async def main() -> float:
        loop = asyncio.get_running_loop()
        before = loop.time()
        loop.call_later(1, clock.jump_wall, 400 * DAY_S)
        await asyncio.sleep(10)
        return loop.time() - before

    assert run(main(), clock=clock) == pytest.approx(10, abs=0.001)
    assert clock.utc() - START > timedelta(days=400)


def order_of_equals(seed: int) -> list[int]:
    async def main() -> list[int]:
        order: list[int] = []

        async def one(number: int) -> None:
            await asyncio.sleep(5)
            order.append(number)

        async with asyncio.TaskGroup() as group:
            for number in range(20):
                group.create_task(one(number))
        return order

    return run(main(), seed=seed)


def test_the_seed_chooses_the_order_of_what_is_due_together() -> None:
    assert order_of_equals(1) == order_of_equals(1)
    assert order_of_equals(1) != order_of_equals(2)
    assert sorted(order_of_equals(3)) == list(range(20))


def test_a_deadlock_names_who_waits_and_where() -> None:
    async def main() -> None:
        never = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(never.wait(), name="courier")
            group.create_task(asyncio.sleep(1), name="quick")

    with pytest.raises(DeadlockError, match=r"courier at .*:\d+") as caught:
        run(main(), seed=42)
    assert caught.value.__notes__ == ["simulation seed 42"]


def test_a_spinning_task_is_caught() -> None:
    async def main() -> None:
        for _ in itertools.count():
            await asyncio.sleep(0)

    with pytest.raises(LivelockError):
        run(main())


def test_a_simulation_that_does_not_end_is_caught() -> None:
    async def main() -> None:
        for _ in itertools.count():
            await asyncio.sleep(60)

    with pytest.raises(VirtualTimeError, match="3600 simulated seconds"):
        run(main(), limit_s=3_600)


def test_cancelled_tasks_can_clean_up_in_simulated_time() -> None:
    cleaned: list[str] = []

    async def careful() -> None:
        try:
            await asyncio.sleep(DAY_S)
        finally:
            await asyncio.sleep(60)
            cleaned.append("yes")

    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().call_later(5, task.cancel)
        await careful()

    with pytest.raises(asyncio.CancelledError):
        run(main())
    assert cleaned == ["yes"]


def test_a_thread_is_heard_when_real_time_is_allowed() -> None:
    async def main() -> str:
        async with asyncio.timeout(3_600):
            return await asyncio.to_thread(lambda: "from a thread")

    assert run(main(), real_wait_s=5.0) == "from a thread"
