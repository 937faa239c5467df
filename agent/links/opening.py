"""Finds a device node and opens it in a thread of its own: opening may hang in a driver of the kernel."""

from __future__ import annotations

import glob
import os
import threading
from collections.abc import Callable
from contextlib import suppress

from agent.links.base import LinkLost
from kit.blocking import CallTimeout, DeviceThread

OPEN_S = 5.0


async def opened(name: str, work: Callable[[], int], *, timeout_s: float = OPEN_S) -> int:
    """The descriptor that `work` gives; one that comes too late is closed again.

    Raises:
        LinkLost: it could not be opened, or not in time.
    """
    attempt = _Attempt(work)
    thread = DeviceThread(f"open {name}")
    fd: int | None = None
    try:
        fd = await thread.call(attempt.run, timeout_s=timeout_s)
    except CallTimeout:
        raise LinkLost(f"{name}: not opened in {timeout_s:g} s") from None
    except OSError as error:
        raise LinkLost(f"{name}: {error.strerror or error}") from error
    finally:
        thread.close(timeout_s=0.0)
        if fd is None:
            attempt.give_up()
    return fd


class _Attempt:
    def __init__(self, work: Callable[[], int]) -> None:
        self._work = work
        self._lock = threading.Lock()
        self._fd: int | None = None
        self._is_wanted = True

    def run(self) -> int:
        fd = self._work()
        with self._lock:
            self._fd = fd
            is_wanted = self._is_wanted
        if not is_wanted:
            shut(fd)
        return fd

    def give_up(self) -> None:
        with self._lock:
            self._is_wanted = False
            fd = self._fd
        if fd is not None:
            threading.Thread(target=shut, args=(fd,), name="close late", daemon=True).start()


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


def shut(fd: int) -> None:
    """Close a descriptor, whatever state it is in."""
    with suppress(OSError):
        os.close(fd)
