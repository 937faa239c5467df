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


@dataclass(slots=True)
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
        self._usable = True
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)
        self._thread.start()

    @property
    def is_usable(self) -> bool:
        """Whether calls are still taken."""
        return self._usable

    async def call(self, work: Callable[..., T], *arguments: object, timeout_s: float) -> T:
        """Run `work(*arguments)` in the thread and return its result; its exceptions come through.

        A caller that is cancelled leaves the call running: its result is dropped, the thread stays usable.

        Raises:
            CallTimeout: no result within `timeout_s`; the thread is abandoned.
            Abandoned: the thread takes no more calls.
        """
        if not self._usable:
            raise Abandoned(f"thread {self.name} takes no more calls")
        job = _Job(lambda: work(*arguments), asyncio.get_running_loop())
        self._jobs.put(job)
        done, _ = await asyncio.wait((job.answer,), timeout=timeout_s)
        if not done:
            self._usable = False
            self._jobs.put(None)
            raise CallTimeout(f"thread {self.name}: no result within {timeout_s:g} s")
        result: T = job.answer.result()
        return result

    def close(self, *, timeout_s: float = 5.0) -> bool:
        """Take no more calls and wait for the running one; False when it did not end in time.

        With `timeout_s` 0 nothing is waited for, so that it may be called from the event loop.
        """
        self._usable = False
        self._jobs.put(None)
        if timeout_s > 0:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _loop(self) -> None:
        while (job := self._jobs.get()) is not None:
            _run(job)


def _run(job: _Job) -> None:
    try:
        result = job.work()
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

    if not job.loop.is_closed():
        try:
            job.loop.call_soon_threadsafe(settle)
        except RuntimeError:  # the loop was closed in between: nobody waits any more
            return
