"""Fixtures of the fleet server's tests: migrated stores of both kinds, a data directory, a real broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from fleet_server.app import MIGRATIONS
from fleet_server.registry.installation import Installation
from fleet_server.registry.provisioning import initialise
from fleet_server.settings import Settings
from kit.clock import SystemClock
from kit.store import Database, upgrade
from support.broker import BrokerProcess
from support.ports import free_port
from support.registry import Site
from support.stores import STORES, StoreFactory, database_url, postgres_server, stores

__all__ = ["database_url", "postgres_server", "stores"]


@pytest.fixture(params=STORES)
def fleet_url(request: pytest.FixtureRequest, stores: StoreFactory) -> Iterator[str]:
    """Run the test twice, on a migrated SQLite file and on a migrated PostgreSQL database."""
    url = stores.prepared(request.param, "fleet", lambda empty: upgrade(empty, MIGRATIONS))
    yield url
    stores.discard(url)


@pytest.fixture
def sqlite_fleet_url(stores: StoreFactory) -> Iterator[str]:
    """Give a migrated SQLite file, for tests that are not about the store."""
    url = stores.prepared("sqlite", "fleet", lambda empty: upgrade(empty, MIGRATIONS))
    yield url
    stores.discard(url)


@pytest.fixture
async def fleet_db(fleet_url: str) -> AsyncIterator[Database]:
    """Give the database of `fleet_url`."""
    database = Database(fleet_url)
    yield database
    await database.close()


@pytest.fixture
async def sqlite_fleet_db(sqlite_fleet_url: str) -> AsyncIterator[Database]:
    """Give the database of `sqlite_fleet_url`."""
    database = Database(sqlite_fleet_url)
    yield database
    await database.close()


@pytest.fixture
async def site(service_dir: Path, sqlite_fleet_url: str) -> AsyncIterator[Site]:
    """Run `fleet-server init` in a fresh directory and start Mosquitto with what it wrote."""
    settings = Settings.model_validate(
        {
            "data_dir": service_dir / "fleet",
            "database_url": sqlite_fleet_url,
            "lab": True,
            "broker": {"port": free_port(), "listen": "127.0.0.1"},
            "kiosk_api": {"host": "127.0.0.1", "port": 0},
            "http": {"host": "127.0.0.1", "port": 0},
        }
    )
    await initialise(settings, MIGRATIONS, SystemClock())
    installation = Installation(settings)
    authority = await asyncio.to_thread(installation.load_authority)
    async with BrokerProcess(conf_path=installation.conf_file, port=settings.broker.port) as broker:
        yield Site(settings, installation, authority, broker)
