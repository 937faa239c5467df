"""Cursors and rejected records; and the one transaction in which a group of batches becomes durable."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import BigInteger, MetaData, Table, Text, bindparam, tuple_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import Field, SQLModel, select

from fleet_server.uplink.intervals import IntervalSet
from fleet_server.uplink.model import Accepted, Incoming, Outcome
from fleet_server.uplink.ports import RecordSink
from kit.store import Database, Dialect, Json, UtcDateTime, metadata_of
from wire.uplink import AnyRecord

METADATA: MetaData = metadata_of("fleet")
Moments = Callable[[str, Sequence[AnyRecord], datetime], list[datetime]]
Key = tuple[int, str]


class _Row(SQLModel):
    metadata: ClassVar[MetaData] = METADATA


class CursorRow(_Row, table=True):
    """What is in the store of one kiosk's epoch."""

    __tablename__ = "uplink_cursor"
    kiosk_no: int = Field(primary_key=True)
    epoch: str = Field(max_length=64, primary_key=True)
    through_seq: int = Field(sa_type=BigInteger)
    ranges: list[Any] = Field(sa_type=Json)  # Any: a JSON document
    void_count: int = Field(default=0, sa_type=BigInteger)
    updated_at: datetime = Field(sa_type=UtcDateTime)


class RejectedRow(_Row, table=True):
    """A record that broke the schema, as it came."""

    __tablename__ = "uplink_rejected"
    kiosk_no: int = Field(primary_key=True)
    epoch: str = Field(max_length=64, primary_key=True)
    seq: int = Field(sa_type=BigInteger, primary_key=True)
    reason: str = Field(max_length=400)
    content: str = Field(sa_type=Text)
    received_at: datetime = Field(sa_type=UtcDateTime, index=True)


_CURSOR: Table = METADATA.tables["uplink_cursor"]
_REJECTED: Table = METADATA.tables["uplink_rejected"]


class UplinkStore:
    """Commits groups of batches."""

    def __init__(self, database: Database, sinks: Iterable[RecordSink]) -> None:
        """Write records through these sinks."""
        self._database = database
        self._sinks = tuple(sinks)
        self._insert = postgresql.insert if database.dialect is Dialect.POSTGRESQL else sqlite.insert
        self._known: set[Key] = set()

    async def commit(self, batches: Sequence[Incoming], moments: Moments) -> Outcome:
        """Store what is new of these batches and move their cursors, all or nothing.

        Raises:
            StoreBusy, sqlalchemy.exc.DBAPIError: nothing was stored; the batches may be committed again.
        """
        outcome = Outcome()
        keys = sorted({(batch.kiosk_no, batch.epoch) for batch in batches})
        async with self._database.write() as connection:
            cursors = await self._lock(connection, keys, batches[0].received_at)
            before = {key: (cursor.through, cursor.ranges) for key, cursor in cursors.items()}
            accepted = [_take(batch, cursors[batch.kiosk_no, batch.epoch], moments, outcome) for batch in batches]
            fresh = [item for item in accepted if item.records]
            if fresh:
                for sink in self._sinks:
                    await sink.write(connection, fresh)
            await self._keep_rejected(connection, batches)
            await self._move(connection, cursors, before, batches)
        self._known.update(keys)
        if fresh:
            for sink in self._sinks:
                sink.committed()
        for batch in batches:
            cursor = cursors[batch.kiosk_no, batch.epoch]
            outcome.receipts[batch.kid, batch.epoch] = (cursor.through, cursor.ranges)
        return outcome

    async def _lock(self, connection: AsyncConnection, keys: Sequence[Key], now: datetime) -> dict[Key, IntervalSet]:
        """The cursors under lock, in one order everywhere, made where missing."""
        missing = [key for key in keys if key not in self._known]
        if missing:
            rows = [
                {"kiosk_no": no, "epoch": epoch, "through_seq": 0, "ranges": [], "void_count": 0, "updated_at": now}
                for no, epoch in missing
            ]
            await connection.execute(self._insert(_CURSOR).on_conflict_do_nothing(), rows)
        columns = _CURSOR.c
        statement = select(columns.kiosk_no, columns.epoch, columns.through_seq, columns.ranges).where(
            tuple_(columns.kiosk_no, columns.epoch).in_(keys)
        )
        found = await connection.execute(statement.order_by(columns.kiosk_no, columns.epoch).with_for_update())
        return {(row.kiosk_no, row.epoch): IntervalSet(row.through_seq, row.ranges) for row in found}

    async def _keep_rejected(self, connection: AsyncConnection, batches: Sequence[Incoming]) -> None:
        rows = [
            {
                "kiosk_no": batch.kiosk_no,
                "epoch": batch.epoch,
                "seq": item.seq,
                "reason": item.reason,
                "content": item.content,
                "received_at": batch.received_at,
            }
            for batch in batches
            for item in batch.rejected
        ]
        if rows:
            await connection.execute(self._insert(_REJECTED).on_conflict_do_nothing(), rows)

    async def _move(
        self,
        connection: AsyncConnection,
        cursors: dict[Key, IntervalSet],
        before: dict[Key, tuple[int, list[tuple[int, int]]]],
        batches: Sequence[Incoming],
    ) -> None:
        voids: dict[Key, int] = {}
        for batch in batches:
            key = (batch.kiosk_no, batch.epoch)
            voids[key] = voids.get(key, 0) + sum(last - first + 1 for first, last in batch.void)
        now = batches[0].received_at
        rows = [
            {
                "no": no,
                "ep": epoch,
                "through": cursor.through,
                "above": cursor.ranges,
                "void": voids[no, epoch],
                "now": now,
            }
            for (no, epoch), cursor in cursors.items()
            if before[no, epoch] != (cursor.through, cursor.ranges)
        ]
        if rows:
            columns = _CURSOR.c
            statement = (
                _CURSOR.update()
                .where(columns.kiosk_no == bindparam("no"), columns.epoch == bindparam("ep"))
                .values(
                    through_seq=bindparam("through"),
                    ranges=bindparam("above"),
                    void_count=columns.void_count + bindparam("void"),
                    updated_at=bindparam("now"),
                )
            )
            await connection.execute(statement, rows)


def _take(batch: Incoming, cursor: IntervalSet, moments: Moments, outcome: Outcome) -> Accepted:
    """Put a batch's numbers into the cursor and keep the records whose numbers were new."""
    fresh: list[AnyRecord] = []
    for record in batch.records:
        if record.seq in cursor:
            outcome.duplicates += 1
        elif cursor.add(record.seq):
            fresh.append(record)
        else:
            outcome.deferred += 1
    for item in batch.rejected:
        if item.seq not in cursor and cursor.add(item.seq):
            outcome.rejected_kids.add(batch.kid)
    for first, last in batch.void:
        if last >= first:
            cursor.add(first, last)
    outcome.stored += len(fresh)
    return Accepted(
        batch.kid,
        batch.kiosk_no,
        batch.epoch,
        fresh,
        moments(batch.kid, fresh, batch.received_at),
        batch.received_at,
    )
