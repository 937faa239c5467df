"""The registry in process, on a store, with a clock that the test moves."""

from __future__ import annotations

import pytest

from fleet_server.registry.pki import CertificateAuthority
from fleet_server.settings import Settings
from kit.clock import ManualClock
from kit.store import Database
from support.registry import Desk, make_desk


@pytest.fixture(scope="session")
def authority() -> CertificateAuthority:
    return CertificateAuthority.create(ManualClock().utc())


@pytest.fixture
async def desk(fleet_db: Database, manual_clock: ManualClock, authority: CertificateAuthority) -> Desk:
    """Give the registry, once on each store."""
    return make_desk(fleet_db, manual_clock, authority, Settings())


@pytest.fixture
async def sqlite_desk(sqlite_fleet_db: Database, manual_clock: ManualClock, authority: CertificateAuthority) -> Desk:
    """Give the registry on SQLite, for tests that are not about the store."""
    return make_desk(sqlite_fleet_db, manual_clock, authority, Settings())
