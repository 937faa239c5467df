"""The table of capabilities: one row a (kiosk, component, subject), with the last that was said."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import BigInteger, MetaData
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import Field, SQLModel, col, func, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from fleet_server.capabilities.model import ENTRIES_MAX, Entry
from fleet_server.capabilities.rules import newest
from kit.store import Database, Json, UtcDateTime, metadata_of

METADATA: MetaData = metadata_of("fleet")


class _Row(SQLModel):
    metadata: ClassVar[MetaData] = METADATA


class CapabilityChangeRow(_Row, table=True):
    """The one row of the change counter; its lock makes writers queue up, so changes appear in order."""

    __tablename__ = "capabilities_change"
    id: int = Field(primary_key=True)
    value: int = Field(sa_type=BigInteger)


class CapabilityRow(_Row, table=True):
    """An entry."""

    __tablename__ = "capabilities_entry"
    kid: str = Field(max_length=40, primary_key=True)
    component: str = Field(max_length=64, primary_key=True)
    subject: str = Field(max_length=64, primary_key=True)
    epoch: str = Field(max_length=64)
    seq: int = Field(sa_type=BigInteger)
    at: datetime = Field(sa_type=UtcDateTime)
    body: dict[str, Any] = Field(sa_type=Json)  # Any: a JSON document
    change_seq: int = Field(sa_type=BigInteger, index=True)


class CapabilityStore:
    """Keeps what kiosks say and reads it."""

    def __init__(self, database: Database) -> None:
        """Use this database."""
        self._database = database

    async def apply(self, said: Sequence[Entry]) -> None:
        """Keep what is new, in a transaction of its own."""
        async with self._database.write() as connection:
            await self.apply_in(connection, said)

    async def apply_in(self, connection: AsyncConnection, said: Sequence[Entry]) -> None:
        """Keep what is new, inside a transaction."""
        if not said:
            return
        async with AsyncSession(bind=connection, expire_on_commit=False) as session:
            statement = update(CapabilityChangeRow).where(col(CapabilityChangeRow.id) == 1)
            raised = await session.exec(
                statement.values(value=CapabilityChangeRow.value + 1).returning(col(CapabilityChangeRow.value))
            )
            change_seq = raised.scalar_one()
            for entry in said:
                row = await session.get(CapabilityRow, entry.key)
                kept = newest(None if row is None else _entry(row), entry)
                if kept is not None and (row is not None or await _has_room(session, entry.kid)):
                    await session.merge(_row(kept, change_seq))
                    await session.flush()

    async def changed_since(self, change_seq: int) -> list[Entry]:
        """Entries changed after that number, in the order of their changes."""
        statement = select(CapabilityRow).where(CapabilityRow.change_seq > change_seq)
        async with self._database.read_session() as session:
            return [_entry(row) for row in await session.exec(statement.order_by(col(CapabilityRow.change_seq)))]


async def _has_room(session: AsyncSession, kid: str) -> bool:
    count = select(func.count()).select_from(CapabilityRow).where(col(CapabilityRow.kid) == kid)
    return (await session.exec(count)).one() < ENTRIES_MAX


def _entry(row: CapabilityRow) -> Entry:
    return Entry(row.kid, row.component, row.subject, row.epoch, row.seq, row.at, row.body, row.change_seq)


def _row(entry: Entry, change_seq: int) -> CapabilityRow:
    return CapabilityRow(
        kid=entry.kid,
        component=entry.component,
        subject=entry.subject,
        epoch=entry.epoch,
        seq=entry.seq,
        at=entry.at,
        body=entry.body,
        change_seq=change_seq,
    )
