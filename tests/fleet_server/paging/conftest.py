"""Fixtures of paging."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kit.clock import ManualClock
from kit.store import Database
from support.paging_desk import Desk, receiving


@pytest.fixture
async def desk(fleet_db: Database, manual_clock: ManualClock, tmp_path: Path) -> AsyncIterator[Desk]:
    """Give alarms, incidents and paging on both stores."""
    async with receiving() as receiver:
        found = await asyncio.to_thread(Desk, fleet_db, manual_clock, tmp_path, receiver)
        yield found
        await found.close()
