"""The fleet server's migrations produce what its models declare, forwards and back."""

from __future__ import annotations

import asyncio

from fleet_server.app import MIGRATIONS
from kit.store import check, downgrade, migrate, revisions


async def test_the_migrations_make_what_the_models_declare(fleet_url: str) -> None:
    await check(fleet_url, MIGRATIONS)
    current, newest = await revisions(fleet_url, MIGRATIONS)
    assert current == newest


async def test_every_migration_can_be_taken_back_and_done_again(database_url: str) -> None:
    await migrate(database_url, MIGRATIONS)
    await asyncio.to_thread(downgrade, database_url, MIGRATIONS, "base")
    await migrate(database_url, MIGRATIONS)
    await check(database_url, MIGRATIONS)
