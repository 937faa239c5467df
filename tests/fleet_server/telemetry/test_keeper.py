"""Tidying up: days made ahead, old ones dropped, evidence shortened from the front only and still provable."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from fleet_server.app import MIGRATIONS
from fleet_server.telemetry.chain import ChainProver, verify_stream
from fleet_server.telemetry.evidence import EvidenceSink
from fleet_server.telemetry.keeper import AHEAD_DAYS, BEHIND_DAYS, SLICE_ROWS, Keep, TelemetryKeeper
from fleet_server.telemetry.samples import SampleSink
from fleet_server.telemetry.store import TelemetryStore
from fleet_server.uplink.decode import BatchReader
from fleet_server.uplink.store import UplinkStore
from kit.clock import ManualClock
from kit.store import Database, upgrade
from support.ingest import AT, Document, batch, chain_of, chained, event, later, rows, sample, sender, stored_seqs
from support.registry import FakeAlarms
from support.stores import StoreFactory

DAY_S = 86_400.0
KEEP = Keep(telemetry_days=30, events_days=90)


class Names:
    def name_of(self, number: int) -> str | None:
        return f"zzj-{number:03}"


@pytest.fixture
def keeper(fleet_db: Database, manual_clock: ManualClock) -> TelemetryKeeper:
    return TelemetryKeeper(fleet_db, UplinkStore(fleet_db, ()), manual_clock, KEEP)


async def put(database: Database, clock: ManualClock, *records: Document, kiosk_no: int = 1) -> None:
    store = UplinkStore(database, (SampleSink(database), EvidenceSink(database)))
    found = BatchReader().read(batch(records), sender(f"zzj-{kiosk_no:03}", kiosk_no, clock.utc()))
    await store.open([found.header])
    await store.commit([store.prepare(found)])


async def partitions(database: Database) -> set[str]:
    found = await rows(
        database,
        "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
        " WHERE i.inhparent = 'telemetry_sample'::regclass",
    )
    return {row[0].removeprefix("telemetry_sample_") for row in found}


async def home_of(database: Database, seq: int) -> str:
    (row,) = await rows(database, "SELECT tableoid::regclass::text FROM telemetry_sample WHERE seq = :seq", seq=seq)
    return str(row[0]).removeprefix("telemetry_sample_")


async def test_samples_leave_when_they_are_old_and_not_before(
    fleet_db: Database, manual_clock: ManualClock, keeper: TelemetryKeeper
) -> None:
    await keeper.tidy()
    await put(fleet_db, manual_clock, sample(1), sample(2, at=later(-3 * DAY_S)), sample(3, at=later(-29 * DAY_S)))
    await put(fleet_db, manual_clock, sample(9, at=later(-3 * DAY_S)), kiosk_no=2)
    manual_clock.advance(2 * DAY_S)
    await keeper.tidy()
    assert (await stored_seqs(fleet_db, 1), await stored_seqs(fleet_db, 2)) == ([1, 2], [9])
    manual_clock.advance(26 * DAY_S)
    await keeper.tidy()
    assert (await stored_seqs(fleet_db, 1), await stored_seqs(fleet_db, 2)) == ([1], [])
    manual_clock.advance(4 * DAY_S)
    await keeper.tidy()
    assert await stored_seqs(fleet_db, 1) == []


async def test_more_old_rows_than_go_at_once(
    fleet_db: Database, manual_clock: ManualClock, keeper: TelemetryKeeper
) -> None:
    count = SLICE_ROWS + 500
    for first in range(1, count + 1, 500):
        old = (sample(seq, at=later(-40 * DAY_S)) for seq in range(first, first + 500))
        await put(fleet_db, manual_clock, *old)
    await put(fleet_db, manual_clock, sample(count + 1))
    await keeper.tidy()
    assert await stored_seqs(fleet_db) == [count + 1]


async def test_old_events_leave_except_evidence_that_is_not_proved(
    fleet_db: Database, manual_clock: ManualClock, keeper: TelemetryKeeper
) -> None:
    old = later(-91 * DAY_S)
    await put(fleet_db, manual_clock, event(1, at=old), event(2), chained(3, 2, "f" * 64, at=old))
    await keeper.tidy()
    assert await stored_seqs(fleet_db) == [2, 3]


async def test_a_shortened_chain_still_proves_the_rest_and_grows(
    fleet_db: Database, manual_clock: ManualClock, keeper: TelemetryKeeper
) -> None:
    store = TelemetryStore(fleet_db)
    prover = ChainProver(store, FakeAlarms(), Names(), manual_clock)
    links: list[Document] = []
    head = "0" * 64
    for number in range(1, 7):
        links.append(chained(number, number, head, at=later((number - 1) * 20 * DAY_S)))
        head = links[-1]["chain"]
    manual_clock.advance(81 * DAY_S)
    await put(fleet_db, manual_clock, *links[:5])
    prover.look_at(1)
    await prover.prove()
    manual_clock.advance(35 * DAY_S)
    await keeper.tidy()
    assert await stored_seqs(fleet_db) == [3, 4, 5]
    report = await verify_stream(store, 1, 1)
    assert (report.is_sound, report.proved_n) == (True, 5)
    await put(fleet_db, manual_clock, links[5])
    prover.look_at(1)
    await prover.prove()
    report = await verify_stream(store, 1, 1)
    assert (report.is_sound, report.proved_n, report.newest_n) == (True, 6, 6)


async def test_only_the_front_of_a_chain_leaves(
    fleet_db: Database, manual_clock: ManualClock, keeper: TelemetryKeeper
) -> None:
    """An old record behind a young one stays: without it the rest could not be proved."""
    store = TelemetryStore(fleet_db)
    prover = ChainProver(store, FakeAlarms(), Names(), manual_clock)
    first = chained(1, 1, "0" * 64, at=later(-100 * DAY_S))
    young = chained(2, 2, first["chain"], at=AT)
    old = chained(3, 3, young["chain"], at=later(-100 * DAY_S))
    await put(fleet_db, manual_clock, first, young, old)
    prover.look_at(1)
    await prover.prove()
    await keeper.tidy()
    assert await stored_seqs(fleet_db) == [2, 3]
    assert (await verify_stream(store, 1, 1)).proved_n == 3


async def test_a_chain_with_nothing_left_goes_on_from_where_it_was(
    fleet_db: Database, manual_clock: ManualClock, keeper: TelemetryKeeper
) -> None:
    store = TelemetryStore(fleet_db)
    prover = ChainProver(store, FakeAlarms(), Names(), manual_clock)
    links = chain_of(3)
    await put(fleet_db, manual_clock, *links[:2])
    prover.look_at(1)
    await prover.prove()
    manual_clock.advance(91 * DAY_S)
    await keeper.tidy()
    assert await stored_seqs(fleet_db) == []
    await put(fleet_db, manual_clock, links[2])
    prover.look_at(1)
    await prover.prove()
    report = await verify_stream(store, 1, 1)
    assert (report.is_sound, report.proved_n, report.newest_n) == (True, 3, 3)


async def test_records_set_aside_leave_with_the_samples(
    fleet_db: Database, manual_clock: ManualClock, keeper: TelemetryKeeper
) -> None:
    await put(fleet_db, manual_clock, {"seq": 1, "kind": "none"})
    await keeper.tidy()
    assert await rows(fleet_db, "SELECT seq FROM uplink_rejected") == [(1,)]
    manual_clock.advance(31 * DAY_S)
    await keeper.tidy()
    assert await rows(fleet_db, "SELECT seq FROM uplink_rejected") == []


@pytest.fixture
async def postgres_db(stores: StoreFactory) -> AsyncIterator[Database]:
    """Give a migrated PostgreSQL database: only there are partitions."""
    url = stores.prepared("postgresql", "fleet", lambda empty: upgrade(empty, MIGRATIONS))
    database = Database(url)
    yield database
    await database.close()
    stores.discard(url)


async def test_every_day_around_today_has_a_partition_and_old_ones_are_dropped(
    postgres_db: Database, manual_clock: ManualClock
) -> None:
    keeper = TelemetryKeeper(postgres_db, UplinkStore(postgres_db, ()), manual_clock, KEEP)
    await keeper.tidy()
    days = {f"{AT + timedelta(days=offset):%Y%m%d}" for offset in range(-BEHIND_DAYS, AHEAD_DAYS + 1)}
    assert await partitions(postgres_db) == days | {"default"}
    await put(postgres_db, manual_clock, sample(1), sample(2, at=later(-1.0)), sample(3, at=later(-20 * DAY_S)))
    assert [await home_of(postgres_db, seq) for seq in (1, 2, 3)] == ["20260302", "20260301", "default"]
    manual_clock.advance(30.5 * DAY_S)
    await keeper.tidy()
    assert "20260301" not in await partitions(postgres_db)
    assert await stored_seqs(postgres_db) == [1], "its day is only half over"
    assert await rows(postgres_db, "SELECT count(*) FROM telemetry_sample_default") == [(0,)]


async def test_a_day_whose_rows_came_too_early_stays_in_the_default_partition(
    postgres_db: Database, manual_clock: ManualClock
) -> None:
    keeper = TelemetryKeeper(postgres_db, UplinkStore(postgres_db, ()), manual_clock, KEEP)
    await put(postgres_db, manual_clock, sample(1))
    await keeper.tidy()
    assert "20260302" not in await partitions(postgres_db)
    assert await home_of(postgres_db, 1) == "default"
    assert "20260303" in await partitions(postgres_db), "one day does not hold up the others"


async def test_tidying_twice_changes_nothing(
    fleet_db: Database, manual_clock: ManualClock, keeper: TelemetryKeeper
) -> None:
    await put(fleet_db, manual_clock, sample(1), event(2), *chain_of(2, first_seq=3))
    for _ in range(2):
        await keeper.tidy()
        assert await stored_seqs(fleet_db) == [1, 2, 3, 4]
