"""Staff on a store, with a clock that the test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kit.clock import ManualClock
from kit.store import Database
from support.staff import Desk, make_desk
from support.staff_site import StaffSite, staff_site


@pytest.fixture
async def desk(fleet_db: Database, manual_clock: ManualClock, tmp_path: Path) -> Desk:
    """Give staff, once on each store."""
    return make_desk(fleet_db, manual_clock, tmp_path)


@pytest.fixture
async def sqlite_desk(sqlite_fleet_db: Database, manual_clock: ManualClock, tmp_path: Path) -> Desk:
    """Give staff on SQLite, for tests that are not about the store."""
    return make_desk(sqlite_fleet_db, manual_clock, tmp_path)


@pytest.fixture
async def staff(sqlite_fleet_url: str, manual_clock: ManualClock, tmp_path: Path) -> AsyncIterator[StaffSite]:
    """Serve the whole staff API, on SQLite."""
    async with staff_site(sqlite_fleet_url, manual_clock, tmp_path) as site:
        yield site
