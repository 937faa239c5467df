"""Owning tasks: one TaskGroup, named tasks, orderly ends, restarts with jittered back-off, systemd's watchdog.

A component is an object with a `name` and `async def run()`. `serve` runs several until one fails or the
process is told to stop. `Supervised` wraps one whose failure must not end its siblings.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, TypeVar

from kit.logs import get_logger

T = TypeVar("T")
log = get_logger(__name__)

_FORGETS = sys.version_info < (3, 12)
_MICROSECONDS = 1_000_000
_WATCHDOG_SHARE = 3
STEADY_S = 60.0
GRACE_S = 10.0


class Service(Protocol):
    """A component of a process."""

    @property
    def name(self) -> str:
        """Names its task and its log lines."""

    async def run(self) -> None:
        """Work until cancelled or done."""


class Backoff:
    """Full jitter: a random wait between 0 and a ceiling that doubles up to `cap_s`."""

    def __init__(self, *, base_s: float, cap_s: float, rng: random.Random | None = None) -> None:
        self._base_s = base_s
        self._cap_s = cap_s
        self._rng = rng if rng is not None else random.Random()  # noqa: S311 - jitter, not cryptography
        self._tries = 0

    def next_s(self) -> float:
        """Seconds to wait before the next try."""
        ceiling_s = min(self._cap_s, self._base_s * 2.0 ** min(self._tries, 32))
        self._tries += 1
        return self._rng.uniform(0.0, ceiling_s)

    def reset(self) -> None:
        """Start over after a success."""
        self._tries = 0


class TaskGroup(asyncio.TaskGroup):
    """asyncio's own, without what Python 3.11 forgets: to take back the cancellation it asked its own task for.

    It asks when a child fails while the group waits for its children. A task that goes on after that counts as being
    cancelled for ever, and 3.11.2, Debian 12's, takes its next timeout for a cancellation: it ends without a word.
    """

    _parent_cancel_requested: bool
    _parent_task: asyncio.Task[Any]

    async def __aexit__(
        self, et: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        """See `asyncio.TaskGroup`."""
        was_asked = self._parent_cancel_requested
        try:
            await super().__aexit__(et, exc, tb)
        finally:
            if _FORGETS and self._parent_cancel_requested and not was_asked:
                self._parent_task.uncancel()


def spawn(group: asyncio.TaskGroup, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
    """Start a named task in a group."""
    return group.create_task(work, name=name)


class Supervised:
    """Restarts a failing component for ever; its siblings never notice.

    A streak of failures is logged once when it begins and once when it is over, that is after `steady_s` of work
    without a failure; then the back-off starts over as well.
    """

    def __init__(
        self,
        name: str,
        run: Callable[[], Coroutine[Any, Any, None]],
        *,
        backoff: Backoff | None = None,
        steady_s: float = STEADY_S,
    ) -> None:
        self.name = name
        self.failures = 0
        self.last_error: str | None = None
        """Kind of the last failure; None while the component works steadily."""
        self._run = run
        self._backoff = backoff if backoff is not None else Backoff(base_s=1.0, cap_s=60.0)
        self._steady_s = steady_s

    @property
    def is_failing(self) -> bool:
        """Whether it failed and has not worked steadily since."""
        return self.last_error is not None

    async def run(self) -> None:
        """Run the component until it ends by itself; start it again whenever it fails."""
        loop = asyncio.get_running_loop()
        while True:
            steady = loop.call_later(self._steady_s, self._recover)
            try:
                await self._run()
            except Exception as error:  # noqa: BLE001 - the one place where any failure means: start it again
                self._note(error)
            else:
                return
            finally:
                steady.cancel()
            await asyncio.sleep(self._backoff.next_s())

    def _recover(self) -> None:
        self._backoff.reset()
        if self.is_failing:
            self.last_error = None
            log.info("component.recovered", component=self.name, failures=self.failures)

    def _note(self, error: Exception) -> None:
        is_first = not self.is_failing
        self.failures += 1
        self.last_error = type(error).__name__
        if is_first:
            log.error("component.failed", component=self.name, error=self.last_error, exc_info=error)


class SdNotifier:
    """Talks to systemd (sd_notify(3)); does nothing where no NOTIFY_SOCKET is set."""

    name = "watchdog"

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        found = os.environ if environ is None else environ
        address = found.get("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        is_for_us = found.get("WATCHDOG_PID", "") in {"", str(os.getpid())}
        self._watchdog_s = int(found.get("WATCHDOG_USEC") or "0") / _MICROSECONDS if is_for_us else 0.0
        self._alive: Callable[[], bool] = lambda: True
        self._is_heard = True

    def watch(self, alive: Callable[[], bool]) -> None:
        """Pet the watchdog only while `alive()` says so."""
        self._alive = alive

    def ready(self) -> None:
        """The process serves."""
        self._send("READY=1")

    def stopping(self) -> None:
        """The process is on its way out."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={' '.join(text.splitlines())}")

    async def run(self) -> None:
        """Pet the watchdog three times an interval; without one there is nothing to do."""
        while self._watchdog_s > 0:
            if self._alive():
                self._send("WATCHDOG=1")
            await asyncio.sleep(self._watchdog_s / _WATCHDOG_SHARE)

    def _send(self, text: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as link:
            try:
                link.sendto(text.encode(), self._address)
            except OSError as error:
                if self._is_heard:
                    log.warning("systemd.unreachable", error=type(error).__name__)
                self._is_heard = False
            else:
                self._is_heard = True


async def serve(
    services: Sequence[Service],
    *,
    notifier: SdNotifier | None = None,
    stop: asyncio.Event | None = None,
    grace_s: float = GRACE_S,
) -> None:
    """Run all services until `stop` is set, SIGTERM or SIGINT arrives, all have ended, or one of them fails.

    They are cancelled in reverse order, each once the one after it has ended or `grace_s` passed. A second signal
    ends the process at once.

    Raises:
        ExceptionGroup: a service failed; the others were cancelled.
    """
    stopping = stop if stop is not None else asyncio.Event()
    restore = _on_signals(stopping)
    try:
        async with TaskGroup() as group:
            tasks = [spawn(group, service.run(), service.name) for service in services]
            over = spawn(group, _when_all_ended(tuple(tasks), stopping), "serve-end")
            if notifier is not None:
                tasks.insert(0, spawn(group, notifier.run(), notifier.name))
            await stopping.wait()
            over.cancel()
            if notifier is not None:
                notifier.stopping()
            for task in reversed(tasks):
                task.cancel()
                await asyncio.wait((task,), timeout=grace_s)
    finally:
        restore()


async def _when_all_ended(tasks: tuple[asyncio.Task[None], ...], stopping: asyncio.Event) -> None:
    if tasks:
        await asyncio.wait(tasks)
        stopping.set()


def _on_signals(stopping: asyncio.Event) -> Callable[[], None]:
    """The first SIGTERM or SIGINT asks for an orderly end, the second one gets the default treatment."""
    loop = asyncio.get_running_loop()
    caught = (signal.SIGTERM, signal.SIGINT)

    def asked(number: signal.Signals) -> None:
        log.info("process.stopping", signal=number.name)
        stopping.set()
        restore()

    def restore() -> None:
        for number in caught:
            loop.remove_signal_handler(number)

    try:
        for number in caught:
            loop.add_signal_handler(number, asked, number)
    except (ValueError, RuntimeError):
        return lambda: None  # not in the main thread: the owner of the process handles signals
    return restore
