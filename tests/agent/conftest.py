"""A kiosk's outbox on a temporary directory, with a clock the test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kit.clock import ManualClock
from support.kiosk_outbox import Kiosk, start_kiosk


@pytest.fixture
def clock() -> ManualClock:
    """Give a clock that stands still."""
    return ManualClock(datetime(2026, 3, 1, 8, 0, tzinfo=UTC))


@pytest.fixture
async def kiosk(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Kiosk]:
    """Give an open outbox."""
    made = await start_kiosk(tmp_path, clock)
    yield made
    await made.outbox.close()
