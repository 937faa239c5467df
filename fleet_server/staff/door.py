"""Slows network addresses down whose tries do not succeed; never locks anybody out."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final

from kit.clock import Clock

_SOURCES_KEPT: Final = 10_000
_DELAY_CAP_S: Final = 8.0
_FREE_FAILURES: Final = 3
_FORGIVE_AFTER: Final = timedelta(minutes=15)


class Door:
    """Where everybody passes who is not signed in and shows a secret."""

    def __init__(self, clock: Clock, sleep: Callable[[float], Awaitable[None]]) -> None:
        """Nobody has failed yet."""
        self._clock = clock
        self._sleep = sleep
        self._failures: OrderedDict[str, tuple[int, datetime]] = OrderedDict()

    async def admit(self, source: str) -> None:
        """Let an address try after its delay. The try counts at once, so that many in parallel wait too."""
        now = self._clock.utc()
        delay_s = self._delay_s(source, now)
        count, last = self._failures.pop(source, (0, now))
        self._failures[source] = (1 if now - last > _FORGIVE_AFTER else count + 1, now)
        while len(self._failures) > _SOURCES_KEPT:
            self._failures.popitem(last=False)
        if delay_s > 0:
            await self._sleep(delay_s)

    def forgive(self, source: str) -> None:
        """Forget the failures of an address: its try succeeded."""
        self._failures.pop(source, None)

    def _delay_s(self, source: str, now: datetime) -> float:
        count, last = self._failures.get(source, (0, now))
        if now - last > _FORGIVE_AFTER or count < _FREE_FAILURES:
            return 0.0
        return float(min(_DELAY_CAP_S, 0.25 * 2.0 ** (count - _FREE_FAILURES)))
