"""The fixture itself: fresh databases, prepared copies, and what happens where PostgreSQL is missing."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from kit.store import Database
from support.stores import STORES, StoreFactory, required


async def _run(url: str, statement: str) -> list[object]:
    db = Database(url)
    try:
        async with db.write() as connection:
            result = await connection.execute(text(statement))
            return [row[0] for row in result] if result.returns_rows else []
    finally:
        await db.close()


@pytest.mark.parametrize("store", STORES)
async def test_databases_are_strangers(stores: StoreFactory, store: str) -> None:
    first, second = stores.empty(store), stores.empty(store)
    await _run(first, "CREATE TABLE only_here (id INTEGER)")
    with pytest.raises(DBAPIError):
        await _run(second, "SELECT * FROM only_here")
    stores.discard(first)
    stores.discard(second)


@pytest.mark.parametrize("store", STORES)
async def test_a_preparation_runs_once_and_every_copy_is_its_own(stores: StoreFactory, store: str) -> None:
    prepared: list[str] = []
    urls = [stores.prepared(store, f"test-{store}", prepared.append) for _ in range(2)]
    assert len(prepared) == 1
    assert len({*urls, *prepared}) == 3
    await _run(urls[0], "CREATE TABLE only_here (id INTEGER)")
    with pytest.raises(DBAPIError):
        await _run(urls[1], "SELECT * FROM only_here")


def test_without_postgresql_the_test_fails_unless_that_is_allowed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert required(tmp_path, {}) == tmp_path
    with pytest.raises(pytest.fail.Exception, match="apt-get install"):
        required(None, {})
    with pytest.raises(pytest.skip.Exception):
        required(None, {"KIOSK_ALLOW_NO_POSTGRES": "1"})
    assert "SKIPPED on PostgreSQL" in capsys.readouterr().out
