"""Time, injected: wall, monotonic, and the server's, so that a wrong clock is an input and not a surprise.

Nothing outside `kit` reads a clock by itself. Durations are always taken from `monotonic`.
"""

from __future__ import annotations

import secrets
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ULID_CHARACTERS = 26
_RANDOM_BITS = 80


class Clock(Protocol):
    """Where a component gets its time from."""

    def utc(self) -> datetime:
        """The wall clock, aware, UTC; may jump."""

    def monotonic(self) -> float:
        """Seconds that never go back, from an arbitrary start."""


class SystemClock:
    """The machine's clocks."""

    def utc(self) -> datetime:
        """See `Clock`."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """See `Clock`."""
        return time.monotonic()


class ManualClock:
    """A clock that stands still until told otherwise."""

    def __init__(self, start: datetime | None = None, monotonic_s: float = 1_000.0) -> None:
        self._utc = start if start is not None else datetime(2026, 1, 1, tzinfo=UTC)
        if self._utc.tzinfo is None:
            raise ValueError("the start of a clock needs a time zone")
        self._monotonic_s = monotonic_s

    def utc(self) -> datetime:
        """See `Clock`."""
        return self._utc

    def monotonic(self) -> float:
        """See `Clock`."""
        return self._monotonic_s

    def advance(self, seconds: float) -> None:
        """Let both clocks run on."""
        if seconds < 0:
            raise ValueError("a monotonic clock does not go back; use jump_wall")
        self._utc += timedelta(seconds=seconds)
        self._monotonic_s += seconds

    def jump_wall(self, seconds: float) -> None:
        """Move the wall clock only, either way."""
        self._utc += timedelta(seconds=seconds)


class ServerTime:
    """The server's time as last heard, carried on by the monotonic clock.

    Between two observations a jump of the own wall clock therefore shows up in `offset_s` at once.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._server_utc: datetime | None = None
        self._heard_s = 0.0

    def observe(self, server_utc: datetime, *, round_trip_s: float = 0.0) -> None:
        """Take note of the server's time; half the round trip is added for the way back."""
        self._server_utc = server_utc + timedelta(seconds=round_trip_s / 2)
        self._heard_s = self._clock.monotonic()

    @property
    def is_known(self) -> bool:
        """Whether the server was ever heard."""
        return self._server_utc is not None

    @property
    def offset_s(self) -> float | None:
        """Own wall clock minus server time in seconds; None until the server was heard."""
        if self._server_utc is None:
            return None
        return (self._clock.utc() - self._carried(self._server_utc)).total_seconds()

    def now(self) -> datetime:
        """Server time when known, the own wall clock until then."""
        return self._clock.utc() if self._server_utc is None else self._carried(self._server_utc)

    def _carried(self, server_utc: datetime) -> datetime:
        return server_utc + timedelta(seconds=self._clock.monotonic() - self._heard_s)


class _UlidSource:
    """Keeps the last ULID, so that those of one process rise even within a millisecond or after a wall jump."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def next(self, clock: Clock) -> str:
        milliseconds = max(0, int(clock.utc().timestamp() * 1_000))
        number = milliseconds << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
        with self._lock:
            self._last = number = number if number > self._last else self._last + 1
        return "".join(_CROCKFORD[number >> shift & 0x1F] for shift in range((_ULID_CHARACTERS - 1) * 5, -1, -5))


_ULIDS = _UlidSource()


def ulid(clock: Clock) -> str:
    """A new ULID, 26 characters; those of one process rise, whatever the wall clock does. Any thread may ask."""
    return _ULIDS.next(clock)
