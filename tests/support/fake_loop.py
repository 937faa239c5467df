"""An event loop whose time stands still while anything runs and jumps to the next timer when all is idle.

A day of a hundred agents then takes seconds (reference on reliability, section 3.2, recipe 3). Everything that
uses `loop.time()`, so `asyncio.sleep`, `asyncio.timeout` and `call_later`, and everything that is given the same
`ManualClock`, lives in this one time. One integer seed orders what is due at the same instant.

Only for code without real sockets and threads: the loop does not wait for the outside, it jumps. `real_wait_s`
gives threads that much real time before each jump; a simulation that must repeat exactly leaves it at 0.
"""

from __future__ import annotations

import asyncio
import random
import selectors
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, Protocol, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_STUCK_ROUNDS = 200_000
_SAME_INSTANT_S = 1e-7


class RunningClock(Protocol):
    """The part of a manual clock this loop needs; `kit.clock.ManualClock` has it."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary start."""

    def advance(self, seconds: float) -> None:
        """Let it run on."""


class _PlainClock:
    """A clock for tests that need none of their own."""

    def __init__(self) -> None:
        self._now_s = 0.0

    def monotonic(self) -> float:
        return self._now_s

    def advance(self, seconds: float) -> None:
        self._now_s += seconds


class DeadlockError(AssertionError):
    """Nothing is ready and no timer is set, so nothing can ever happen again; names the waiting tasks."""


class LivelockError(AssertionError):
    """The loop went round very often without any time passing: something spins."""


class VirtualTimeError(AssertionError):
    """The simulated time limit passed."""


def _waiting(task: asyncio.Task[Any]) -> str:
    """Name of a task and the line it waits at."""
    frames = task.get_stack(limit=1)
    place = f"{frames[-1].f_code.co_filename}:{frames[-1].f_lineno}" if frames else "nowhere"
    return f"{task.get_name()} at {place}"


class _JumpingSelector(selectors.DefaultSelector):
    """Never blocks: a wait for the next timer becomes a jump of the clock."""

    def __init__(self) -> None:
        super().__init__()
        self.jump: Callable[[float | None], None] = lambda _: None
        self.real_wait_s = 0.0
        self.rounds = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.rounds += 1
        idle = timeout is None or timeout > 0
        events = super().select(self.real_wait_s if idle else 0)
        if idle and not events:
            self.jump(timeout)
        elif self.rounds > _STUCK_ROUNDS:
            raise LivelockError(f"{self.rounds} rounds without any time passing")
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    """The loop of the module's first sentence; make one with `run`."""

    def __init__(
        self, clock: RunningClock | None = None, *, seed: int = 0, limit_s: float = 1e9, real_wait_s: float = 0.0
    ) -> None:
        self.clock: RunningClock = clock or _PlainClock()
        self.random = random.Random(seed)
        self._limit_at_s = self.clock.monotonic() + limit_s
        self._limit_s = limit_s
        self._jumping = _JumpingSelector()
        self._jumping.jump = self._jump
        self._jumping.real_wait_s = real_wait_s
        super().__init__(self._jumping)

    def time(self) -> float:
        """Simulated seconds: the clock's."""
        return self.clock.monotonic()

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Do what every loop does, with the order of timers due at one instant chosen by the seed."""
        return super().call_at(when + self.random.random() * _SAME_INSTANT_S, callback, *args, context=context)

    def _jump(self, timeout: float | None) -> None:
        self._jumping.rounds = 0
        if timeout is None:
            tasks = "; ".join(sorted(_waiting(task) for task in asyncio.all_tasks(self)))
            raise DeadlockError(f"nothing is ready and no timer is set; waiting: {tasks or 'no task'}")
        self.clock.advance(timeout)
        if self.clock.monotonic() > self._limit_at_s:
            raise VirtualTimeError(f"{self._limit_s:g} simulated seconds have passed")


def run(
    main: Coroutine[Any, Any, T],
    *,
    clock: RunningClock | None = None,
    seed: int = 0,
    limit_s: float = 1e9,
    real_wait_s: float = 0.0,
) -> T:
    """Run `main` in simulated time and return its result; a failure tells the seed.

    Raises:
        DeadlockError: everything waits for something that cannot come.
        LivelockError: something spins without letting time pass.
        VirtualTimeError: `limit_s` simulated seconds passed first.
    """

    def new_loop() -> VirtualLoop:
        return VirtualLoop(clock, seed=seed, limit_s=limit_s, real_wait_s=real_wait_s)

    try:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            return runner.run(main)
    except BaseException as failure:
        failure.add_note(f"simulation seed {seed}")
        raise
