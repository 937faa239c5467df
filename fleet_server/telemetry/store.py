"""Tables of samples and events, and the sink that fills them.

On PostgreSQL the samples are partitioned by day (see `partitions`) and written by binary COPY; on SQLite both
are written by executemany. The cursor of the uplink has removed duplicates before a row gets here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

import orjson
from sqlalchemy import BigInteger, Column, Index, MetaData, Table, bindparam, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import Field, SQLModel, col, select

from fleet_server.telemetry.copying import SAMPLE_COLUMNS, SampleTuple, sample_block
from fleet_server.telemetry.model import Latest
from fleet_server.uplink.model import Accepted
from kit.store import Database, Dialect, Json, UtcDateTime, metadata_of
from wire.uplink import AlarmRecord, AnyRecord, AuditRecord, EventRecord, RecordClass, TelemetryRecord, record_digest

METADATA: MetaData = metadata_of("fleet")
HOST: Final = "host"
_BASE: Final = frozenset(
    {"seq", "record_class", "at", "boot", "mono_ms", "offset_s", "hist", "chain_n", "chain", "kind", "component"}
)

_NUMBER: Final = BigInteger().with_variant(sqlite.INTEGER(), "sqlite")


class _Row(SQLModel):
    metadata: ClassVar[MetaData] = METADATA


class SampleRow(_Row, table=True):
    """One telemetry record; on disk without a primary key: the uplink's cursor has removed duplicates already."""

    __tablename__ = "telemetry_sample"
    kiosk_no: int = Field(primary_key=True)
    epoch: str = Field(max_length=64, primary_key=True)
    seq: int = Field(sa_type=BigInteger, primary_key=True)
    at: datetime = Field(sa_type=UtcDateTime, primary_key=True)
    kiosk_at: datetime = Field(sa_type=UtcDateTime)
    received_at: datetime = Field(sa_type=UtcDateTime)
    hist: bool
    component: str = Field(max_length=64)
    sample: dict[str, Any] = Field(sa_type=Json)  # Any: a JSON document
    __table_args__ = (
        Index("ix_telemetry_sample_kiosk_no_at", "kiosk_no", "at"),
        Index(
            "ix_telemetry_sample_at",
            "at",
            postgresql_using="brin",
            postgresql_with={"pages_per_range": 16, "autosummarize": "on"},
        ),
    )


class LatestRow(_Row, table=True):
    """The newest host sample of each kiosk."""

    __tablename__ = "telemetry_latest"
    kiosk_no: int = Field(primary_key=True)
    kid: str = Field(max_length=40)
    at: datetime = Field(sa_type=UtcDateTime)
    sample: dict[str, Any] = Field(sa_type=Json)  # Any: a JSON document
    change_seq: int = Field(sa_type=BigInteger, index=True)


class TelemetryChangeRow(_Row, table=True):
    """The one row of the change counter."""

    __tablename__ = "telemetry_change"
    id: int = Field(primary_key=True)
    value: int = Field(sa_type=BigInteger)


class EventRow(_Row, table=True):
    """One record of any other kind."""

    __tablename__ = "telemetry_event"
    no: int | None = Field(default=None, sa_column=Column(_NUMBER, primary_key=True))
    kiosk_no: int
    epoch: str = Field(max_length=64)
    seq: int = Field(sa_type=BigInteger)
    at: datetime = Field(sa_type=UtcDateTime, index=True)
    kiosk_at: datetime = Field(sa_type=UtcDateTime)
    received_at: datetime = Field(sa_type=UtcDateTime)
    hist: bool
    record_class: str = Field(max_length=2)
    kind: str = Field(max_length=32)
    component: str = Field(max_length=64)
    name: str = Field(max_length=64)
    fields: dict[str, Any] = Field(sa_type=Json)  # Any: a JSON document
    chain_n: int | None = Field(default=None, sa_type=BigInteger)
    chain: str | None = Field(default=None, max_length=64)
    digest: str | None = Field(default=None, max_length=64)
    __table_args__ = (
        Index("uq_telemetry_event_kiosk_no_epoch_seq", "kiosk_no", "epoch", "seq", unique=True),
        Index("ix_telemetry_event_kiosk_no_no", "kiosk_no", "no"),
    )


_SAMPLE: Table = METADATA.tables["telemetry_sample"]
_LATEST: Table = METADATA.tables["telemetry_latest"]
_EVENT: Table = METADATA.tables["telemetry_event"]
_COPY: Final = f"COPY telemetry_sample ({', '.join(SAMPLE_COLUMNS)}) FROM STDIN (FORMAT BINARY)"
_MARKS: Final = ", ".join("?" * len(SAMPLE_COLUMNS))
_INSERT: Final = f"INSERT INTO telemetry_sample ({', '.join(SAMPLE_COLUMNS)}) VALUES ({_MARKS})"  # noqa: S608 - names of ours


class TelemetrySink:
    """Writes records; `wake` is called after each commit."""

    def __init__(self, database: Database) -> None:
        """Write to this database."""
        self._database = database
        self._is_postgresql = database.dialect is Dialect.POSTGRESQL
        self._upsert = postgresql.insert if self._is_postgresql else sqlite.insert
        self._wake: Callable[[], None] = lambda: None

    def on_change(self, wake: Callable[[], None]) -> None:
        """Call `wake` after every commit of this process."""
        self._wake = wake

    def committed(self) -> None:
        """See `RecordSink`."""
        self._wake()

    async def write(self, connection: AsyncConnection, batches: Sequence[Accepted]) -> None:
        """See `RecordSink`."""
        samples: list[SampleTuple] = []
        events: list[dict[str, Any]] = []
        latest: dict[int, tuple[str, datetime, bytes]] = {}
        for batch in batches:
            for record, at in zip(batch.records, batch.moments, strict=True):
                if isinstance(record, TelemetryRecord):
                    row = _sample(batch, record, at)
                    samples.append(row)
                    newest = latest.get(batch.kiosk_no)
                    if record.component == HOST and (newest is None or at >= newest[1]):
                        latest[batch.kiosk_no] = (batch.kid, at, row[-1])
                else:
                    events.append(_event(batch, record, at))
        if samples:
            await self._write_samples(connection, samples)
            await self._write_latest(connection, latest)
        if events:
            await connection.execute(_EVENT.insert(), events)

    async def _write_samples(self, connection: AsyncConnection, samples: Sequence[SampleTuple]) -> None:
        if self._is_postgresql:
            driver = await self._database.driver_connection(connection)
            async with driver.cursor() as cursor, cursor.copy(_COPY) as copy:
                await copy.write(sample_block(samples))
            return
        rows = [
            (no, seq, _stored(at), _stored(kiosk_at), _stored(received_at), hist, epoch, component, sample.decode())
            for no, seq, at, kiosk_at, received_at, hist, epoch, component, sample in samples
        ]
        await connection.exec_driver_sql(_INSERT, rows)

    async def _write_latest(
        self, connection: AsyncConnection, latest: Mapping[int, tuple[str, datetime, bytes]]
    ) -> None:
        if not latest:
            return
        change_seq = await connection.scalar(
            text("UPDATE telemetry_change SET value = value + 1 WHERE id = 1 RETURNING value")
        )
        insert = self._upsert(_LATEST)
        statement = insert.on_conflict_do_update(
            index_elements=[_LATEST.c.kiosk_no],
            set_={"at": insert.excluded.at, "sample": insert.excluded.sample, "change_seq": insert.excluded.change_seq},
            where=_LATEST.c.at <= insert.excluded.at,
        )
        rows = [
            {"kiosk_no": no, "kid": kid, "at": at, "sample": orjson.loads(sample), "change_seq": change_seq}
            for no, (kid, at, sample) in sorted(latest.items())
        ]
        await connection.execute(statement, rows)


class TelemetryStore:
    """Reads."""

    def __init__(self, database: Database) -> None:
        """Use this database."""
        self._database = database

    async def latest_since(self, change_seq: int) -> list[Latest]:
        """Newest samples that changed after that number."""
        statement = select(LatestRow).where(LatestRow.change_seq > change_seq).order_by(col(LatestRow.change_seq))
        async with self._database.read_session() as session:
            return [Latest(row.kid, row.at, row.sample, row.change_seq) for row in await session.exec(statement)]

    async def buckets(
        self, kiosk_no: int, component: str, metric: str, since: datetime, until: datetime, bucket_s: float
    ) -> list[tuple[int, float, float, float]]:
        """(bucket number from `since`, average, minimum, maximum) of a metric, empty buckets left out."""
        if self._database.dialect is Dialect.POSTGRESQL:
            bucket = "floor(extract(epoch FROM at - :since) / :bucket_s)::int"
            value = "(sample ->> :metric)::float8"
        else:
            bucket = "CAST((julianday(at) - julianday(:since)) * 86400.0 / :bucket_s AS INTEGER)"
            value = "CAST(json_extract(sample, '$.' || :metric) AS REAL)"
        found = f"SELECT {bucket} AS bucket, {value} AS value FROM telemetry_sample"  # noqa: S608 - no input in it
        where = "WHERE kiosk_no = :no AND at >= :since AND at < :until AND component = :component"
        query = text(
            f"SELECT bucket, avg(value), min(value), max(value) FROM ({found} {where}) AS s "  # noqa: S608 - the same
            "WHERE value IS NOT NULL GROUP BY bucket ORDER BY bucket"
        ).bindparams(
            bindparam("since", type_=UtcDateTime()),
            bindparam("until", type_=UtcDateTime()),
        )
        parameters = {
            "no": kiosk_no,
            "component": component,
            "metric": metric,
            "since": since,
            "until": until,
            "bucket_s": bucket_s,
        }
        async with self._database.read() as connection:
            rows = await connection.execute(query, parameters)
            return [(int(row[0]), float(row[1]), float(row[2]), float(row[3])) for row in rows]

    async def events(
        self, kiosk_no: int, *, kind: str | None, since: datetime | None, before_no: int | None, limit: int
    ) -> list[EventRow]:
        """Events of a kiosk, newest first."""
        statement = select(EventRow).where(EventRow.kiosk_no == kiosk_no).order_by(col(EventRow.no).desc())
        if kind is not None:
            statement = statement.where(EventRow.kind == kind)
        if since is not None:
            statement = statement.where(EventRow.at >= since)
        if before_no is not None:
            statement = statement.where(col(EventRow.no) < before_no)
        async with self._database.read_session() as session:
            return list(await session.exec(statement.limit(limit)))

    async def chain_rows(self, kiosk_no: int, epoch: str, after_n: int, limit: int) -> list[EventRow]:
        """Chained records of an epoch after the n-th, in the order of the chain."""
        statement = (
            select(EventRow)
            .where(EventRow.kiosk_no == kiosk_no, EventRow.epoch == epoch, col(EventRow.chain_n) > after_n)
            .order_by(col(EventRow.chain_n))
            .limit(limit)
        )
        async with self._database.read_session() as session:
            return list(await session.exec(statement))


def _sample(batch: Accepted, record: TelemetryRecord, at: datetime) -> SampleTuple:
    return (
        batch.kiosk_no,
        record.seq,
        at,
        record.at,
        batch.received_at,
        record.hist,
        batch.epoch,
        record.component,
        orjson.dumps(record.values),
    )


def _event(batch: Accepted, record: AnyRecord, at: datetime) -> dict[str, Any]:
    document = record.model_dump(mode="json", exclude_unset=True)
    is_chained = record.record_class is RecordClass.P0 and record.chain is not None
    return {
        "kiosk_no": batch.kiosk_no,
        "epoch": batch.epoch,
        "seq": record.seq,
        "at": at,
        "kiosk_at": record.at,
        "received_at": batch.received_at,
        "hist": record.hist,
        "record_class": record.record_class.value,
        "kind": record.kind,
        "component": getattr(record, "component", "agent"),
        "name": _name(record),
        "fields": {key: _storable(value) for key, value in document.items() if key not in _BASE},
        "chain_n": record.chain_n if is_chained else None,
        "chain": record.chain if is_chained else None,
        "digest": record_digest(document) if is_chained else None,
    }


def _storable(value: Any) -> Any:  # noqa: ANN401 - a JSON value
    """The value without NUL characters, which no JSON column takes."""
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd")
    if isinstance(value, dict):
        return {_storable(key): _storable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_storable(item) for item in value]
    return value


def _stored(moment: datetime) -> str:
    """How `UtcDateTime` writes a moment on SQLite."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


def _name(record: AnyRecord) -> str:
    """What the record is about, in one word."""
    if isinstance(record, AlarmRecord):
        return record.code
    if isinstance(record, EventRecord):
        return record.name
    if isinstance(record, AuditRecord):
        return record.action
    return record.kind
