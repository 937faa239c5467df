"""Finds a device node and opens it in a thread of its own: opening may hang in a driver of the kernel."""

from __future__ import annotations

import glob
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

from agent.links.base import LinkLost
from kit.blocking import CallTimeout, DeviceThread

T = TypeVar("T")
OPEN_S = 5.0


def shut(fd: int) -> None:
    """Close a descriptor, whatever state it is in."""
    with suppress(OSError):
        os.close(fd)


async def opened(name: str, work: Callable[[], T], let_go: Callable[[T], None], *, timeout_s: float = OPEN_S) -> T:
    """What `work` opens; `let_go` closes it again when it comes too late.

    Raises:
        LinkLost: it could not be opened, or not in time.
    """
    attempt = _Attempt(work, let_go)
    thread = DeviceThread(f"open {name}")
    is_over = False
    try:
        found = await thread.call(attempt.run, timeout_s=timeout_s)
        is_over = True
    except CallTimeout:
        raise LinkLost(f"{name}: not opened in {timeout_s:g} s") from None
    except OSError as error:
        is_over = True
        raise LinkLost(f"{name}: {error.strerror or error}") from error
    finally:
        thread.close(timeout_s=0.0)
        if not is_over:
            attempt.give_up()
    return found


class _Attempt(Generic[T]):
    def __init__(self, work: Callable[[], T], let_go: Callable[[T], None]) -> None:
        self._work = work
        self._let_go = let_go
        self._lock = threading.Lock()
        self._found: list[T] = []
        self._is_wanted = True

    def run(self) -> T:
        found = self._work()
        with self._lock:
            self._found.append(found)
            is_wanted = self._is_wanted
        if not is_wanted:
            self._let_go(found)
        return found

    def give_up(self) -> None:
        with self._lock:
            self._is_wanted = False
            found = list(self._found)
        for one in found:
            threading.Thread(target=self._let_go, args=(one,), name="close late", daemon=True).start()


def found_port(port: str) -> str:
    """The port's path: itself, or the only match of a wildcard.

    Raises:
        OSError: nothing matches, or more than one does.
    """
    if not glob.has_magic(port):
        return port
    found = sorted(glob.glob(port))  # noqa: PTH207 - an absolute pattern
    if len(found) != 1:
        raise OSError(f"{len(found)} ports match")
    return found[0]
