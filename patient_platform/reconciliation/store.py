"""Comparisons and what they found; nothing is ever changed, a new run is a new version."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import date, datetime
from typing import Any, ClassVar

from sqlalchemy import BigInteger, MetaData, UniqueConstraint, insert
from sqlmodel import Field, SQLModel, col, func, select

from kit.store import Database, Json, UtcDateTime, metadata_of
from patient_platform.money import Fen
from patient_platform.payment.model import ChannelName
from patient_platform.reconciliation.model import Batch, BatchState, Code, Finding, Totals

METADATA: MetaData = metadata_of("patient")
_AT_ONCE = 1_000


class BatchRow(SQLModel, table=True):
    """A comparison."""

    metadata: ClassVar[MetaData] = METADATA
    __tablename__ = "reconciliation_batch"
    __table_args__ = (UniqueConstraint("day", "channel", "version"),)
    id: int | None = Field(default=None, primary_key=True)
    day: date = Field(index=True)
    channel: str = Field(max_length=20)
    version: int
    state: str = Field(max_length=20)
    made_at: datetime = Field(sa_type=UtcDateTime)
    reason: str = Field(max_length=400)
    counts: dict[str, Any] = Field(sa_type=Json)  # Any: a JSON document
    ours: dict[str, Any] = Field(sa_type=Json)  # Any: a JSON document
    theirs: dict[str, Any] = Field(sa_type=Json)  # Any: a JSON document


class FindingRow(SQLModel, table=True):
    """A difference."""

    metadata: ClassVar[MetaData] = METADATA
    __tablename__ = "reconciliation_finding"
    id: int | None = Field(default=None, primary_key=True)
    batch: int = Field(foreign_key="reconciliation_batch.id", index=True)
    code: str = Field(max_length=10, index=True)
    number: str = Field(max_length=64)
    trade_no: str = Field(max_length=64, index=True)
    order: str | None = Field(default=None, max_length=26)
    ours_fen: int | None = Field(default=None, sa_type=BigInteger)
    channel_fen: int | None = Field(default=None, sa_type=BigInteger)
    his_fen: int | None = Field(default=None, sa_type=BigInteger)


class ReconciliationStore:
    """Keeps every version."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def next_version(self, day: date, channel: ChannelName) -> int:
        """The number of the next comparison of this day."""
        statement = select(func.max(BatchRow.version)).where(BatchRow.day == day, BatchRow.channel == channel.value)
        async with self._database.read_session() as session:
            last = (await session.exec(statement)).one()
        return 1 + (last or 0)

    async def keep(self, batch: Batch) -> None:
        """Add a comparison with its findings."""
        row = BatchRow(
            day=batch.day,
            channel=batch.channel.value,
            version=batch.version,
            state=batch.state.value,
            made_at=batch.made_at,
            reason=batch.reason,
            counts=dict(batch.counts),
            ours=asdict(batch.ours),
            theirs=asdict(batch.theirs),
        )
        async with self._database.session() as session:
            session.add(row)
            await session.flush()
            values = [{"batch": row.id, **_values(finding)} for finding in batch.findings]
            connection = await session.connection()
            for start in range(0, len(values), _AT_ONCE):
                await connection.execute(insert(FindingRow), values[start : start + _AT_ONCE])

    async def newest(self) -> list[Batch]:
        """The newest comparison of the newest day of every channel, without its findings."""
        found = []
        async with self._database.read_session() as session:
            for channel in ChannelName:
                asked = select(BatchRow).where(BatchRow.channel == channel.value)
                asked = asked.order_by(col(BatchRow.day).desc(), col(BatchRow.version).desc()).limit(1)
                found += [_batch(row, ()) for row in await session.exec(asked)]
        return found

    async def latest(self, day: date) -> list[Batch]:
        """The newest comparison of every channel."""
        newest: dict[str, BatchRow] = {}
        async with self._database.read_session() as session:
            for row in await session.exec(select(BatchRow).where(BatchRow.day == day).order_by(col(BatchRow.version))):
                newest[row.channel] = row
            found = []
            for row in newest.values():
                rows = await session.exec(
                    select(FindingRow).where(FindingRow.batch == row.id).order_by(col(FindingRow.id))
                )
                found.append(_batch(row, rows))
        return found


def _values(finding: Finding) -> dict[str, object]:
    return {**asdict(finding), "code": finding.code.value}


def _fen(amount: int | None) -> Fen | None:
    return None if amount is None else Fen(amount)


def _batch(row: BatchRow, findings: Iterable[FindingRow]) -> Batch:
    return Batch(
        row.day,
        ChannelName(row.channel),
        row.version,
        BatchState(row.state),
        row.made_at,
        row.reason,
        dict(row.counts),
        Totals(**row.ours),
        Totals(**row.theirs),
        tuple(
            Finding(
                Code(item.code),
                item.number,
                item.trade_no,
                item.order,
                _fen(item.ours_fen),
                _fen(item.channel_fen),
                _fen(item.his_fen),
            )
            for item in findings
        ),
    )
