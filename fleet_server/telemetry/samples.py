"""The sink of telemetry: samples into their table, the newest of each kiosk into a row of its own.

On PostgreSQL the rows travel as one binary COPY block, encoded before the transaction begins; on SQLite in
statements of many rows. The newest samples are gathered in memory and written every few tenths of a second in a
transaction of their own, so that the ingest of several processes never queues up behind the one change counter.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, repeat
from typing import Final

import orjson
from orjson import Fragment
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from fleet_server.telemetry.copying import HEADER, SAMPLE_COLUMNS, TRAILER, any_rows, common_rows
from fleet_server.uplink.model import Incoming, Samples, Sender, Stream, to_moment
from fleet_server.uplink.store import StoreAway, judged
from fleet_server.uplink.times import KIOSK_MAX_US, KIOSK_MIN_US, kiosk_time
from kit.logs import get_logger
from kit.store import Database, Dialect

HOST: Final = "host"
FLUSH_S: Final = 0.2
_COPY: Final = f"COPY telemetry_sample ({', '.join(SAMPLE_COLUMNS)}) FROM STDIN (FORMAT BINARY)"
_MARKS: Final = f"({', '.join('?' * len(SAMPLE_COLUMNS))})"
_INSERTS: Final = tuple(
    (rows, f"INSERT INTO telemetry_sample ({', '.join(SAMPLE_COLUMNS)}) VALUES {', '.join([_MARKS] * rows)}")  # noqa: S608 - names of ours
    for rows in (400, 40, 1)
)
"""Statements for so many rows at once: SQLite's thread gives the interpreter away once a statement, not once a row."""
_COMMON: Final = {HOST}
_NO_SPAN: Final = {None}
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest host sample of a kiosk in a batch."""

    kiosk_no: int
    kid: str
    at_us: int
    sample: bytes


@dataclass(frozen=True, slots=True)
class SamplePart:
    """The samples of a batch, ready to be written: `block` for COPY, `values` row after row for SQLite."""

    block: bytes
    values: Sequence[object]
    newest: Newest | None


class SampleSink:
    """See the module; a component that runs, and a sink of the uplink."""

    name = "telemetry-latest"

    def __init__(self, database: Database) -> None:
        """Write to this database."""
        self._database = database
        self._is_postgresql = database.dialect is Dialect.POSTGRESQL
        self._newest: dict[int, Newest] = {}
        self._arrived = asyncio.Event()
        self._wake: Callable[[], None] = lambda: None

    def on_change(self, wake: Callable[[], None]) -> None:
        """Call `wake` after the newest samples of some kiosks were written by this process."""
        self._wake = wake

    def prepare(self, batch: Incoming, stream: Stream) -> SamplePart | None:
        """See `RecordSink`."""
        given = batch.samples
        if not given.seqs:
            return None
        if min(given.kiosk_us) < KIOSK_MIN_US or max(given.kiosk_us) > KIOSK_MAX_US:
            given = replace(given, kiosk_us=[kiosk_time(kiosk_us) for kiosk_us in given.kiosk_us])
        samples = list(map(orjson.dumps, given.values))
        sender = batch.header.sender
        newest = _newest(sender, given, samples)
        key = (sender.kiosk_no, stream.no, sender.received_us)
        if not self._is_postgresql:
            return SamplePart(b"", _flat(*key, given, samples), newest)
        is_common = set(given.component) == _COMMON and set(given.span_s) == _NO_SPAN
        rows = common_rows if is_common else any_rows
        return SamplePart(rows(*key, given, samples), (), newest)

    async def write(self, connection: AsyncConnection, parts: Sequence[SamplePart]) -> None:
        """See `RecordSink`."""
        if self._is_postgresql:
            driver = await self._database.driver_connection(connection)
            async with driver.cursor() as cursor, cursor.copy(_COPY) as copy:
                await copy.write(b"".join((HEADER, *(part.block for part in parts), TRAILER)))
            return
        values = list(chain.from_iterable(part.values for part in parts))
        done = 0
        for rows, statement in _INSERTS:
            size = rows * len(SAMPLE_COLUMNS)
            while len(values) - done >= size:
                await connection.exec_driver_sql(statement, tuple(values[done : done + size]))
                done += size

    def committed(self, parts: Sequence[SamplePart]) -> None:
        """See `RecordSink`."""
        newest = self._newest
        for part in parts:
            found = part.newest
            if found is not None:
                before = newest.get(found.kiosk_no)
                if before is None or found.at_us >= before.at_us:
                    newest[found.kiosk_no] = found
        if newest:
            self._arrived.set()

    async def run(self) -> None:
        """Write the newest samples as they come, a few times a second at most, until cancelled."""
        is_failing = False
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            try:
                await self.flush()
                is_failing = False
            except StoreAway as away:
                if not is_failing:
                    log.warning("latest.delayed", reason=str(away))
                is_failing = True
                self._arrived.set()
            await asyncio.sleep(FLUSH_S)

    async def flush(self) -> None:
        """Write the newest samples now. Raises: StoreAway."""
        taken, self._newest = self._newest, {}
        if not taken:
            return
        try:
            with judged():
                await self._write_latest(taken)
        except BaseException:
            self._newest = {**taken, **self._newest}
            raise
        self._wake()

    async def _write_latest(self, taken: dict[int, Newest]) -> None:
        found = sorted(taken.values(), key=lambda newest: newest.kiosk_no)
        async with self._database.write() as connection:
            change_seq = await connection.scalar(_CHANGE)
            if self._is_postgresql:
                driver = await self._database.driver_connection(connection)
                document = orjson.dumps(
                    [
                        {
                            "no": item.kiosk_no,
                            "kid": item.kid,
                            "at": to_moment(item.at_us),
                            "sample": Fragment(item.sample),
                        }
                        for item in found
                    ]
                )
                await driver.execute(_KEEP_POSTGRESQL, (change_seq, document.decode()))
                return
            rows = [(item.kiosk_no, item.kid, item.at_us, item.sample.decode(), change_seq) for item in found]
            await connection.exec_driver_sql(_KEEP_SQLITE, rows)


_CHANGE: Final = text("UPDATE telemetry_change SET value = value + 1 WHERE id = 1 RETURNING value")
_KEEP_POSTGRESQL: Final = (
    "INSERT INTO telemetry_latest (kiosk_no, kid, at, sample, change_seq)"
    " SELECT v.no, v.kid, v.at, v.sample, %s FROM jsonb_to_recordset(%s::jsonb)"
    " AS v(no int, kid text, at timestamptz, sample jsonb)"
    " ON CONFLICT (kiosk_no) DO UPDATE SET kid = excluded.kid, at = excluded.at, sample = excluded.sample,"
    " change_seq = excluded.change_seq WHERE telemetry_latest.at <= excluded.at"
)
_KEEP_SQLITE: Final = (
    "INSERT INTO telemetry_latest (kiosk_no, kid, at, sample, change_seq) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT (kiosk_no) DO UPDATE SET kid = excluded.kid, at = excluded.at, sample = excluded.sample,"
    " change_seq = excluded.change_seq WHERE telemetry_latest.at <= excluded.at"
)


def _flat(kiosk_no: int, stream_no: int, received_us: int, given: Samples, samples: Sequence[bytes]) -> list[object]:
    """The values of all rows, one after the other, in the order of `SAMPLE_COLUMNS`."""
    columns = (
        repeat(kiosk_no),
        given.at_us,
        repeat(stream_no),
        given.seqs,
        given.kiosk_us,
        repeat(received_us),
        given.hist,
        given.span_s,
        given.component,
        map(bytes.decode, samples),
    )
    return list(chain.from_iterable(zip(*columns, strict=False)))


def _newest(sender: Sender, given: Samples, samples: Sequence[bytes]) -> Newest | None:
    at_us = given.at_us
    place = len(at_us) - 1
    if given.component[place] != HOST or max(at_us) != at_us[place]:
        places = [number for number, component in enumerate(given.component) if component == HOST]
        if not places:
            return None
        place = max(places, key=at_us.__getitem__)
    return Newest(sender.kiosk_no, sender.kid, at_us[place], samples[place])
