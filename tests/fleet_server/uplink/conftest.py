"""An ingest on each store, with two kiosks."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from kit.clock import ManualClock
from kit.store import Database
from support.ingest import FakeFleet, Ingest, kiosk, make_ingest


@pytest.fixture(autouse=True)
def collector_as_before() -> Iterator[None]:
    """Undo what the service asks of the cycle collector of its process, and spare it our own objects."""
    before = gc.get_threshold()
    gc.freeze()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


@pytest.fixture
def fleet() -> FakeFleet:
    return FakeFleet({kid: kiosk(kid, no) for no, kid in enumerate(("zzj-001", "zzj-002"), start=1)})


@pytest.fixture
async def ingest(fleet_db: Database, manual_clock: ManualClock, fleet: FakeFleet) -> Ingest:
    """Give an ingest that does not run yet, once on each store."""
    return make_ingest(fleet_db, manual_clock, fleet)


@pytest.fixture
async def sqlite_ingest(sqlite_fleet_db: Database, manual_clock: ManualClock, fleet: FakeFleet) -> Ingest:
    """Give an ingest on SQLite, for tests that are not about the store."""
    return make_ingest(sqlite_fleet_db, manual_clock, fleet)
