"""Both databases with the platform's schema."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from kit.store import Database, upgrade
from patient_platform.app import MIGRATIONS
from simulators.payments.keys import Keys, prepare
from support.stepped_site import SteppedSite, stepped_site
from support.stores import STORES, StoreFactory, postgres_server, stores

__all__ = ["postgres_server", "stores"]


@pytest.fixture(params=STORES)
def platform_url(request: pytest.FixtureRequest, stores: StoreFactory) -> Iterator[str]:
    """Run the test twice, on a migrated SQLite file and on a migrated PostgreSQL database."""
    url = stores.prepared(request.param, "patient", lambda empty: upgrade(empty, MIGRATIONS))
    yield url
    stores.discard(url)


@pytest.fixture
def sqlite_platform_url(stores: StoreFactory) -> Iterator[str]:
    """Give a migrated SQLite file, for tests that are not about the store."""
    url = stores.prepared("sqlite", "patient", lambda empty: upgrade(empty, MIGRATIONS))
    yield url
    stores.discard(url)


@pytest.fixture
async def database(platform_url: str) -> AsyncIterator[Database]:
    """Give the database of `platform_url`."""
    found = Database(platform_url)
    yield found
    await found.close()


@pytest.fixture(scope="session")
def site_keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Make the wallets' keys once; they are slow."""
    return prepare(tmp_path_factory.mktemp("site-keys"))


@pytest.fixture
async def till(site_keys: Keys, tmp_path: Path, sqlite_platform_url: str) -> AsyncIterator[SteppedSite]:
    """Run everything but time."""
    async with stepped_site(site_keys, tmp_path, sqlite_platform_url) as found:
        yield found
