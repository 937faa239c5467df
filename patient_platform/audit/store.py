"""The table of the audit trail: rows are added, never changed; the database itself refuses."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import BigInteger, MetaData, insert, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import Field, SQLModel, col, select

from kit.store import Database, Json, UtcDateTime, metadata_of
from patient_platform.audit.model import AuditEntry, AuditHead, AuditRow, chained

METADATA: MetaData = metadata_of("patient")


class _Row(SQLModel):
    metadata: ClassVar[MetaData] = METADATA


class AuditHeadRow(_Row, table=True):
    """The one row with the end of the chain; its lock makes writers queue up."""

    __tablename__ = "audit_head"
    id: int = Field(primary_key=True)
    no: int = Field(sa_type=BigInteger)
    chain: str = Field(max_length=64)


class AuditLine(_Row, table=True):
    """One line."""

    __tablename__ = "audit_line"
    no: int = Field(sa_type=BigInteger, primary_key=True)
    at: datetime = Field(sa_type=UtcDateTime, index=True)
    actor: str = Field(max_length=64, index=True)
    action: str = Field(max_length=64)
    target: str | None = Field(default=None, max_length=64, index=True)
    outcome: str = Field(max_length=64)
    fields: dict[str, Any] = Field(sa_type=Json)  # Any: a JSON document
    chain: str = Field(max_length=64)


async def append(connection: AsyncConnection, entry: AuditEntry, at: datetime) -> None:
    """Add one row at the end within the transaction that does what it tells of: both are there, or neither.

    The head stays locked until that transaction ends; whoever locks other rows too does so first.
    """
    asked = select(AuditHeadRow.no, AuditHeadRow.chain).where(col(AuditHeadRow.id) == 1).with_for_update()
    no, chain = (await connection.execute(asked)).one()
    row = chained(AuditHead(no, chain), entry, at)
    await connection.execute(update(AuditHeadRow).where(col(AuditHeadRow.id) == 1).values(no=row.no, chain=row.chain))
    await connection.execute(insert(AuditLine), [{name: getattr(row, name) for name in AuditRow.__slots__}])


class AuditStore:
    """Adds and reads rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(self, entry: AuditEntry, at: datetime) -> None:
        """Add one row at the end. Raises: StoreBusy."""
        await self._database.transact(lambda connection: append(connection, entry, at))

    async def head(self) -> AuditHead:
        """The end of the trail as it is noted beside the rows."""
        async with self._database.read_session() as session:
            row = await session.get_one(AuditHeadRow, 1)
            return AuditHead(row.no, row.chain)

    async def rows(
        self, *, after_no: int = 0, limit: int, target: str | None = None, newest_first: bool = False
    ) -> Sequence[AuditRow]:
        """Rows after a number."""
        line = AuditLine
        order = col(line.no).desc() if newest_first else col(line.no)
        statement = select(line).where(line.no > after_no).order_by(order).limit(limit)
        if target is not None:
            statement = statement.where(line.target == target)
        async with self._database.read_session() as session:
            return [AuditRow(**row.model_dump()) for row in await session.exec(statement)]
