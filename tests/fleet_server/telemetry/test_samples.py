"""Samples on their way into both stores: the same rows by COPY and by INSERT, and the newest one of each kiosk."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncConnection

from fleet_server.telemetry.copying import any_rows, common_rows
from fleet_server.telemetry.samples import SampleSink
from fleet_server.telemetry.store import TelemetryStore
from fleet_server.uplink.decode import BatchReader
from fleet_server.uplink.model import Incoming, Samples, Stream, to_us
from fleet_server.uplink.store import StoreAway, UplinkStore
from kit.store import Database, Dialect, StoreBusy, StoreOptions
from support.ingest import AT, EPOCH, Document, batch, later, rows, sample, sender
from support.waiting import wait_for

KID = "zzj-001"
CENTURIES = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
ODD: Sequence[Document] = (
    sample(1, values={}),
    sample(2, values={"cpu_percent": -0.0, "load_1m": 1e-300, "own_metric": 1.7e308}),
    sample(3, values={"memory_available_bytes": float(2**53), "temperature_c": 36.6}, span_s=59.5, samples=4),
    sample(4, component="receipt_printer.main-1", hist=True),
    sample(5, component="receipt_printer", span_s=1e-9, hist=True),
    sample(6, at=CENTURIES[0]),
    sample(7, at=CENTURIES[1]),
    sample(8, at=datetime(1999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)),
    sample(2**62, at=later(-0.000001)),
)
STORED = (
    "SELECT seq, at, kiosk_at, received_at, hist, span_s, component, sample"
    " FROM telemetry_sample WHERE kiosk_no = :no ORDER BY stream_no, seq"
)


def read(*records: Document, kiosk_no: int = 1, received: datetime = AT) -> Incoming:
    return BatchReader().read(batch(records), sender(f"zzj-{kiosk_no:03}", kiosk_no, received))


async def put(database: Database, *batches: Incoming, sink: SampleSink | None = None) -> SampleSink:
    """Commit batches in one group."""
    sink = sink or SampleSink(database)
    store = UplinkStore(database, (sink,))
    await store.open([item.header for item in batches])
    await store.commit([store.prepare(item) for item in batches])
    return sink


def expected(found: Incoming) -> list[tuple[Any, ...]]:  # Any: columns
    """The rows as they must be, from the columns alone."""
    given = found.samples
    received_us = found.header.sender.received_us
    return [
        (
            seq,
            given.at_us[place],
            min(max(given.kiosk_us[place], to_us(CENTURIES[0])), to_us(CENTURIES[1])),
            received_us,
            bool(given.hist[place]),
            given.span_s[place],
            given.component[place],
            dict(given.values[place]),
        )
        for place, seq in enumerate(given.seqs)
    ]


async def stored(database: Database, kiosk_no: int = 1) -> list[tuple[Any, ...]]:  # Any: columns
    found = await rows(database, STORED, no=kiosk_no)
    return [tuple(map(_plain, row)) for row in found]


def _plain(value: Any) -> Any:  # noqa: ANN401 - a column of either store
    """The same for both stores: instants as microseconds, documents as dictionaries."""
    if isinstance(value, datetime):
        return to_us(value)
    return json.loads(value) if isinstance(value, str) and value.startswith("{") else value


async def test_every_column_of_every_row_is_what_came(fleet_db: Database) -> None:
    """Both stores are compared with the same expectation, so they are equal to each other."""
    odd, plain = read(*ODD), read(*(sample(seq, hist=seq % 3 == 0) for seq in range(1, 101)), kiosk_no=2)
    await put(fleet_db, odd, plain)
    close = 200_000 * 1_000_000  # the kiosk's own time is moved a little at both ends of the calendar
    for found, wanted in zip(await stored(fleet_db), expected(odd), strict=True):
        assert abs(found[2] - wanted[2]) <= close
        assert found[:2] + found[3:] == wanted[:2] + wanted[3:]
    assert await stored(fleet_db, 2) == expected(plain)


@pytest.mark.parametrize("count", [1, 39, 40, 41, 399, 441, 881])
async def test_no_row_is_lost_between_statements_of_different_sizes(sqlite_fleet_db: Database, count: int) -> None:
    batches = [
        read(*(sample(seq) for seq in range(first, min(first + 400, count + 1)))) for first in range(1, count + 1, 400)
    ]
    await put(sqlite_fleet_db, *batches)
    assert [row[0] for row in await stored(sqlite_fleet_db)] == list(range(1, count + 1))


NUMBERS = st.integers(0, 2**62)
MOMENTS = st.integers(to_us(CENTURIES[0]), to_us(CENTURIES[1]))


@given(st.lists(st.tuples(NUMBERS, MOMENTS, MOMENTS, st.booleans()), min_size=1, max_size=5), st.integers(1, 2**31 - 1))
def test_the_short_way_of_writing_common_rows_writes_the_same_bytes(
    items: list[tuple[int, int, int, bool]], kiosk_no: int
) -> None:
    seqs, at_us, kiosk_us, hist = map(list, zip(*items, strict=True))
    given = Samples(seqs, at_us, kiosk_us, hist, ["host"] * len(items), [None] * len(items), [{}] * len(items))
    documents = [b'{"cpu_percent":1.0}'] * len(items)
    key = (kiosk_no, 7, to_us(AT))
    assert common_rows(*key, given, documents) == any_rows(*key, given, documents)


async def latest(database: Database) -> dict[str, tuple[datetime, dict[str, float]]]:
    return {item.kid: (item.at, item.values) for item in await TelemetryStore(database).latest_since(-1)}


async def test_the_newest_sample_of_each_kiosk_is_kept_and_late_ones_do_not_replace_it(fleet_db: Database) -> None:
    newest = {"cpu_percent": 2.0}
    sink = await put(
        fleet_db,
        read(sample(1, at=later(-60), values={"cpu_percent": 1.0}), sample(2, at=later(-30), values=newest)),
        read(sample(1, at=later(-90), values={"load_1m": 9.0}), kiosk_no=2),
    )
    await sink.flush()
    both = {KID: (later(-30), newest), "zzj-002": (later(-90), {"load_1m": 9.0})}
    assert await latest(fleet_db) == both
    await put(fleet_db, read(sample(3, at=later(-3_600), hist=True)), sink=sink)
    await sink.flush()
    assert await latest(fleet_db) == both, "what is sent late is not news"
    other_process = await put(fleet_db, read(sample(4, at=later(-31))))
    await other_process.flush()
    assert await latest(fleet_db) == both


async def test_only_the_host_is_shown_as_the_kiosks_newest(fleet_db: Database) -> None:
    sink = await put(fleet_db, read(sample(1, at=later(-9)), sample(2, component="printer"), sample(3, at=later(-12))))
    await sink.flush()
    assert await latest(fleet_db) == {KID: (later(-9), {"cpu_percent": 1.0})}
    alone = await put(fleet_db, read(sample(4, component="printer")))
    await alone.flush()
    assert (await latest(fleet_db))[KID][0] == later(-9)


async def test_every_flush_has_a_higher_number_so_that_nobody_misses_it(fleet_db: Database) -> None:
    store, sink = TelemetryStore(fleet_db), SampleSink(fleet_db)
    seen: list[int] = []
    for seq in range(1, 4):
        await put(fleet_db, read(sample(seq, at=later(seq - 10))), sink=sink)
        await sink.flush()
        found = await store.latest_since(seen[-1] if seen else -1)
        assert [item.kid for item in found] == [KID]
        seen.append(found[0].change_seq)
    assert all(earlier < following for earlier, following in pairwise(seen))
    assert await store.latest_since(seen[-1]) == []


async def test_what_could_not_be_written_is_written_later_unless_something_newer_came(
    fleet_db: Database, fleet_url: str
) -> None:
    hasty_db = Database(fleet_url, StoreOptions(busy_timeout_s=0.05, statement_timeout_s=0.1))
    try:
        sink = await put(hasty_db, read(sample(1, at=later(-20))), read(sample(1, at=later(-20)), kiosk_no=2))
        async with fleet_db.write() as connection:
            if fleet_db.dialect is Dialect.POSTGRESQL:
                driver = await fleet_db.driver_connection(connection)
                await driver.execute("LOCK TABLE telemetry_change")
            with pytest.raises(StoreAway):
                await sink.flush()
        await put(hasty_db, read(sample(2, at=later(-10), values={"cpu_percent": 50.0})), sink=sink)
        await put(hasty_db, read(sample(3, at=later(-15), hist=True)), sink=sink)
        await sink.flush()
        assert await latest(fleet_db) == {
            KID: (later(-10), {"cpu_percent": 50.0}),
            "zzj-002": (later(-20), {"cpu_percent": 1.0}),
        }
    finally:
        await hasty_db.close()


class Interrupted(Database):
    """A database that is away once, after something else has happened meanwhile."""

    meanwhile: Callable[[], None] | None = None

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
            raise StoreBusy("test")
        async with super().write() as connection:
            yield connection


async def test_what_comes_in_while_a_write_fails_is_newer_than_what_failed(sqlite_fleet_url: str) -> None:
    database = Interrupted(sqlite_fleet_url)
    try:
        sink = await put(database, read(sample(1, at=later(-20.0))), read(sample(1, at=later(-20.0)), kiosk_no=2))
        newer = sink.prepare(read(sample(2, at=later(-10.0))), Stream(1, EPOCH))
        assert newer is not None
        database.meanwhile = lambda: sink.committed([newer])
        with pytest.raises(StoreAway):
            await sink.flush()
        await sink.flush()
        assert {kid: at for kid, (at, _) in (await latest(database)).items()} == {
            KID: later(-10),
            "zzj-002": later(-20),
        }
    finally:
        await database.close()


async def test_it_rings_when_the_newest_samples_are_there(fleet_db: Database) -> None:
    sink, rung = SampleSink(fleet_db), asyncio.Event()
    sink.on_change(rung.set)
    task = asyncio.get_running_loop().create_task(sink.run(), name="latest")
    try:
        await put(fleet_db, read(sample(1)), sink=sink)
        await wait_for(rung.is_set, what="the bell")
        assert KID in await latest(fleet_db)
    finally:
        task.cancel()
        await asyncio.wait([task])
