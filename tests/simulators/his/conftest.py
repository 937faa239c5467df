"""A kiosk at the simulated HIS."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kit.clock import ManualClock
from support.his_counter import START, Counter, counter


@pytest.fixture
def clock() -> ManualClock:
    """Stand still at ten o'clock in China."""
    return ManualClock(START)


@pytest.fixture
async def his(clock: ManualClock, tmp_path: Path) -> AsyncIterator[Counter]:
    """Give a kiosk at a running HIS."""
    async with counter(tmp_path, clock) as found:
        yield found
