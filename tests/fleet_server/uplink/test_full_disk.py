"""The server's disk is full: no receipt, nothing lost, and it goes on by itself when there is room again."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing

import pytest

from fleet_server.app import MIGRATIONS
from fleet_server.uplink.metrics import RETRIES
from kit.clock import ManualClock
from kit.store import Database, upgrade
from support.ingest import FakeFleet, Ingest, batch, make_ingest, running, sample, stored_seqs
from support.small_disk import SmallDisk
from support.waiting import wait_for

KID = "zzj-001"


@pytest.fixture
def disk() -> Iterator[SmallDisk]:
    with SmallDisk(size_bytes=8 << 20) as found:
        yield found


@pytest.fixture
async def database(disk: SmallDisk) -> AsyncIterator[Database]:
    url = f"sqlite:///{disk.path}/fleet.db"
    await asyncio.to_thread(upgrade, url, MIGRATIONS)
    found = Database(url)
    yield found
    await found.close()


def fill(disk: SmallDisk) -> None:
    """Leave no room, neither on the disk nor in the write-ahead log."""
    with closing(sqlite3.connect(disk.path / "fleet.db", timeout=5.0)) as connection:
        assert connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    disk.fill()


def retries(ingest: Ingest) -> float:
    (family,) = ingest.metrics.counter(RETRIES).collect()
    return sum(item.value for item in family.samples if item.name.endswith("_total"))


async def test_kiosks_keep_their_data_while_the_disk_is_full(
    disk: SmallDisk, database: Database, manual_clock: ManualClock, fleet: FakeFleet
) -> None:
    async with running(make_ingest(database, manual_clock, fleet)) as ingest:
        assert (await ingest.send(KID, batch([sample(1)]))).through_seq == 1
        await asyncio.to_thread(fill, disk)
        ingest.broker.put(KID, batch([sample(seq) for seq in range(2, 302)]))
        await wait_for(lambda: retries(ingest) > 0, what="the disk to refuse")
        assert [receipt.through_seq for receipt in ingest.broker.receipts(KID)] == [1]
        disk.free()
        await wait_for(
            lambda: ingest.broker.receipts(KID)[-1].through_seq == 301, what="the receipt once there is room"
        )
    assert await stored_seqs(database) == list(range(1, 302))
