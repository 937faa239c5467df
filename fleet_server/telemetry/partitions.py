"""Days of samples: a partition each on PostgreSQL, made ahead and dropped when old; on SQLite rows go in slices."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from kit.clock import Clock
from kit.logs import get_logger
from kit.store import Database, Dialect, StoreBusy

AHEAD_DAYS: Final = 3
BEHIND_DAYS: Final = 2
INTERVAL_S: Final = 3_600.0
SLICE_ROWS: Final = 5_000
_PREFIX: Final = "telemetry_sample_"
log = get_logger(__name__)


class TelemetryKeeper:
    """The duty that makes partitions ahead and removes what is older than it must be."""

    name = "telemetry-keeper"

    def __init__(self, database: Database, clock: Clock, *, keep_days: int, keep_event_days: int) -> None:
        """Keep samples and events for that many days."""
        self._database = database
        self._clock = clock
        self._keep_days = keep_days
        self._keep_event_days = keep_event_days

    async def run(self) -> None:
        """Tidy up every hour until cancelled."""
        while True:
            try:
                await self.tidy()
            except StoreBusy:
                log.warning("telemetry.tidying_delayed")
            await asyncio.sleep(INTERVAL_S)

    async def tidy(self) -> None:
        """Make what is missing, remove what is old. Raises: StoreBusy."""
        now = self._clock.utc()
        if self._database.dialect is Dialect.POSTGRESQL:
            async with self._database.write() as connection:
                await _make_partitions(connection, now.date())
                await _drop_partitions(connection, (now - timedelta(days=self._keep_days)).date())
        await self._delete("telemetry_sample", "rowid", now - timedelta(days=self._keep_days))
        await self._delete("telemetry_event", "no", now - timedelta(days=self._keep_event_days))

    async def _delete(self, table: str, key: str, before: datetime) -> None:
        """Delete old rows in slices, so that no transaction holds up the ingest for long."""
        if self._database.dialect is Dialect.POSTGRESQL:
            key = "ctid"
        moment = before if self._database.dialect is Dialect.POSTGRESQL else before.replace(tzinfo=None).isoformat(" ")
        statement = text(
            f"DELETE FROM {table} WHERE {key} IN (SELECT {key} FROM {table} WHERE at < :before LIMIT {SLICE_ROWS})"  # noqa: S608 - names of ours
        )
        while True:
            async with self._database.write() as connection:
                deleted = (await connection.execute(statement, {"before": moment})).rowcount
            if deleted < SLICE_ROWS:
                return


async def _make_partitions(connection: AsyncConnection, today: date) -> None:
    """Have a partition for each day around today; rows already in the default partition stay there."""
    existing = await _partitions(connection)
    for offset in range(-BEHIND_DAYS, AHEAD_DAYS + 1):
        day = today + timedelta(days=offset)
        name = f"{_PREFIX}{day:%Y%m%d}"
        if name in existing:
            continue
        bounds = {"since": _midnight(day), "until": _midnight(day + timedelta(days=1))}
        strays = await connection.scalar(
            text("SELECT count(*) FROM telemetry_sample_default WHERE at >= :since AND at < :until"), bounds
        )
        if strays:
            continue
        await connection.execute(
            text(
                f"CREATE TABLE IF NOT EXISTS {name} PARTITION OF telemetry_sample "
                f"FOR VALUES FROM ('{bounds['since'].isoformat()}') TO ('{bounds['until'].isoformat()}')"
            )
        )


async def _drop_partitions(connection: AsyncConnection, before: date) -> None:
    for name in await _partitions(connection):
        day = name.removeprefix(_PREFIX)
        if day.isdigit() and day < f"{before:%Y%m%d}":
            await connection.execute(text(f"DROP TABLE {name}"))
            log.info("telemetry.day_dropped", day=day)


async def _partitions(connection: AsyncConnection) -> set[str]:
    statement = text("SELECT relname FROM pg_class WHERE relkind = 'r' AND relispartition AND relname LIKE :name")
    found = await connection.execute(statement, {"name": f"{_PREFIX}%"})
    return {row[0] for row in found}


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
