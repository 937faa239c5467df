"""A migrated store for the fleet server that is watched."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fleet_server.app import MIGRATIONS
from kit.store import upgrade
from support.stores import StoreFactory, postgres_server, stores

__all__ = ["postgres_server", "stores"]


@pytest.fixture
def sqlite_fleet_url(stores: StoreFactory) -> Iterator[str]:
    """Give a migrated SQLite file."""
    url = stores.prepared("sqlite", "fleet", lambda empty: upgrade(empty, MIGRATIONS))
    yield url
    stores.discard(url)
