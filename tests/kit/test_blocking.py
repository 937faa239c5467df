from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import pytest

from kit.blocking import Abandoned, CallTimeout, DeviceThread
from support.waiting import wait_for

T = TypeVar("T")


@pytest.fixture
def thread() -> Iterator[DeviceThread]:
    made = DeviceThread("card-reader")
    yield made
    made.close()


def begin(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """A caller of its own, whose failure is the subject; every test awaits or cancels what it begins."""
    return asyncio.get_running_loop().create_task(work)


class Gate:
    """A call that hangs until it is let go."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.free = threading.Event()

    def pass_through(self) -> str:
        self.entered.set()
        self.free.wait(30)
        return "through"


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.free.set()


async def test_a_call_runs_in_the_named_thread_and_returns(thread: DeviceThread) -> None:
    def who(greeting: str) -> str:
        return f"{greeting} from {threading.current_thread().name}"

    assert await thread.call(who, "hello", timeout_s=5) == "hello from card-reader"


async def test_calls_run_one_after_another_in_order(thread: DeviceThread) -> None:
    seen: list[int] = []
    async with asyncio.TaskGroup() as group:
        for number in range(50):
            group.create_task(thread.call(seen.append, number, timeout_s=5))
    assert seen == list(range(50))


@pytest.mark.parametrize("error", [ValueError("bad frame"), KeyboardInterrupt(), asyncio.CancelledError("odd")])
async def test_an_exception_comes_through_and_the_thread_stays_usable(
    thread: DeviceThread, error: BaseException
) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        await thread.call(fail, timeout_s=5)
    assert caught.value is error
    assert await thread.call(lambda: 1, timeout_s=5) == 1


async def test_stop_iteration_comes_as_an_error_a_future_can_carry(thread: DeviceThread) -> None:
    with pytest.raises(RuntimeError, match="StopIteration"):
        await thread.call(next, iter(()), timeout_s=5)


async def test_a_call_that_overruns_is_abandoned_and_so_is_the_thread(thread: DeviceThread, gate: Gate) -> None:
    with pytest.raises(CallTimeout, match=r"card-reader: no result within 0.05 s"):
        await thread.call(gate.pass_through, timeout_s=0.05)
    assert thread.is_abandoned
    assert not thread.is_usable
    with pytest.raises(Abandoned, match="card-reader takes no more calls"):
        await thread.call(lambda: 1, timeout_s=5)


async def test_a_fresh_thread_works_beside_an_abandoned_one(thread: DeviceThread, gate: Gate) -> None:
    with pytest.raises(CallTimeout):
        await thread.call(gate.pass_through, timeout_s=0.01)
    fresh = DeviceThread("card-reader")
    assert await fresh.call(lambda: 2, timeout_s=5) == 2
    assert await asyncio.to_thread(fresh.close)


async def test_what_waits_behind_a_hanging_call_is_refused_at_once_and_never_runs(
    thread: DeviceThread, gate: Gate
) -> None:
    ran: list[str] = []
    hanging = begin(thread.call(gate.pass_through, timeout_s=0.2))
    await wait_for(gate.entered.is_set)
    behind = begin(thread.call(ran.append, "late", timeout_s=60))
    with pytest.raises(CallTimeout):
        await hanging
    with pytest.raises(Abandoned):
        await behind
    gate.free.set()
    assert await asyncio.to_thread(thread.close)
    assert ran == []


async def test_a_cancelled_caller_leaves_its_running_call_and_the_thread_goes_on(
    thread: DeviceThread, gate: Gate
) -> None:
    calling = begin(thread.call(gate.pass_through, timeout_s=5))
    await wait_for(gate.entered.is_set)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    gate.free.set()
    assert thread.is_usable
    assert await thread.call(lambda: 3, timeout_s=5) == 3


async def test_a_call_cancelled_before_it_began_never_runs(thread: DeviceThread, gate: Gate) -> None:
    ran: list[str] = []
    first = begin(thread.call(gate.pass_through, timeout_s=5))
    await wait_for(gate.entered.is_set)
    second = begin(thread.call(ran.append, "cancelled", timeout_s=5))
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    gate.free.set()
    assert await first == "through"
    await thread.call(ran.append, "after", timeout_s=5)
    assert ran == ["after"]


async def test_close_lets_earlier_calls_finish_and_refuses_later_ones(gate: Gate) -> None:
    thread = DeviceThread("printer")
    first = begin(thread.call(gate.pass_through, timeout_s=5))
    second = begin(thread.call(lambda: "second", timeout_s=5))
    await wait_for(gate.entered.is_set)
    assert not thread.close(timeout_s=0.0)
    with pytest.raises(Abandoned):
        await thread.call(lambda: 1, timeout_s=5)
    gate.free.set()
    assert (await first, await second) == ("through", "second")
    assert await asyncio.to_thread(thread.close)


async def test_close_tells_when_the_running_call_did_not_end(gate: Gate) -> None:
    thread = DeviceThread("printer")
    running = begin(thread.call(gate.pass_through, timeout_s=5))
    await wait_for(gate.entered.is_set)
    assert not await asyncio.to_thread(thread.close, timeout_s=0.01)
    gate.free.set()
    assert await running == "through"


def test_a_result_for_a_loop_that_is_gone_is_dropped() -> None:
    thread = DeviceThread("printer")
    gate = Gate()

    async def begin_and_leave() -> None:
        calling = begin(thread.call(gate.pass_through, timeout_s=5))
        await wait_for(gate.entered.is_set)
        calling.cancel()

    asyncio.run(begin_and_leave())
    gate.free.set()
    assert thread.close()
