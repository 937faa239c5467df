"""The sink of everything that is not plain telemetry: alarm edges, events, audit entries, results.

Each is kept as the canonical text its digest covers, so that what a kiosk chained can be proved again from the
store alone. Chained records are verified after the commit (see `chain`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from fleet_server.uplink.decode import storable
from fleet_server.uplink.model import Evidence, Incoming, Stream, to_moment
from fleet_server.uplink.times import kiosk_time
from kit.store import Database, Dialect
from wire.uplink import AlarmRecord, AnyRecord, EventRecord, TelemetryRecord

COLUMNS: Final = (
    "kiosk_no",
    "stream_no",
    "seq",
    "at",
    "kiosk_at",
    "received_at",
    "basis",
    "hist",
    "record_class",
    "kind",
    "component",
    "name",
    "body",
    "chain_n",
    "chain",
    "digest",
)
TYPES: Final = (
    "int4",
    "int4",
    "int8",
    *("timestamptz",) * 3,
    "int2",
    "bool",
    *("text",) * 5,
    "int8",
    "text",
    "text",
)
"""PostgreSQL's types of `COLUMNS`."""
NAME_FIELDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "alarm": "code",
        "event": "name",
        "audit": "action",
        "command_status": "state",
        "twin_report": "state",
        "update_progress": "state",
    }
)
"""Which field says in a word what a record of this kind is about; the others are named after their kind."""
AGENT: Final = "agent"
"""The component of records that name none."""
_OF_A_COMPONENT: Final = (AlarmRecord, EventRecord, TelemetryRecord)
"""What else is called component in a record is a field of a newer agent, and anything."""
_COPY: Final = f"COPY telemetry_event ({', '.join(COLUMNS)}) FROM STDIN (FORMAT BINARY)"
_MARKS: Final = ", ".join("?" * len(COLUMNS))
_INSERT: Final = f"INSERT INTO telemetry_event ({', '.join(COLUMNS)}) VALUES ({_MARKS})"  # noqa: S608 - names of ours
Row = tuple[Any, ...]  # Any: one column each


class EvidenceSink:
    """A sink of the uplink."""

    def __init__(self, database: Database) -> None:
        """Write to this database."""
        self._database = database
        self._is_postgresql = database.dialect is Dialect.POSTGRESQL
        self._chained: Callable[[int], None] = lambda _: None

    def on_chained(self, look_at: Callable[[int], None]) -> None:
        """Call `look_at` with the number of each stream that got chained records."""
        self._chained = look_at

    def prepare(self, batch: Incoming, stream: Stream) -> list[Row] | None:
        """See `RecordSink`."""
        if not batch.evidence:
            return None
        return [self._row(batch, stream, item) for item in batch.evidence]

    async def write(self, connection: AsyncConnection, parts: Sequence[list[Row]]) -> None:
        """See `RecordSink`."""
        rows = [row for part in parts for row in part]
        if not self._is_postgresql:
            await connection.exec_driver_sql(_INSERT, rows)
            return
        driver = await self._database.driver_connection(connection)
        async with driver.cursor() as cursor, cursor.copy(_COPY) as copy:
            copy.set_types(TYPES)
            for row in rows:
                await copy.write_row(row)

    def committed(self, parts: Sequence[list[Row]]) -> None:
        """See `RecordSink`."""
        for number in {row[1] for part in parts for row in part if row[-2] is not None}:
            self._chained(number)

    def _row(self, batch: Incoming, stream: Stream, item: Evidence) -> Row:
        record, sender = item.record, batch.header.sender
        times = (item.at_us, kiosk_time(item.kiosk_us), sender.received_us)
        is_chained = record.chain is not None and record.chain_n is not None
        return (
            sender.kiosk_no,
            stream.no,
            record.seq,
            *(map(to_moment, times) if self._is_postgresql else times),
            int(item.basis),
            record.hist,
            record.record_class.value,
            record.kind,
            record.component if isinstance(record, _OF_A_COMPONENT) else AGENT,
            name_of(record),
            item.body,
            record.chain_n if is_chained else None,
            record.chain if is_chained else None,
            item.digest if is_chained else None,
        )


def name_of(record: AnyRecord) -> str:
    """What the record is about, in one word."""
    field = NAME_FIELDS.get(record.kind)
    return record.kind if field is None else storable(str(getattr(record, field)))
