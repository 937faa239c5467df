"""Wait for a condition, never for a time: the replacement of every sleep in a test."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

T = TypeVar("T")

POLL_S = 0.01


class WaitTimeout(AssertionError):
    """The condition did not come true in time; the text says which one and what was seen last."""


def _timed_out(what: str, timeout_s: float, last: object) -> WaitTimeout:
    return WaitTimeout(f"waited {timeout_s:g} s for {what or 'a condition'}; last seen: {last!r}")


@overload
async def wait_for(
    condition: Callable[[], Awaitable[T]], *, timeout_s: float = 5.0, what: str = "", poll_s: float = POLL_S
) -> T: ...


@overload
async def wait_for(
    condition: Callable[[], T], *, timeout_s: float = 5.0, what: str = "", poll_s: float = POLL_S
) -> T: ...


async def wait_for(
    condition: Callable[[], T | Awaitable[T]],
    *,
    timeout_s: float = 5.0,
    what: str = "",
    poll_s: float = POLL_S,
) -> T:
    """Return the first true value of `condition`, a plain or an async function without arguments.

    Raises:
        WaitTimeout: `timeout_s` passed first.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        outcome = condition()
        if inspect.isawaitable(outcome):
            try:
                async with asyncio.timeout(max(0.0, deadline - time.monotonic()) + poll_s):
                    value: T = await outcome
            except TimeoutError as late:
                raise _timed_out(what, timeout_s, "the condition itself hung") from late
        else:
            value = outcome
        if value:
            return value
        if time.monotonic() >= deadline:
            raise _timed_out(what, timeout_s, value)
        await asyncio.sleep(poll_s)


def wait_until(
    condition: Callable[[], T],
    *,
    timeout_s: float = 5.0,
    what: str = "",
    poll_s: float = POLL_S,
) -> T:
    """Do what `wait_for` does, for tests without an event loop.

    Raises:
        WaitTimeout: `timeout_s` passed first.
    """
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise _timed_out(what, timeout_s, value)
        pause.wait(poll_s)
