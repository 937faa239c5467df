"""The duty that keeps telemetry in bounds: partitions made ahead, old days dropped, old rows deleted in slices.

On PostgreSQL samples have a partition for each day; what belongs to no day that was made ahead lies in the
default partition. Chained records leave only from the front of their chain, and the chain value behind the last one
that left stays, so that the rest can still be proved.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

import sqlalchemy.exc
from sqlalchemy import TextClause, bindparam, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from fleet_server.telemetry.columns import Instant
from fleet_server.telemetry.store import CHAIN, EVENT
from fleet_server.uplink.store import UplinkStore
from kit.clock import Clock
from kit.logs import get_logger
from kit.store import Database, Dialect, StoreBusy

AHEAD_DAYS: Final = 7
BEHIND_DAYS: Final = 2
INTERVAL_S: Final = 3_600.0
SLICE_ROWS: Final = 2_000
PAUSE_S: Final = 0.05
"""Between two slices, so that the ingest gets its turn."""
LOCK_TIMEOUT: Final = "2s"
PREFIX: Final = "telemetry_sample_"
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Keep:
    """How long rows are kept, in days."""

    telemetry_days: int
    events_days: int


class TelemetryKeeper:
    """See the module."""

    name = "telemetry-keeper"

    def __init__(self, database: Database, uplink: UplinkStore, clock: Clock, keep: Keep) -> None:
        """Tidy up this database."""
        self._database = database
        self._uplink = uplink
        self._clock = clock
        self._keep = keep
        self._is_postgresql = database.dialect is Dialect.POSTGRESQL

    async def run(self) -> None:
        """Tidy up every hour until cancelled."""
        while True:
            try:
                await self.tidy()
            except (StoreBusy, sqlalchemy.exc.DBAPIError, OSError) as error:
                log.warning("telemetry.tidying_delayed", error=type(error).__name__)
            await asyncio.sleep(INTERVAL_S)

    async def tidy(self) -> None:
        """Make what is missing, remove what is old.

        Raises:
            StoreBusy, sqlalchemy.exc.DBAPIError: the rest is done next time.
        """
        now = self._clock.utc()
        old_samples = now - timedelta(days=self._keep.telemetry_days)
        old_events = now - timedelta(days=self._keep.events_days)
        if self._is_postgresql:
            await self._make_partitions(now.date())
            await self._drop_partitions(old_samples.date())
        await self._delete_samples(old_samples)
        await self._shorten_chains(old_events)
        await self._delete_events(old_events)
        await self._uplink.forget_rejected(old_samples)

    async def _make_partitions(self, today: date) -> None:
        """Have a partition for each day around today; one whose rows already lie in the default partition is left."""
        async with self._database.read() as connection:
            existing = await _partitions(connection)
        for offset in range(-BEHIND_DAYS, AHEAD_DAYS + 1):
            day = today + timedelta(days=offset)
            name = f"{PREFIX}{day:%Y%m%d}"
            if name in existing:
                continue
            since, until = _midnight(day), _midnight(day + timedelta(days=1))
            async with self._database.write() as connection:
                await connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))
                strays = text("SELECT 1 FROM telemetry_sample_default WHERE at >= :since AND at < :until LIMIT 1")
                if await connection.scalar(strays, {"since": since, "until": until}):
                    log.info("telemetry.day_not_made", day=f"{day:%Y%m%d}")
                    continue
                bounds = f"FROM ('{since.isoformat()}') TO ('{until.isoformat()}')"
                await connection.execute(
                    text(f"CREATE TABLE IF NOT EXISTS {name} PARTITION OF telemetry_sample FOR VALUES {bounds}")
                )

    async def _drop_partitions(self, before: date) -> None:
        async with self._database.read() as connection:
            existing = await _partitions(connection)
        for name in sorted(existing):
            day = name.removeprefix(PREFIX)
            if day.isdigit() and day < f"{before:%Y%m%d}":
                async with self._database.write() as connection:
                    await connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))
                    await connection.execute(text(f"DROP TABLE {name}"))
                log.info("telemetry.day_dropped", day=day)

    async def _delete_samples(self, before: datetime) -> None:
        """Delete old rows of the default partition, or on SQLite of each kiosk, by the index there is."""
        if self._is_postgresql:
            await self._in_slices(_OLD_DEFAULT, {"before": before})
            return
        async with self._database.read() as connection:
            numbers = [number for number in await connection.scalars(_KIOSKS) if number is not None]
        for number in numbers:
            await self._in_slices(_OLD_SAMPLES, {"before": before, "number": number})

    async def _delete_events(self, before: datetime) -> None:
        await self._in_slices(_OLD_EVENTS, {"before": before})

    async def _shorten_chains(self, before: datetime) -> None:
        """Let old records leave from the front of each proved chain."""
        old = select(EVENT.c.stream_no).where(EVENT.c.at < before, EVENT.c.chain_n.is_not(None)).distinct()
        async with self._database.read() as connection:
            numbers = list(await connection.scalars(old))
        for number in numbers:
            async with self._database.write() as connection:
                await _shorten(connection, number, before)
            await asyncio.sleep(PAUSE_S)

    async def _in_slices(self, statement: TextClause, values: dict[str, object]) -> None:
        """Run a deletion of `SLICE_ROWS` rows until there are no more, so that none holds up the ingest for long."""
        while True:
            async with self._database.write() as connection:
                deleted = (await connection.execute(statement, values | {"slice": SLICE_ROWS})).rowcount
            if deleted < SLICE_ROWS:
                return
            await asyncio.sleep(PAUSE_S)


_BEFORE: Final = bindparam("before", type_=Instant())
_OLD_DEFAULT: Final = text(
    "DELETE FROM telemetry_sample_default WHERE ctid IN "
    "(SELECT ctid FROM telemetry_sample_default WHERE at < :before LIMIT :slice)"
).bindparams(_BEFORE)
_OLD_SAMPLES: Final = text(
    "DELETE FROM telemetry_sample WHERE rowid IN "
    "(SELECT rowid FROM telemetry_sample WHERE kiosk_no = :number AND at < :before LIMIT :slice)"
).bindparams(_BEFORE)
_OLD_EVENTS: Final = text(
    "DELETE FROM telemetry_event WHERE no IN "
    "(SELECT no FROM telemetry_event WHERE at < :before AND chain_n IS NULL LIMIT :slice)"
).bindparams(_BEFORE)
_KIOSKS: Final = text(
    "WITH RECURSIVE k(no) AS (SELECT min(kiosk_no) FROM telemetry_sample UNION ALL"
    " SELECT (SELECT min(kiosk_no) FROM telemetry_sample WHERE kiosk_no > k.no) FROM k WHERE k.no IS NOT NULL)"
    " SELECT no FROM k"
)
"""The kiosks with samples, from one look at the index each."""


async def _shorten(connection: AsyncConnection, stream_no: int, before: datetime) -> None:
    """Delete the proved records in front of the first one that is not old, and keep the chain value behind them."""
    proved_n = await connection.scalar(select(CHAIN.c.proved_n).where(CHAIN.c.stream_no == stream_no))
    if proved_n is None:
        return
    of_stream = (EVENT.c.stream_no == stream_no, EVENT.c.chain_n.is_not(None))
    first_young = await connection.scalar(select(func.min(EVENT.c.chain_n)).where(*of_stream, EVENT.c.at >= before))
    last_n = proved_n if first_young is None else min(proved_n, first_young - 1)
    last = (*of_stream, EVENT.c.chain_n == last_n)
    value = await connection.scalar(select(EVENT.c.chain).where(*last).limit(1))
    if value is None:
        return
    await connection.execute(EVENT.delete().where(*of_stream, EVENT.c.chain_n <= last_n))
    await connection.execute(CHAIN.update().where(CHAIN.c.stream_no == stream_no).values(base_n=last_n, base=value))
    log.info("evidence.shortened", stream=stream_no, through_n=last_n)


async def _partitions(connection: AsyncConnection) -> set[str]:
    statement = text(
        "SELECT c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid"
        " WHERE i.inhparent = 'telemetry_sample'::regclass"
    )
    return set(await connection.scalars(statement))


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
