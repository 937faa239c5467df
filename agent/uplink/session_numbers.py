"""The kiosk's session counter: one number per attempt to connect, on disk before it is used.

Numbers are promised in blocks, so an attempt costs no write. Without a readable file the count starts from the
wall clock in milliseconds, which lies above every number used before, also on a machine that was set up anew.
"""

from __future__ import annotations

import zlib
from pathlib import Path

from agent.uplink.files import write_whole
from kit.clock import Clock
from kit.logs import get_logger
from wire.presence import SESSION_LIMIT

log = get_logger(__name__)

BLOCK = 100
_LOW_WATER = 20


class SessionNumbers:
    """Rising numbers; `reserve` does I/O and belongs in a thread, `take` does none."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._last = 0
        self._promised = 0

    @property
    def is_low(self) -> bool:
        """Whether `reserve` should be called soon."""
        return self._promised - self._last < _LOW_WATER

    def load(self) -> None:
        """Continue behind the last promise, or start from the clock."""
        found = self._read()
        if found is None:
            found = max(1, int(self._clock.utc().timestamp() * 1_000))
            log.info("session.counter_started", number=found)
        self._last = self._promised = min(found, SESSION_LIMIT - BLOCK)

    def reserve(self) -> None:
        """Promise a block of numbers.

        Raises:
            OSError: the promise is not on disk; `take` goes on all the same.
        """
        through = min(max(self._promised, self._last) + BLOCK, SESSION_LIMIT)
        write_whole(self._path, _encode(through))
        self._promised = through

    def take(self) -> int:
        """The number of the next attempt.

        Beyond the promise it still rises: a full disk must not keep the kiosk offline.
        """
        self._last = min(self._last + 1, SESSION_LIMIT)
        return self._last

    def _read(self) -> int | None:
        try:
            content = self._path.read_bytes()
            number = int(content.split(b" ")[0])
        except (OSError, ValueError):
            return None
        return number if content == _encode(number) and number > 0 else None


def _encode(number: int) -> bytes:
    text = b"%d" % number
    return b"%b %d\n" % (text, zlib.crc32(text))
