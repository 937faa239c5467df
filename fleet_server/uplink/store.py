"""Streams and their cursors, records set aside, and the transaction in which a group of batches becomes durable."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any, ClassVar, Final

import orjson
import psycopg
import sqlalchemy.exc
from sqlalchemy import BigInteger, Column, MetaData, Table, Text, UniqueConstraint, bindparam, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import Field, SQLModel, col, delete, func, select

from fleet_server.uplink.intervals import IntervalSet, Range, runs
from fleet_server.uplink.model import Header, Incoming, Outcome, Stream, to_moment
from fleet_server.uplink.ports import RecordSink
from kit.store import Database, Dialect, Json, StoreBusy, StoreError, UtcDateTime, metadata_of

METADATA: MetaData = metadata_of("fleet")
Key = tuple[int, str]
_NUMBER: Final = BigInteger().with_variant(sqlite.INTEGER(), "sqlite")


class StoreAway(StoreError):
    """The store is busy or away: nothing was stored, and the same may be tried again later."""


class StoreRefused(StoreError):
    """The store does not take this content, however often it is tried; the text is its class of error."""


@contextmanager
def judged() -> Iterator[None]:
    """Tell apart what passes and what does not.

    Raises:
        StoreAway: the store is busy or away.
        StoreRefused: the content is at fault.
    """
    try:
        yield
    except (StoreBusy, OSError) as error:
        raise StoreAway(type(error).__name__) from error
    except sqlalchemy.exc.DBAPIError as error:
        raise _verdict(error.orig if error.orig is not None else error) from error
    except psycopg.Error as error:
        raise _verdict(error) from error
    except (sqlalchemy.exc.StatementError, ValueError, OverflowError) as error:
        cause = error.orig if isinstance(error, sqlalchemy.exc.StatementError) and error.orig is not None else error
        raise StoreRefused(type(cause).__name__) from error  # it failed before a database saw it


def _verdict(error: BaseException) -> StoreError:
    state = getattr(error, "sqlstate", None)
    name = type(error).__name__
    passes = name in _PASSING if state is None else state[:2] in _PASSING_STATES
    return StoreAway(name) if passes else StoreRefused(name)


_PASSING: Final = frozenset({"OperationalError", "InterfaceError", "InternalError", "DBAPIError"})
_PASSING_STATES: Final = frozenset({"08", "25", "40", "42", "53", "55", "57", "58", "F0", "XX"})
"""SQLSTATE classes of what may pass: connection, transaction state, rollback, schema, resources, operator, system."""


class _Row(SQLModel):
    metadata: ClassVar[MetaData] = METADATA


class StreamRow(_Row, table=True):
    """One kiosk's epoch, and what of it is in the store."""

    __tablename__ = "uplink_stream"
    no: int | None = Field(default=None, primary_key=True)
    kiosk_no: int
    epoch: str = Field(max_length=64)
    through_seq: int = Field(sa_type=BigInteger)
    ranges: list[Any] = Field(sa_type=Json)  # Any: a JSON document
    records: int = Field(sa_type=BigInteger)
    opened_at: datetime = Field(sa_type=UtcDateTime)
    updated_at: datetime = Field(sa_type=UtcDateTime)
    __table_args__ = (UniqueConstraint("kiosk_no", "epoch"),)


class RejectedRow(_Row, table=True):
    """A record that broke the schema, as it came."""

    __tablename__ = "uplink_rejected"
    no: int | None = Field(default=None, sa_column=Column(_NUMBER, primary_key=True))
    kiosk_no: int = Field(index=True)
    epoch: str = Field(max_length=64)
    seq: int = Field(sa_type=BigInteger)
    reason: str = Field(max_length=400)
    content: str = Field(sa_type=Text)
    received_at: datetime = Field(sa_type=UtcDateTime, index=True)


class WorkerRow(_Row, table=True):
    """An ingest process that is at work."""

    __tablename__ = "uplink_worker"
    name: str = Field(max_length=200, primary_key=True)
    seen_at: datetime = Field(sa_type=UtcDateTime)


_STREAM: Table = METADATA.tables["uplink_stream"]
_REJECTED: Table = METADATA.tables["uplink_rejected"]
_WORKER: Table = METADATA.tables["uplink_worker"]
REJECTED_KEPT: Final = 1_000
"""Records set aside that are kept of one kiosk."""
_MOVE_POSTGRESQL: Final = (
    "UPDATE uplink_stream AS s SET through_seq = v.through_seq, ranges = v.ranges, records = s.records + v.added,"
    " updated_at = %s FROM jsonb_to_recordset(%s::jsonb)"
    " AS v(no int, through_seq bigint, ranges jsonb, added bigint) WHERE s.no = v.no"
)
_MOVE_SQLITE: Final = text(
    "UPDATE uplink_stream SET through_seq = :through_seq, ranges = :ranges, records = records + :added,"
    " updated_at = :at WHERE no = :no"
).bindparams(bindparam("at", type_=UtcDateTime()))
_LOCK_POSTGRESQL: Final = "SELECT no, through_seq, ranges FROM uplink_stream WHERE no = ANY(%s) ORDER BY no FOR UPDATE"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A batch with its stream and what each sink will write of it.

    `reread` gives the records once more, for the rare batch of which a part is in the store already.
    """

    header: Header
    stream: Stream
    parts: Sequence[object | None]
    reread: Callable[[], Incoming]


def key_of(header: Header) -> Key:
    """What identifies the batch's stream."""
    return header.sender.kiosk_no, header.epoch


class UplinkStore:
    """Commits groups of batches."""

    def __init__(self, database: Database, sinks: Iterable[RecordSink[Any]]) -> None:  # Any: each its own kind of part
        """Write records through these sinks."""
        self._database = database
        self._is_postgresql = database.dialect is Dialect.POSTGRESQL
        self._sinks = tuple(sinks)
        self._insert = postgresql.insert if self._is_postgresql else sqlite.insert
        self._streams: dict[Key, Stream] = {}

    def knows(self, header: Header) -> bool:
        """Whether the batch's stream has a number, so that `prepare` needs no look into the store."""
        return key_of(header) in self._streams

    async def load(self) -> None:
        """Learn the streams there are, so that their next batches need no extra look. Raises: StoreAway."""
        columns = _STREAM.c
        with judged():
            async with self._database.read() as connection:
                for row in await connection.execute(select(columns.no, columns.kiosk_no, columns.epoch)):
                    self._streams[row.kiosk_no, row.epoch] = Stream(row.no, row.epoch)

    async def open(self, headers: Sequence[Header]) -> None:
        """Give the streams of these batches numbers where they have none. Raises: StoreAway, StoreRefused."""
        missing = {key: header for header in headers if (key := key_of(header)) not in self._streams}
        if missing:
            with judged():
                await self._open(missing)

    async def _open(self, missing: Mapping[Key, Header]) -> None:
        columns = _STREAM.c
        wanted = select(columns.no, columns.kiosk_no, columns.epoch).where(
            columns.kiosk_no.in_({key[0] for key in missing}), columns.epoch.in_({key[1] for key in missing})
        )
        rows = [
            {
                "kiosk_no": kiosk_no,
                "epoch": epoch,
                "through_seq": 0,
                "ranges": [],
                "records": 0,
                "opened_at": to_moment(header.sender.received_us),
                "updated_at": to_moment(header.sender.received_us),
            }
            for (kiosk_no, epoch), header in sorted(missing.items(), key=itemgetter(0))
        ]
        async with self._database.write() as connection:
            await connection.execute(self._insert(_STREAM).on_conflict_do_nothing(), rows)
            for row in await connection.execute(wanted):
                self._streams[row.kiosk_no, row.epoch] = Stream(row.no, row.epoch)

    def prepare(self, batch: Incoming, reread: Callable[[], Incoming] | None = None) -> Prepared:
        """Have every sink get ready; the stream must be known. Without `reread` the batch itself is kept."""
        stream = self._streams[key_of(batch.header)]
        parts = [sink.prepare(batch, stream) for sink in self._sinks]
        return Prepared(batch.header, stream, parts, reread if reread is not None else lambda: batch)

    async def commit(self, group: Sequence[Prepared]) -> Outcome:
        """Store what is new of these batches and move their cursors, all or nothing.

        Raises:
            StoreAway: nothing was stored; they may be committed again.
            StoreRefused: nothing was stored, because something in the group does not fit.
        """
        with judged():
            return await self._commit(group)

    async def _commit(self, group: Sequence[Prepared]) -> Outcome:
        outcome = Outcome()
        async with self._database.write() as connection:
            sets = await self._lock(connection, sorted({item.stream.no for item in group}))
            before = {no: (found.through, found.ranges) for no, found in sets.items()}
            fresh = [item for item in (self._claim(one, sets, outcome) for one in group) if item is not None]
            written = [
                [part for item in fresh if (part := item.parts[place]) is not None] for place in range(len(self._sinks))
            ]
            for sink, parts in zip(self._sinks, written, strict=True):
                if parts:
                    await sink.write(connection, parts)
            await self._set_aside(connection, fresh)
            await self._move(connection, sets, before, fresh, to_moment(group[0].header.sender.received_us))
        for sink, parts in zip(self._sinks, written, strict=True):
            if parts:
                sink.committed(parts)
        for item in group:
            found = sets[item.stream.no]
            outcome.receipts[item.header.sender.kid, item.header.epoch] = (found.through, found.ranges)
        return outcome

    def _claim(self, item: Prepared, sets: Mapping[int, IntervalSet], outcome: Outcome) -> Prepared | None:
        """Put a batch's numbers into its set; the batch with what was new, None when nothing was."""
        header, found = item.header, sets[item.stream.no]
        seqs = header.seqs
        wanted: set[int] | None = None
        if seqs and found.touches(seqs[0], seqs[-1]):
            wanted = {seq for seq in seqs if seq not in found}
            outcome.duplicates += len(seqs) - len(wanted)
        for first, last in runs(seqs if wanted is None else sorted(wanted)):
            if not found.add(first, last):
                wanted = set(seqs) if wanted is None else wanted
                wanted.difference_update(range(first, last + 1))
                outcome.deferred += last - first + 1
        for first, last in header.void:
            found.add(first, last)
        if wanted is not None:
            if not wanted:
                return None
            item = self.prepare(item.reread().only(frozenset(wanted)))
        outcome.stored += item.header.size - len(item.header.rejected)
        if item.header.rejected:
            kid = header.sender.kid
            outcome.rejected[kid] = outcome.rejected.get(kid, 0) + len(item.header.rejected)
        return item

    async def _lock(self, connection: AsyncConnection, numbers: Sequence[int]) -> dict[int, IntervalSet]:
        """The sets under lock, in one order everywhere."""
        if self._is_postgresql:
            driver = await self._database.driver_connection(connection)
            rows = await (await driver.execute(_LOCK_POSTGRESQL, (list(numbers),))).fetchall()
            return {no: IntervalSet(through, ranges) for no, through, ranges in rows}
        columns = _STREAM.c
        statement = select(columns.no, columns.through_seq, columns.ranges).where(columns.no.in_(numbers))
        found = await connection.execute(statement)
        return {row.no: IntervalSet(row.through_seq, row.ranges) for row in found}

    async def _move(
        self,
        connection: AsyncConnection,
        sets: Mapping[int, IntervalSet],
        before: Mapping[int, tuple[int, list[Range]]],
        fresh: Sequence[Prepared],
        at: datetime,
    ) -> None:
        """Write the sets that grew."""
        moved = [no for no, found in sets.items() if before[no] != (found.through, found.ranges)]
        if not moved:
            return
        added = dict.fromkeys(moved, 0)
        for item in fresh:
            added[item.stream.no] += item.header.size
        rows = [
            {"no": no, "through_seq": sets[no].through, "ranges": sets[no].ranges, "added": added[no]} for no in moved
        ]
        if self._is_postgresql:
            driver = await self._database.driver_connection(connection)
            await driver.execute(_MOVE_POSTGRESQL, (at, orjson.dumps(rows).decode()))
            return
        await connection.execute(
            _MOVE_SQLITE, [row | {"ranges": orjson.dumps(row["ranges"]).decode(), "at": at} for row in rows]
        )

    async def _set_aside(self, connection: AsyncConnection, fresh: Sequence[Prepared]) -> None:
        rows = [
            {
                "kiosk_no": item.header.sender.kiosk_no,
                "epoch": item.header.epoch,
                "seq": rejected.seq,
                "reason": rejected.reason,
                "content": rejected.content,
                "received_at": to_moment(item.header.sender.received_us),
            }
            for item in fresh
            for rejected in item.header.rejected
        ]
        if rows:
            await connection.execute(_REJECTED.insert(), rows)

    async def rejected(self, kiosk_no: int, *, limit: int = 100) -> list[RejectedRow]:
        """Records set aside of one kiosk, newest first."""
        async with self._database.read_session() as session:
            order = col(RejectedRow.no).desc()
            rows = select(RejectedRow).where(RejectedRow.kiosk_no == kiosk_no).order_by(order).limit(limit)
            return list(await session.exec(rows))

    async def forget_rejected(self, before: datetime) -> None:
        """Delete records set aside that are older, and of each kiosk what is beyond the newest `REJECTED_KEPT`."""
        async with self._database.session() as session:
            await session.exec(delete(RejectedRow).where(col(RejectedRow.received_at) < before))
            counted = select(RejectedRow.kiosk_no).group_by(col(RejectedRow.kiosk_no))
            for number in list(await session.exec(counted.having(func.count() > REJECTED_KEPT))):
                newest = select(RejectedRow.no).where(RejectedRow.kiosk_no == number)
                limit = newest.order_by(col(RejectedRow.no).desc()).offset(REJECTED_KEPT).limit(1).scalar_subquery()
                which = (col(RejectedRow.kiosk_no) == number, col(RejectedRow.no) <= limit)
                await session.exec(delete(RejectedRow).where(*which))


class WorkerStore:
    """Which ingest processes are at work; the leader tells the kiosks whether there is any."""

    def __init__(self, database: Database) -> None:
        """Use this database."""
        self._database = database
        self._insert = postgresql.insert if database.dialect is Dialect.POSTGRESQL else sqlite.insert

    async def seen(self, name: str, at: datetime) -> None:
        """Note that a worker is at work. Raises: StoreBusy."""
        insert = self._insert(_WORKER).values(name=name, seen_at=at)
        statement = insert.on_conflict_do_update(
            index_elements=[_WORKER.c.name], set_={"seen_at": insert.excluded.seen_at}
        )
        async with self._database.write() as connection:
            await connection.execute(statement)

    async def gone(self, name: str) -> None:
        """Forget a worker that ends in order. Raises: StoreBusy."""
        async with self._database.write() as connection:
            await connection.execute(_WORKER.delete().where(_WORKER.c.name == name))

    async def any_since(self, moment: datetime) -> bool:
        """Whether a worker was at work since then."""
        async with self._database.read() as connection:
            statement = select(func.count()).select_from(_WORKER).where(_WORKER.c.seen_at >= moment)
            return bool(await connection.scalar(statement))

    async def tidy(self, now: datetime) -> None:
        """Forget workers that were not at work for a day. Raises: StoreBusy."""
        async with self._database.write() as connection:
            await connection.execute(_WORKER.delete().where(_WORKER.c.seen_at < now - timedelta(days=1)))
