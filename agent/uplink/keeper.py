"""One spool in its own thread, and when it is not trusted any more."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from agent.uplink.salvage import Rebuilt
from agent.uplink.spool import Spool
from agent.uplink.spool_file import SpoolBusy, SpoolError, SpoolUnusable, State
from kit.blocking import Abandoned, CallTimeout, DeviceThread

T = TypeVar("T")
Opener = Callable[[], tuple[Spool, Rebuilt | None]]

OPEN_TIMEOUT_S = 120.0
CALL_TIMEOUT_S = 30.0


class Keeper:
    """Async access to one spool; after an error of the disk it is closed until `open` succeeds again."""

    def __init__(self, name: str, opener: Opener) -> None:
        self._name = name
        self._opener = opener
        self._thread: DeviceThread | None = None
        self._spool: Spool | None = None
        self._known: State | None = None

    @property
    def is_open(self) -> bool:
        """Whether records can be stored."""
        return self._spool is not None

    @property
    def state(self) -> State | None:
        """What was last known to be stored; None before the first success."""
        return self._known

    @property
    def oldest_kept_ms(self) -> int | None:
        """The age stamp of the oldest row."""
        return None if self._spool is None else self._spool.oldest_kept_ms

    async def open(self) -> Rebuilt | None:
        """Open the file, or open it again after it was given up; tells when it had to be rebuilt.

        Raises:
            SpoolError: it stays closed.
        """
        known = self._known

        def work() -> tuple[Spool, Rebuilt | None]:
            spool, rebuilt = self._opener()
            if known is not None and rebuilt is None:
                try:
                    spool.resume(known)
                except SpoolError:
                    spool.close(is_clean=False)
                    raise
            return spool, rebuilt

        spool, rebuilt = await self._run(work, OPEN_TIMEOUT_S)
        self._spool, self._known = spool, spool.state
        return rebuilt

    async def do(self, work: Callable[[Spool], T], *, timeout_s: float = CALL_TIMEOUT_S) -> T:
        """Run `work` on the spool.

        Raises:
            SpoolUnusable: closed, or closed now because the disk failed.
            SpoolError: the work failed.
        """
        spool = self._spool
        if spool is None:
            raise SpoolUnusable(f"{self._name} is closed")
        try:
            result = await self._run(lambda: work(spool), timeout_s)
        except (SpoolUnusable, SpoolBusy):
            await self.give_up()
            raise
        self._known = spool.state
        return result

    async def aside(self, work: Callable[[], T]) -> T:
        """Run other work on the same disk in the same thread.

        Raises:
            SpoolUnusable: it did not end in time.
            SpoolError: the work failed.
        """
        return await self._run(work, CALL_TIMEOUT_S)

    async def give_up(self) -> None:
        """Close without trusting anything; what the thread still does is not waited for when it hangs."""
        spool, self._spool = self._spool, None
        if spool is not None and self._thread is not None and self._thread.is_usable:
            await self._run(lambda: _close_dirty(spool), CALL_TIMEOUT_S)

    def forget(self) -> None:
        """Do not expect the file to continue what was known: it is rebuilt on purpose."""
        self._known = None

    async def close(self, *, is_clean: bool = True) -> None:
        """Close the file and end the thread.

        Raises:
            SpoolError: closed, but not clean.
        """
        spool, self._spool = self._spool, None
        try:
            if spool is not None:
                await self._run(lambda: spool.close(is_clean=is_clean), CALL_TIMEOUT_S)
        finally:
            if self._thread is not None:
                self._thread.close(timeout_s=0.0)
                self._thread = None

    async def _run(self, work: Callable[[], T], timeout_s: float) -> T:
        if self._thread is None or not self._thread.is_usable:
            self._thread = DeviceThread(self._name)
        try:
            return await self._thread.call(work, timeout_s=timeout_s)
        except (CallTimeout, Abandoned) as error:
            self._spool = None
            raise SpoolUnusable(f"{self._name} does not answer") from error


class Claim:
    """Settles between two threads whether a write has begun; a caller that is cancelled keeps what has not."""

    def __init__(self) -> None:
        self._tokens = [True]
        self._has_begun = False

    def begin(self) -> None:
        """Called in the thread that writes, once per try.

        Raises:
            SpoolUnusable: the write was called off.
        """
        if not self._has_begun and not self.revoke():
            raise SpoolUnusable("called off")
        self._has_begun = True

    def revoke(self) -> bool:
        """Take the only token; popping a list is atomic. Whether it was still there."""
        try:
            return self._tokens.pop()
        except IndexError:
            return False


def _close_dirty(spool: Spool) -> None:
    try:
        spool.close(is_clean=False)
    except SpoolError:
        return
