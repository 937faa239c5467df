"""Tables of samples, events and evidence chains, and the questions they answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Final

from sqlalchemy import (
    JSON,
    REAL,
    BigInteger,
    Column,
    ColumnElement,
    Float,
    Index,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    case,
    cast,
    func,
    literal,
    text,
    type_coerce,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Field, SQLModel, col, select

from fleet_server.telemetry.columns import Instant
from fleet_server.telemetry.model import ChainState, Event, Latest
from fleet_server.uplink.model import to_us
from kit.store import Database, Dialect, Json, UtcDateTime, metadata_of

METADATA: MetaData = metadata_of("fleet")
LARGEST: Final = 1e100
"""PostgreSQL adds up squares for an average and fails when one overflows; no kiosk measures anything so large."""
_NUMBER: Final = BigInteger().with_variant(sqlite.INTEGER(), "sqlite")


class _Row(SQLModel):
    metadata: ClassVar[MetaData] = METADATA


class SampleRow(_Row, table=True):
    """One telemetry record; `sample` is metric name to value.

    Plain `json` on PostgreSQL: `jsonb` takes a quarter more room and twice the time to write, and a chart reads a
    few thousand rows at most.
    """

    __tablename__ = "telemetry_sample"
    kiosk_no: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    at: datetime = Field(sa_type=Instant, primary_key=True)
    stream_no: int = Field(primary_key=True)
    seq: int = Field(sa_type=BigInteger, primary_key=True)
    kiosk_at: datetime = Field(sa_type=Instant)
    received_at: datetime = Field(sa_type=Instant)
    hist: bool
    span_s: float | None = Field(default=None, sa_type=Float)
    component: str = Field(max_length=64)
    sample: dict[str, Any] = Field(sa_type=JSON)  # Any: a JSON document
    __table_args__ = (
        Index(
            "ix_telemetry_sample_at",
            "at",
            postgresql_using="brin",
            postgresql_with={"pages_per_range": 16, "autosummarize": "on"},
            info={"dialect": "postgresql"},
        ).ddl_if(dialect="postgresql"),
        {"postgresql_partition_by": "RANGE (at)"},
    )


class LatestRow(_Row, table=True):
    """The newest host sample of each kiosk."""

    __tablename__ = "telemetry_latest"
    kiosk_no: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    kid: str = Field(max_length=40)
    at: datetime = Field(sa_type=Instant)
    sample: dict[str, Any] = Field(sa_type=Json)  # Any: a JSON document
    change_seq: int = Field(sa_type=BigInteger, index=True)


class TelemetryChangeRow(_Row, table=True):
    """The one row of the change counter."""

    __tablename__ = "telemetry_change"
    id: int = Field(primary_key=True)
    value: int = Field(sa_type=BigInteger)


class EventRow(_Row, table=True):
    """One record that is no plain sample; `body` is the canonical JSON its digest covers."""

    __tablename__ = "telemetry_event"
    no: int | None = Field(default=None, sa_column=Column(_NUMBER, primary_key=True))
    kiosk_no: int
    stream_no: int
    seq: int = Field(sa_type=BigInteger)
    at: datetime = Field(sa_type=Instant, index=True)
    kiosk_at: datetime = Field(sa_type=Instant)
    received_at: datetime = Field(sa_type=Instant)
    basis: int = Field(sa_type=SmallInteger)
    hist: bool
    record_class: str = Field(max_length=2)
    kind: str = Field(max_length=32)
    component: str = Field(max_length=64)
    name: str = Field(max_length=64)
    body: str = Field(sa_type=Text)
    chain_n: int | None = Field(default=None, sa_type=BigInteger)
    chain: str | None = Field(default=None, max_length=64)
    digest: str | None = Field(default=None, max_length=64)
    __table_args__ = (
        UniqueConstraint("stream_no", "seq"),
        Index("ix_telemetry_event_kiosk_no_at_no", "kiosk_no", "at", "no"),
        Index(
            "ix_telemetry_event_stream_no_chain_n",
            "stream_no",
            "chain_n",
            postgresql_where=text("chain_n IS NOT NULL"),
            sqlite_where=text("chain_n IS NOT NULL"),
        ),
    )


class ChainRow(_Row, table=True):
    """How far the evidence chain of a stream is proved, from where, and where it broke."""

    __tablename__ = "telemetry_chain"
    stream_no: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    kiosk_no: int = Field(index=True)
    base_n: int = Field(sa_type=BigInteger)
    base: str = Field(max_length=64)
    proved_n: int = Field(sa_type=BigInteger)
    head: str = Field(max_length=64)
    broken_n: int | None = Field(default=None, sa_type=BigInteger)
    broken_seq: int | None = Field(default=None, sa_type=BigInteger)
    reason: str | None = Field(default=None, max_length=100)
    updated_at: datetime = Field(sa_type=UtcDateTime)


SAMPLE: Table = METADATA.tables["telemetry_sample"]
LATEST: Table = METADATA.tables["telemetry_latest"]
EVENT: Table = METADATA.tables["telemetry_event"]
CHAIN: Table = METADATA.tables["telemetry_chain"]


@dataclass(frozen=True, slots=True)
class Span:
    """Which samples of a kiosk, cut into buckets of equal length."""

    kiosk_no: int
    component: str
    since: datetime
    until: datetime
    bucket_s: float


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events of a kiosk; `before` is the place of the last one of the page before."""

    kiosk_no: int
    kind: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: tuple[datetime, int] | None = None


class TelemetryStore:
    """Reads."""

    def __init__(self, database: Database) -> None:
        """Use this database."""
        self._database = database
        self._is_postgresql = database.dialect is Dialect.POSTGRESQL

    async def latest_since(self, change_seq: int) -> list[Latest]:
        """Newest samples that changed after that number."""
        statement = select(LatestRow).where(LatestRow.change_seq > change_seq).order_by(col(LatestRow.change_seq))
        async with self._database.read_session() as session:
            return [Latest(row.kid, row.at, row.sample, row.change_seq) for row in await session.exec(statement)]

    async def buckets(self, span: Span, metrics: Sequence[str]) -> dict[str, list[tuple[int, float, float, float]]]:
        """Of each metric (bucket number from `since`, average, minimum, maximum), empty buckets left out."""
        columns = SAMPLE.c
        values = [self._value(metric).label(f"v{place}") for place, metric in enumerate(metrics)]
        inner = (
            select(self._bucket(span).label("bucket"), *values)
            .where(
                columns.kiosk_no == span.kiosk_no,
                columns.at >= span.since,
                columns.at < span.until,
                columns.component == span.component,
            )
            .subquery()
        )
        totals = [
            total(inner.c[f"v{place}"]) for place in range(len(metrics)) for total in (func.avg, func.min, func.max)
        ]
        statement = select(inner.c.bucket, *totals).group_by(inner.c.bucket).order_by(inner.c.bucket)
        found: dict[str, list[tuple[int, float, float, float]]] = {metric: [] for metric in metrics}
        async with self._database.read() as connection:
            for row in await connection.execute(statement):
                for place, metric in enumerate(metrics):
                    average, low, high = row[1 + 3 * place : 4 + 3 * place]
                    if average is not None:
                        found[metric].append((int(row[0]), float(average), float(low), float(high)))
        return found

    def _bucket(self, span: Span) -> ColumnElement[int]:
        at = SAMPLE.c.at
        if self._is_postgresql:
            seconds = func.extract("epoch", at - literal(span.since, Instant()))
            return cast(func.floor(seconds / span.bucket_s), postgresql.INTEGER)
        # A coerced literal would be bound as a datetime, which SQLite reads as the number 2026.
        since_us = literal(to_us(span.since), BigInteger)
        return (type_coerce(at, BigInteger) - since_us) // literal(round(span.bucket_s * 1_000_000), BigInteger)

    def _value(self, metric: str) -> ColumnElement[float]:
        """The metric of a sample; NULL where it is beyond what can be averaged."""
        sample = SAMPLE.c.sample
        found: ColumnElement[float]
        if self._is_postgresql:
            found = cast(sample.op("->>")(literal(metric, Text)), Float)
        else:
            found = cast(func.json_extract(type_coerce(sample, Text), f'$."{metric}"'), REAL)
        return case((func.abs(found) < LARGEST, found))

    async def events(self, wanted: EventFilter, limit: int) -> list[Event]:
        """Events of a kiosk, newest first."""
        statement = select(EventRow).where(*_conditions(wanted)).order_by(col(EventRow.at).desc())
        async with self._database.read_session() as session:
            rows = await session.exec(statement.order_by(col(EventRow.no).desc()).limit(limit))
            return [_event(row) for row in rows]

    async def count_events(self, wanted: EventFilter) -> int:
        """How many events there are of a kiosk, pages aside."""
        async with self._database.read_session() as session:
            return (await session.exec(select(func.count()).select_from(EventRow).where(*_conditions(wanted)))).one()

    async def chained(self, stream_no: int, after: tuple[int, int], limit: int) -> list[Event]:
        """Chained records of a stream after (number in the chain, in the stream), in the order of the chain."""
        chain_n, seq = EVENT.c.chain_n, EVENT.c.seq
        behind = (chain_n > after[0]) | ((chain_n == after[0]) & (seq > after[1]))
        statement = select(EventRow).where(EventRow.stream_no == stream_no, behind)
        async with self._database.read_session() as session:
            rows = await session.exec(statement.order_by(chain_n, seq).limit(limit))
            return [_event(row) for row in rows]

    async def streams_to_prove(self) -> list[int]:
        """Streams with chained records beyond what is proved; a broken one waits for a person."""
        newest = (
            select(EVENT.c.stream_no, func.max(EVENT.c.chain_n).label("n"))
            .where(EVENT.c.chain_n.is_not(None))
            .group_by(EVENT.c.stream_no)
            .subquery()
        )
        joined = newest.outerjoin(CHAIN, CHAIN.c.stream_no == newest.c.stream_no)
        is_open = (CHAIN.c.broken_n.is_(None), newest.c.n > func.coalesce(CHAIN.c.proved_n, 0))
        async with self._database.read() as connection:
            return list(await connection.scalars(select(newest.c.stream_no).select_from(joined).where(*is_open)))

    async def chain(self, stream_no: int) -> ChainState | None:
        """What is proved of a stream; None when nothing was looked at."""
        async with self._database.read_session() as session:
            row = await session.get(ChainRow, stream_no)
            return None if row is None else _chain(row)

    async def chained_streams(self, kiosk_no: int) -> list[int]:
        """The streams of a kiosk that have chained records, oldest first."""
        statement = select(EVENT.c.stream_no).where(EVENT.c.kiosk_no == kiosk_no, EVENT.c.chain_n.is_not(None))
        async with self._database.read() as connection:
            rows = await connection.execute(statement.distinct().order_by(EVENT.c.stream_no))
            return [row[0] for row in rows]

    async def kiosk_of(self, stream_no: int) -> int | None:
        """Whose stream it is, as its events say."""
        statement = select(EVENT.c.kiosk_no).where(EVENT.c.stream_no == stream_no).limit(1)
        async with self._database.read() as connection:
            number: int | None = await connection.scalar(statement)
            return number

    async def keep_chain(self, state: ChainState, before_n: int | None, at: datetime) -> bool:
        """Write what was proved, unless another process got further meanwhile. Raises: StoreBusy."""
        values = {name: getattr(state, name) for name in state.__slots__} | {"updated_at": at}
        async with self._database.write() as connection:
            if before_n is None:
                insert = (postgresql.insert if self._is_postgresql else sqlite.insert)(CHAIN)
                done = await connection.execute(insert.values(values).on_conflict_do_nothing())
            else:
                where = (CHAIN.c.stream_no == state.stream_no, CHAIN.c.proved_n == before_n)
                done = await connection.execute(CHAIN.update().where(*where).values(values))
            return done.rowcount == 1


def _conditions(wanted: EventFilter) -> list[ColumnElement[bool]]:
    columns = EVENT.c
    found: list[ColumnElement[bool]] = [columns.kiosk_no == wanted.kiosk_no]
    if wanted.kind is not None:
        found.append(columns.kind == wanted.kind)
    if wanted.since is not None:
        found.append(columns.at >= wanted.since)
    if wanted.until is not None:
        found.append(columns.at < wanted.until)
    if wanted.before is not None:
        at, no = wanted.before
        found.append((columns.at < at) | ((columns.at == at) & (columns.no < no)))
    return found


def _event(row: EventRow) -> Event:
    values = row.model_dump()
    return Event(**{name: values[name] for name in Event.__slots__})


def _chain(row: ChainRow) -> ChainState:
    return ChainState(**{name: getattr(row, name) for name in ChainState.__slots__})
