"""One thread for one blocking device or library: calls in order, each with a deadline.

A call that overruns cannot be stopped, only abandoned. Its thread is then good for nothing more: every
later call fails with `Abandoned`, and the owner marks its device faulted and starts over with a new one.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")


class CallTimeout(TimeoutError):
    """The call overran its deadline; its effect is unknown and the thread is abandoned."""


class Abandoned(RuntimeError):
    """An earlier call on this thread overran its deadline, or the thread was closed."""


@dataclass(slots=True, eq=False)
class _Job:
    work: Callable[[], Any]
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[Any] = field(init=False)

    def __post_init__(self) -> None:
        self.answer = self.loop.create_future()


class DeviceThread:
    """Runs blocking calls one after another in a daemon thread of its own."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._waiting: set[_Job] = set()
        self._is_usable = True
        self._is_abandoned = False
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)
        self._thread.start()

    @property
    def is_usable(self) -> bool:
        """Whether calls are still taken."""
        return self._is_usable

    @property
    def is_abandoned(self) -> bool:
        """Whether a call overran its deadline; its effect may still happen."""
        return self._is_abandoned

    async def call(self, work: Callable[..., T], *arguments: object, timeout_s: float) -> T:
        """Run `work(*arguments)` in the thread and return its result; its exceptions come through.

        The deadline includes the wait for calls made before. A caller that is cancelled drops the result: a call that
        has begun runs to its end and the thread stays usable, one that has not begun never runs.

        Raises:
            CallTimeout: no result within `timeout_s`; the thread is abandoned.
            Abandoned: the thread takes no more calls, or was abandoned before this one began.
        """
        if not self._is_usable:
            raise self._refusal()
        job = _Job(lambda: work(*arguments), asyncio.get_running_loop())
        self._waiting.add(job)
        self._jobs.put(job)
        try:
            done, _ = await asyncio.wait((job.answer,), timeout=timeout_s)
        except asyncio.CancelledError:
            job.answer.cancel()
            raise
        finally:
            self._waiting.discard(job)
        if not done:
            self._abandon()
            raise CallTimeout(f"thread {self.name}: no result within {timeout_s:g} s")
        result: T = job.answer.result()
        return result

    def close(self, *, timeout_s: float = 5.0) -> bool:
        """Take no more calls and wait for those made before; False when they did not end in time.

        With `timeout_s` 0 nothing is waited for, so that it may be called from the event loop.
        """
        self._is_usable = False
        self._jobs.put(None)
        if timeout_s > 0:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _abandon(self) -> None:
        """What waits behind the call that hangs is refused now, and never runs should that call come back."""
        self._is_usable = False
        self._is_abandoned = True
        for job in self._waiting:
            if not job.answer.done():
                job.answer.set_exception(self._refusal())
                job.answer.exception()
        self._jobs.put(None)

    def _refusal(self) -> Abandoned:
        return Abandoned(f"thread {self.name} takes no more calls")

    def _loop(self) -> None:
        while (job := self._jobs.get()) is not None:
            if not self._is_abandoned and not job.answer.cancelled():
                _run(job)


def _run(job: _Job) -> None:
    try:
        result = job.work()
    except StopIteration as error:  # a future cannot carry it
        _answer(job, None, RuntimeError(f"the call raised {error!r}"))
    except BaseException as error:  # noqa: BLE001 - carried to the caller, whatever it is
        _answer(job, None, error)
    else:
        _answer(job, result, None)


def _answer(job: _Job, result: object, error: BaseException | None) -> None:
    def settle() -> None:
        if job.answer.done():
            return
        if error is None:
            job.answer.set_result(result)
        else:
            job.answer.set_exception(error)
            job.answer.exception()

    try:
        job.loop.call_soon_threadsafe(settle)
    except RuntimeError:  # the loop is closed: nobody waits any more
        return
