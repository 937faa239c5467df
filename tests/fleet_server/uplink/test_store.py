"""The transaction that makes batches durable, on both stores: once each, all or nothing, holes and new epochs."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from datetime import timedelta

import psycopg
import pytest
import sqlalchemy.exc
from psycopg import errors

from fleet_server.telemetry.evidence import EvidenceSink
from fleet_server.telemetry.samples import SampleSink
from fleet_server.uplink.decode import BatchReader
from fleet_server.uplink.model import Outcome
from fleet_server.uplink.store import REJECTED_KEPT, StoreAway, StoreRefused, UplinkStore, WorkerStore, judged
from kit.store import Database, StoreBusy, StoreOptions
from support.ingest import AT, EPOCH, Document, FussySink, batch, event, later, rows, sample, sender, stored_seqs
from wire.uplink import RANGES_LIMIT

KID = "zzj-001"
REBUILT = "01JD0000000000000000000002"


def make_store(database: Database, *more: FussySink) -> UplinkStore:
    return UplinkStore(database, (SampleSink(database), EvidenceSink(database), *more))


async def commit(store: UplinkStore, *payloads: bytes, kiosk_no: int = 1, at_s: float = 0.0) -> Outcome:
    """One group of batches of one kiosk."""
    reader = BatchReader()
    found = [reader.read(payload, sender(f"zzj-{kiosk_no:03}", kiosk_no, later(at_s))) for payload in payloads]
    await store.open([item.header for item in found])
    return await store.commit([store.prepare(item) for item in found])


def receipt(outcome: Outcome, epoch: str = EPOCH, kid: str = KID) -> tuple[int, list[tuple[int, int]]]:
    return outcome.receipts[kid, epoch]


def samples(*seqs: int) -> list[Document]:
    return [sample(seq) for seq in seqs]


async def test_a_batch_is_stored_and_its_receipt_says_how_far(fleet_db: Database) -> None:
    outcome = await commit(make_store(fleet_db), batch([sample(1), event(2), sample(3)]))
    assert receipt(outcome) == (3, [])
    assert (outcome.stored, outcome.duplicates, outcome.deferred) == (3, 0, 0)
    assert await stored_seqs(fleet_db) == [1, 2, 3]


async def test_a_duplicate_gets_the_same_receipt_and_doubles_nothing(fleet_db: Database) -> None:
    store, payload = make_store(fleet_db), batch([sample(1), event(2), sample(5)])
    first = await commit(store, payload)
    again = await commit(store, payload)
    assert receipt(first) == receipt(again) == (2, [(5, 5)])
    assert (again.stored, again.duplicates) == (0, 3)
    assert await stored_seqs(fleet_db) == [1, 2, 5]


async def test_duplicates_within_one_group_are_stored_once(fleet_db: Database) -> None:
    payload = batch([sample(1), event(2)])
    outcome = await commit(make_store(fleet_db), payload, batch([event(2), sample(3)]), payload)
    assert (outcome.stored, outcome.duplicates) == (3, 3)
    assert await stored_seqs(fleet_db) == [1, 2, 3]


async def test_of_a_batch_that_is_there_in_part_only_the_rest_is_stored(fleet_db: Database) -> None:
    store = make_store(fleet_db)
    await commit(store, batch([sample(2), event(4) | {"record_class": "p0"}]))
    spoiled = sample(5) | {"values": None}
    outcome = await commit(store, batch([event(1), sample(2), sample(3), event(4), spoiled]))
    assert receipt(outcome) == (5, [])
    assert (outcome.stored, outcome.duplicates, outcome.rejected) == (2, 2, {KID: 1})
    assert await stored_seqs(fleet_db) == [1, 2, 3, 4]


async def test_what_comes_late_closes_its_hole(fleet_db: Database) -> None:
    store = make_store(fleet_db)
    assert receipt(await commit(store, batch(samples(100, 101)))) == (0, [(100, 101)])
    assert receipt(await commit(store, batch(samples(1, 2)))) == (2, [(100, 101)])
    assert receipt(await commit(store, batch(samples(*range(3, 100))))) == (101, [])


async def test_a_new_epoch_begins_at_one_again(fleet_db: Database) -> None:
    store = make_store(fleet_db)
    await commit(store, batch(samples(1, 2)))
    outcome = await commit(store, batch([sample(1, values={"cpu_percent": 77.0})], epoch=REBUILT))
    assert receipt(outcome, REBUILT) == (1, [])
    assert await stored_seqs(fleet_db) == [1, 1, 2]


async def test_two_kiosks_with_one_epoch_name_are_two_streams(fleet_db: Database) -> None:
    store = make_store(fleet_db)
    await commit(store, batch(samples(1, 2)))
    outcome = await commit(store, batch(samples(1)), kiosk_no=2)
    assert receipt(outcome, kid="zzj-002") == (1, [])
    assert (await stored_seqs(fleet_db), await stored_seqs(fleet_db, 2)) == ([1, 2], [1])


async def test_numbers_that_will_never_come_count_as_received(fleet_db: Database) -> None:
    store = make_store(fleet_db)
    outcome = await commit(store, batch(samples(4), void=[[1, 3], [6, 7]]))
    assert receipt(outcome) == (4, [(6, 7)])
    assert await stored_seqs(fleet_db) == [4]
    assert receipt(await commit(store, batch([], void=[[5, 5]]))) == (7, [])


async def test_a_stream_with_too_many_holes_takes_what_is_next_and_leaves_the_rest_to_be_sent_again(
    fleet_db: Database,
) -> None:
    store = make_store(fleet_db)
    odd = [[sample(seq) for seq in range(start, start + 1_000, 2)] for start in (3, 1_003, 2_003)]
    outcome = await commit(store, *(batch(each) for each in odd))
    assert outcome.deferred == 1_500 - RANGES_LIMIT
    through, ranges = receipt(outcome)
    assert (through, len(ranges)) == (0, RANGES_LIMIT)
    kept = await stored_seqs(fleet_db)
    assert kept == [first for first, _ in ranges], "the receipt names exactly what is in the store"
    filled = await commit(store, batch([sample(seq) for seq in range(1, 501)]))
    assert receipt(filled)[0] == 501
    again = await commit(store, batch(odd[2]))
    assert again.deferred == 500 - 250, "room for as many as were joined"


async def test_what_breaks_the_schema_is_kept_as_it_came(fleet_db: Database) -> None:
    store = make_store(fleet_db)
    nasty = sample(2) | {"values": {"cpu_percent": "\x00\ud800"}}
    outcome = await commit(store, batch([sample(1), nasty, event(3)]))
    assert receipt(outcome) == (3, [])
    assert outcome.rejected == {KID: 1}
    (row,) = await store.rejected(1)
    assert (row.seq, row.epoch, row.received_at) == (2, EPOCH, AT)
    assert "values" in row.reason
    assert '"\\u0000\\ud800"' in row.content
    assert await stored_seqs(fleet_db) == [1, 3]


async def test_records_set_aside_are_kept_for_a_while_and_no_more_than_so_many_of_a_kiosk(fleet_db: Database) -> None:
    store = make_store(fleet_db)
    for start in (1, 501, 1_001):
        bad = [{"seq": seq, "kind": "none"} for seq in range(start, start + 500)]
        await commit(store, batch(bad), at_s=0.0 if start == 1 else 3_600.0)
    await commit(store, batch([{"seq": 1, "kind": "none"}]), kiosk_no=2)
    await store.forget_rejected(AT - timedelta(days=1))
    kept = await rows(fleet_db, "SELECT kiosk_no, count(*), min(seq) FROM uplink_rejected GROUP BY 1 ORDER BY 1")
    assert kept == [(1, REJECTED_KEPT, 501), (2, 1, 1)]
    await store.forget_rejected(later(1.0))
    assert await rows(fleet_db, "SELECT DISTINCT kiosk_no FROM uplink_rejected") == [(1,)]
    await store.forget_rejected(later(3_601.0))
    assert await store.rejected(1) == []


async def test_all_or_nothing(fleet_db: Database) -> None:
    store = make_store(fleet_db, FussySink(frozenset({12})))
    with pytest.raises(StoreRefused, match=r"Unique|Integrity"):
        await commit(store, batch([sample(1), {"seq": 2, "kind": "none"}, event(3)]), batch(samples(11, 12)))
    assert await stored_seqs(fleet_db) == []
    assert await store.rejected(1) == []
    assert receipt(await commit(store, batch([]))) == (0, []), "and the cursor stayed where it was"


async def test_two_processes_take_the_same_batch_at_once(fleet_db: Database, fleet_url: str) -> None:
    """A broker may hand a batch to one worker and its repetition to another."""
    other_db = Database(fleet_url)
    try:
        payload = batch([sample(1), event(2), *samples(5, 6)])
        first, second = make_store(fleet_db), make_store(other_db)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(commit(store, payload)) for store in (first, second) for _ in range(2)]
        outcomes = [task.result() for task in tasks]
        assert [receipt(outcome) for outcome in outcomes] == [(2, [(5, 6)])] * 4
        assert sum(outcome.stored for outcome in outcomes) == 4
        assert await stored_seqs(fleet_db) == [1, 2, 5, 6]
    finally:
        await other_db.close()


async def test_streams_keep_their_numbers_over_a_restart(fleet_db: Database) -> None:
    first = make_store(fleet_db)
    await commit(first, batch(samples(1)))
    second, header = make_store(fleet_db), BatchReader().read(batch(samples(2)), sender()).header
    assert not second.knows(header)
    await second.load()
    assert second.knows(header)
    assert receipt(await commit(second, batch(samples(2)))) == (2, [])
    assert await rows(fleet_db, "SELECT count(*), sum(records) FROM uplink_stream") == [(1, 2)]


async def test_a_store_that_is_busy_is_away_and_comes_back(fleet_db: Database, fleet_url: str) -> None:
    hasty_db = Database(fleet_url, StoreOptions(busy_timeout_s=0.05, statement_timeout_s=0.1))
    try:
        store = make_store(hasty_db)
        await commit(store, batch(samples(1)))
        async with fleet_db.write() as connection:
            if fleet_url.startswith("postgresql"):
                driver = await fleet_db.driver_connection(connection)
                await driver.execute("LOCK TABLE uplink_stream")
            with pytest.raises(StoreAway):
                await commit(store, batch(samples(2)))
        assert receipt(await commit(store, batch(samples(2)))) == (2, [])
        assert await stored_seqs(fleet_db) == [1, 2]
    finally:
        await hasty_db.close()


FOREIGN = sqlalchemy.exc.DBAPIError
PASSING: Sequence[Exception] = (
    StoreBusy("busy"),
    OSError("disk"),
    ConnectionResetError("gone"),
    psycopg.OperationalError("connection failed"),
    errors.AdminShutdown("57P01"),
    errors.DiskFull("53100"),
    errors.SerializationFailure("40001"),
    errors.UndefinedTable("42P01"),
    FOREIGN("x", None, sqlite3.OperationalError("database or disk is full")),
    FOREIGN("x", None, errors.QueryCanceled("57014")),
)
LASTING: Sequence[Exception] = (
    errors.UniqueViolation("23505"),
    errors.NumericValueOutOfRange("22003"),
    psycopg.DataError("no state"),
    FOREIGN("x", None, sqlite3.IntegrityError("UNIQUE")),
    FOREIGN("x", None, errors.UntranslatableCharacter("22P05")),
    sqlalchemy.exc.StatementError("x", "INSERT", None, ValueError("a NUL character")),
    OverflowError("Python int too large to convert to SQLite INTEGER"),
    UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"),
)


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_what_passes_is_tried_again(error: Exception) -> None:
    with pytest.raises(StoreAway), judged():
        raise error


@pytest.mark.parametrize("error", LASTING, ids=repr)
def test_what_does_not_pass_is_the_contents_fault(error: Exception) -> None:
    with pytest.raises(StoreRefused), judged():
        raise error


async def test_workers_come_and_go(fleet_db: Database) -> None:
    workers = WorkerStore(fleet_db)
    assert not await workers.any_since(AT)
    await workers.seen("fleet-a", AT)
    await workers.seen("fleet-a", later(5.0))
    assert await workers.any_since(later(5.0))
    assert not await workers.any_since(later(6.0))
    await workers.seen("fleet-b", later(90_000.0))
    await workers.tidy(later(90_000.0))
    assert await rows(fleet_db, "SELECT name FROM uplink_worker") == [("fleet-b",)]
    await workers.gone("fleet-b")
    await workers.gone("fleet-b")
    assert not await workers.any_since(AT)
