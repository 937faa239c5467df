"""Leases with two holders, on both dialects: one at a time, and a late holder cannot write."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, insert, select

from kit.store import Database, Lease, LeaseLost, Leases, lease_table

_METADATA = MetaData()
_WORK = Table("work", _METADATA, Column("version", Integer))
_TTL_S = 30.0


class _Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 23, tzinfo=UTC)

    def utc(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


@pytest.fixture
async def holders(database_url: str, clock: _Clock) -> AsyncIterator[tuple[Leases, Leases, Database]]:
    """Two processes with a pool each, as far as the database can tell."""
    table = lease_table(_METADATA)
    first, second = Database(database_url), Database(database_url)
    async with first.write() as connection:
        await connection.run_sync(_METADATA.create_all)
    yield Leases(first, table, clock), Leases(second, table, clock), first
    await first.close()
    await second.close()


async def _take(leases: Leases, holder: str) -> Lease:
    lease = await leases.acquire("duties", holder, _TTL_S)
    assert lease is not None
    return lease


async def test_only_one_of_two_gets_it(holders: tuple[Leases, Leases, Database]) -> None:
    first, second, _ = holders
    assert (await _take(first, "a")).version == 1
    assert await second.acquire("duties", "b", _TTL_S) is None


async def test_a_race_for_a_new_name_has_one_winner(holders: tuple[Leases, Leases, Database]) -> None:
    first, second, _ = holders
    for number in range(20):
        name = f"duty-{number}"
        async with asyncio.TaskGroup() as group:
            tries = [
                group.create_task(leases.acquire(name, holder, _TTL_S))
                for leases, holder in ((first, "a"), (second, "b"))
            ]
        assert len([one for one in tries if one.result() is not None]) == 1


async def test_a_race_for_an_expired_lease_has_one_winner(
    holders: tuple[Leases, Leases, Database], clock: _Clock
) -> None:
    first, second, _ = holders
    version = (await _take(first, "nobody")).version
    for _ in range(20):
        clock.advance(_TTL_S + 1)
        async with asyncio.TaskGroup() as group:
            tries = [
                group.create_task(leases.acquire("duties", holder, _TTL_S))
                for leases, holder in ((first, "a"), (second, "b"))
            ]
        won = [lease for one in tries if (lease := one.result()) is not None]
        assert [lease.version for lease in won] == [version + 1]
        version += 1


async def test_the_holder_keeps_its_version_while_it_prolongs(
    holders: tuple[Leases, Leases, Database], clock: _Clock
) -> None:
    first, second, _ = holders
    lease = await _take(first, "a")
    for _ in range(5):
        clock.advance(_TTL_S / 2)
        lease = await first.renew(lease, _TTL_S)
        assert await second.acquire("duties", "b", _TTL_S) is None
    assert lease.version == (await _take(first, "a")).version == 1


async def test_an_expired_lease_goes_to_the_other_with_a_higher_version(
    holders: tuple[Leases, Leases, Database], clock: _Clock
) -> None:
    first, second, _ = holders
    old = await _take(first, "a")
    clock.advance(_TTL_S)
    assert (await _take(second, "b")).version == old.version + 1
    with pytest.raises(LeaseLost):
        await first.renew(old, _TTL_S)
    await first.release(old)
    assert await first.acquire("duties", "a", _TTL_S) is None


async def test_an_own_expired_lease_is_a_new_one(holders: tuple[Leases, Leases, Database], clock: _Clock) -> None:
    first, _, _ = holders
    old = await _take(first, "a")
    clock.advance(_TTL_S)
    assert (await _take(first, "a")).version == old.version + 1
    with pytest.raises(LeaseLost):
        await first.renew(old, _TTL_S)


async def test_a_released_lease_is_free_at_once(holders: tuple[Leases, Leases, Database]) -> None:
    first, second, _ = holders
    await first.release(await _take(first, "a"))
    assert (await _take(second, "b")).version == 2


async def test_a_fenced_write_of_a_late_holder_is_rolled_back(
    holders: tuple[Leases, Leases, Database], clock: _Clock
) -> None:
    first, second, db = holders
    old = await _take(first, "a")
    clock.advance(_TTL_S + 1)
    new = await _take(second, "b")

    async def late_write() -> None:
        async with db.write() as connection:
            await connection.execute(insert(_WORK).values(version=old.version))
            await first.fence(connection, old)

    with pytest.raises(LeaseLost):
        await late_write()
    async with db.write() as connection:
        await second.fence(connection, new)
        await connection.execute(insert(_WORK).values(version=new.version))
    async with db.read() as connection:
        assert (await connection.execute(select(_WORK.c.version))).scalars().all() == [new.version]


async def test_nobody_takes_the_lease_while_a_fenced_transaction_is_open(
    holders: tuple[Leases, Leases, Database], clock: _Clock
) -> None:
    first, second, db = holders
    old = await _take(first, "a")
    clock.advance(_TTL_S + 1)
    async with asyncio.TaskGroup() as group, db.write() as connection:
        await first.fence(connection, old)
        rival = group.create_task(second.acquire("duties", "b", _TTL_S))
        done, _ = await asyncio.wait({rival}, timeout=0.2)
        assert not done, "the rival must wait for the end of the transaction"
        await connection.execute(insert(_WORK).values(version=old.version))
    taken = rival.result()
    assert taken is not None
    assert taken.version == old.version + 1


def test_the_table_is_declared_once() -> None:
    metadata = MetaData()
    assert lease_table(metadata) is lease_table(metadata)
