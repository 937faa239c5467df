"""Fixtures of the system tests: a whole installation on either store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.hospital import Hospital, hospital
from support.stores import STORES, StoreFactory, database_url, postgres_server, stores

__all__ = ["database_url", "postgres_server", "stores"]


@pytest.fixture(params=STORES)
async def site(request: pytest.FixtureRequest, stores: StoreFactory, service_dir: Path) -> AsyncIterator[Hospital]:
    """An installation with a running broker, once on SQLite and once on PostgreSQL; servers are up to the test."""
    url = stores.empty(request.param)
    async with hospital(service_dir, url) as found:
        yield found
    stores.discard(url)


@pytest.fixture
async def sqlite_site(stores: StoreFactory, service_dir: Path) -> AsyncIterator[Hospital]:
    """An installation on SQLite, for tests that are not about the store."""
    url = stores.empty("sqlite")
    async with hospital(service_dir, url) as found:
        yield found
    stores.discard(url)
