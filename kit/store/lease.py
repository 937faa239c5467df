"""Leases: a duty that exactly one process does, kept as a row, fenced by a version.

The holder's clock may be wrong and its process may sleep past the end of its lease, so a lease alone proves nothing.
Every write done under it calls `fence` in the same transaction: the row's version rises with every change of holder,
and a holder whose version is over is refused by the database, not by its own idea of time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from sqlalchemy import BigInteger, Column, MetaData, String, Table, case, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from kit.store.database import Dialect, StoreError
from kit.store.types import UtcDateTime

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncConnection

    from kit.store.database import Database


class _Clock(Protocol):
    def utc(self) -> datetime: ...


class LeaseLost(StoreError):
    """Another process holds the lease now; whatever was under way must not be committed."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Proof of holding a name until a moment; `version` is higher than that of every earlier holder."""

    name: str
    holder: str
    version: int
    expires_at: datetime


def lease_table(metadata: MetaData) -> Table:
    """Return the table of leases in these metadata, declaring it the first time."""
    existing = metadata.tables.get("lease")
    if existing is not None:
        return existing
    return Table(
        "lease",
        metadata,
        Column("name", String(100), primary_key=True),
        Column("holder", String(200), nullable=False),
        Column("version", BigInteger, nullable=False),
        Column("expires_at", UtcDateTime, nullable=False),
    )


class Leases:
    """The leases of one database."""

    def __init__(self, database: Database, table: Table, clock: _Clock) -> None:
        """Use the given table; `clock` is compared between machines, so they keep time by NTP."""
        self._database = database
        self._table = table
        self._clock = clock

    async def acquire(self, name: str, holder: str, ttl_s: float) -> Lease | None:
        """Take the lease, or prolong it when it is the holder's already; None while another holds it."""
        now = self._clock.utc()
        expires_at = now + timedelta(seconds=ttl_s)
        row = self._table.c
        is_own = (row.holder == holder) & (row.expires_at > now)
        statement = (
            update(self._table)
            .where(row.name == name, or_(row.holder == holder, row.expires_at <= now))
            .values(holder=holder, expires_at=expires_at, version=case((is_own, row.version), else_=row.version + 1))
            .returning(row.version)
        )
        async with self._database.write() as connection:
            version = (await connection.execute(statement)).scalar_one_or_none()
            if version is None:
                version = await self._first(connection, name, holder, expires_at)
        return None if version is None else Lease(name, holder, version, expires_at)

    async def renew(self, lease: Lease, ttl_s: float) -> Lease:
        """Prolong a lease that nobody took meanwhile. Raises: LeaseLost."""
        expires_at = self._clock.utc() + timedelta(seconds=ttl_s)
        statement = update(self._table).where(*self._mine(lease)).values(expires_at=expires_at)
        async with self._database.write() as connection:
            if (await connection.execute(statement)).rowcount != 1:
                raise _lost(lease)
        return Lease(lease.name, lease.holder, lease.version, expires_at)

    async def release(self, lease: Lease) -> None:
        """Let others have it at once; does nothing when it is lost already."""
        statement = update(self._table).where(*self._mine(lease)).values(expires_at=self._clock.utc())
        async with self._database.write() as connection:
            await connection.execute(statement)

    async def fence(self, connection: AsyncConnection, lease: Lease) -> None:
        """Make this transaction depend on the lease: the row stays locked until it ends.

        Raises:
            LeaseLost: another process took it.

        """
        statement = select(self._table.c.version).where(*self._mine(lease)).with_for_update()
        if (await connection.execute(statement)).scalar_one_or_none() is None:
            raise _lost(lease)

    def _mine(self, lease: Lease) -> tuple[ColumnElement[bool], ...]:
        row = self._table.c
        return (row.name == lease.name, row.holder == lease.holder, row.version == lease.version)

    async def _first(self, connection: AsyncConnection, name: str, holder: str, expires_at: datetime) -> int | None:
        """Create the row when there is none; None when it is there, or another process creates it just now."""
        insert = postgresql.insert if self._database.dialect is Dialect.POSTGRESQL else sqlite.insert
        values = {"name": name, "holder": holder, "version": 1, "expires_at": expires_at}
        statement = insert(self._table).values(values).on_conflict_do_nothing().returning(self._table.c.version)
        version: int | None = (await connection.execute(statement)).scalar_one_or_none()
        return version


def _lost(lease: Lease) -> LeaseLost:
    return LeaseLost(f"lease {lease.name} version {lease.version} of {lease.holder} is over")
