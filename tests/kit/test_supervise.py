from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from kit.supervise import Backoff, Supervised, TaskGroup, serve, spawn
from support.fake_loop import run
from support.waiting import wait_for


async def _fails(error: Exception) -> None:
    raise error


@pytest.mark.parametrize("delay_s", [0.0, 0.01])
async def test_timeouts_work_after_a_group_that_failed(delay_s: float) -> None:
    """With asyncio's own group Debian 12's Python ends the task at the first timeout, without a word."""
    task = asyncio.current_task()
    assert task is not None
    for _ in range(3):
        with pytest.RaisesGroup(OSError):
            async with TaskGroup() as group:
                _ = spawn(group, asyncio.sleep(9), "other")
                _ = spawn(group, _fails(OSError("lost")), "fails")
                await asyncio.sleep(delay_s)
        assert task.cancelling() == 0
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await asyncio.sleep(9)


async def test_a_group_whose_children_fail_while_it_waits_for_them() -> None:
    async def late() -> None:
        await asyncio.sleep(0.001)
        raise OSError

    task = asyncio.current_task()
    assert task is not None
    with pytest.RaisesGroup(OSError):
        async with TaskGroup() as group:
            _ = spawn(group, asyncio.sleep(9), "other")
            _ = spawn(group, late(), "late")
    assert task.cancelling() == 0


async def test_a_cancellation_from_outside_is_not_taken_back() -> None:
    began, counts = asyncio.Event(), []

    async def stubborn() -> None:
        try:
            await asyncio.sleep(9)
        finally:
            raise OSError

    async def work() -> None:
        try:
            async with TaskGroup() as inner:
                _ = spawn(inner, stubborn(), "stubborn")
                began.set()
        except* OSError:
            task = asyncio.current_task()
            counts.append(None if task is None else task.cancelling())
            await asyncio.sleep(0)

    async with TaskGroup() as group:
        running = spawn(group, work(), "work")
        await began.wait()
        await asyncio.sleep(0)
        running.cancel()
    assert counts == [1], "the request is somebody else's"


@given(st.integers(), st.floats(0.01, 10), st.floats(10, 600))
def test_waits_are_jittered_below_a_ceiling_that_doubles(seed: int, base_s: float, cap_s: float) -> None:
    backoff = Backoff(base_s=base_s, cap_s=cap_s, rng=random.Random(seed))
    for attempt in range(50):
        assert 0 <= backoff.next_s() <= min(cap_s, base_s * 2**attempt)


def test_waits_fill_the_whole_range() -> None:
    backoff = Backoff(base_s=30, cap_s=30, rng=random.Random(1))
    waits = sorted(backoff.next_s() for _ in range(1_000))
    assert waits[0] < 0.3
    assert waits[-1] > 29.7
    assert 14 < sum(waits) / 1_000 < 16


def test_reset_starts_over() -> None:
    backoff = Backoff(base_s=1, cap_s=1_000, rng=random.Random(1))
    for _ in range(8):
        backoff.next_s()
    backoff.reset()
    assert backoff.next_s() <= 1


async def test_spawned_tasks_are_named_and_typed() -> None:
    async def answer() -> int:
        return 42

    async with asyncio.TaskGroup() as group:
        task = spawn(group, answer(), "deep-thought")
    assert (task.get_name(), task.result()) == ("deep-thought", 42)


@dataclass(slots=True)
class Flaky:
    """Fails as often as told, then works for the seconds told, again and again."""

    script: Sequence[tuple[Exception, float] | None]
    starts: int = 0

    async def run(self) -> None:
        step = self.script[self.starts]
        self.starts += 1
        if step is None:
            return
        error, after_s = step
        await asyncio.sleep(after_s)
        raise error


def no_wait() -> Backoff:
    return Backoff(base_s=0.0, cap_s=0.0)


def test_a_failing_component_is_started_again_until_it_ends_by_itself() -> None:
    flaky = Flaky([(OSError("a"), 0.0), (RuntimeError("b"), 0.0), (ExceptionGroup("c", [ValueError()]), 0.0), None])
    supervised = Supervised("flaky", flaky.run, backoff=no_wait())
    run(supervised.run())
    assert flaky.starts == 4
    assert supervised.failures == 3
    assert supervised.last_error == "ExceptionGroup"
    assert supervised.is_failing


def test_a_streak_of_failures_is_logged_once_at_its_beginning_and_once_at_its_end() -> None:
    script = [(OSError("secret detail"), 0.0)] * 5 + [(OSError(), 61.0), (OSError(), 0.0), None]
    supervised = Supervised("flaky", Flaky(script).run, backoff=no_wait())
    with capture_logs() as lines:
        run(supervised.run())
    assert [(line["event"], line["component"]) for line in lines] == [
        ("component.failed", "flaky"),
        ("component.recovered", "flaky"),
        ("component.failed", "flaky"),
    ]
    assert lines[1]["failures"] == 5
    assert lines[0]["error"] == "OSError"
    assert supervised.failures == 7


def test_the_back_off_starts_over_only_after_steady_work() -> None:
    backoff = Backoff(base_s=1, cap_s=1_000, rng=random.Random(3))
    resets: list[int] = []

    class Counting(Backoff):
        def reset(self) -> None:
            resets.append(flaky.starts)
            super().reset()

    backoff = Counting(base_s=1, cap_s=64, rng=random.Random(3))
    flaky = Flaky([(OSError(), 59.0), (OSError(), 61.0), (OSError(), 1.0), None])
    run(Supervised("flaky", flaky.run, backoff=backoff).run())
    assert resets == [2]


async def test_cancelling_a_supervised_component_ends_it() -> None:
    started = asyncio.Event()

    async def work() -> None:
        started.set()
        await asyncio.Event().wait()

    async with asyncio.TaskGroup() as group:
        task = spawn(group, Supervised("worker", work).run(), "worker")
        await started.wait()
        task.cancel()
    assert task.cancelled()


def test_cancelling_while_it_waits_for_the_next_try_ends_it_too() -> None:
    async def fail() -> None:
        raise OSError

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            supervised = Supervised("flaky", fail, backoff=Backoff(base_s=1e6, cap_s=1e6, rng=random.Random(1)))
            task = spawn(group, supervised.run(), "flaky")
            await asyncio.sleep(1)
            assert supervised.failures == 1
            task.cancel()

    run(main())


@dataclass(slots=True)
class Worker:
    """Works until cancelled; `stop_s` long for its goodbye."""

    name: str
    story: list[str] = field(default_factory=list)
    stop_s: float = 0.0
    error: Exception | None = None

    async def run(self) -> None:
        self.story.append(f"{self.name} began")
        try:
            if self.error is not None:
                raise self.error
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(self.stop_s)
            self.story.append(f"{self.name} ended")


def served(stop: asyncio.Event, *workers: Worker, grace_s: float = 10.0) -> Callable[[], None]:
    """Run `serve` in simulated time and stop it after a second."""

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            task = spawn(group, serve(workers, stop=stop, grace_s=grace_s), "serve")
            await asyncio.sleep(1)
            assert {item.name for item in workers} <= {item.get_name() for item in asyncio.all_tasks()}
            stop.set()
            await task

    return lambda: run(main())


def test_services_end_in_reverse_order_one_after_another() -> None:
    story: list[str] = []
    served(asyncio.Event(), *(Worker(name, story, stop_s=5) for name in ("store", "uplink", "api")))()
    assert story == ["store began", "uplink began", "api began", "api ended", "uplink ended", "store ended"]


def test_one_that_takes_too_long_does_not_hold_up_the_others() -> None:
    story: list[str] = []
    served(asyncio.Event(), Worker("store", story), Worker("slow", story, stop_s=60), grace_s=3)()
    assert story == ["store began", "slow began", "store ended", "slow ended"]


async def test_a_service_that_fails_ends_the_others_and_comes_through() -> None:
    story: list[str] = []
    with pytest.raises(ExceptionGroup) as caught:
        await serve([Worker("good", story), Worker("bad", story, error=OSError("port taken"))])
    assert [str(error) for error in caught.value.exceptions] == ["port taken"]
    assert story == ["good began", "bad began", "bad ended", "good ended"]


async def test_a_supervised_service_that_fails_leaves_its_siblings_alone() -> None:
    story: list[str] = []
    stop = asyncio.Event()
    flaky = Flaky([(OSError(), 0.0)] * 50)
    good = Worker("good", story)
    supervised = Supervised("flaky", flaky.run, backoff=no_wait())
    async with asyncio.TaskGroup() as group:
        task = spawn(group, serve([supervised, good], stop=stop), "serve")
        await wait_for(lambda: flaky.starts >= 10)
        assert story == ["good began"]
        stop.set()
        await task
    assert story == ["good began", "good ended"]


async def test_serve_ends_when_all_services_have_ended() -> None:
    async def nothing() -> None:
        return

    await serve([Supervised("one", nothing), Supervised("two", nothing)])


async def test_serve_without_services_waits_for_its_end() -> None:
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        task = spawn(group, serve([], stop=stop), "serve")
        await asyncio.sleep(0)
        assert not task.done()
        stop.set()


def test_cancelling_serve_ends_its_services() -> None:
    story: list[str] = []

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            task = spawn(group, serve([Worker("one", story), Worker("two", story)]), "serve")
            await asyncio.sleep(1)
            task.cancel()

    run(main())
    assert sorted(story[2:]) == ["one ended", "two ended"]
