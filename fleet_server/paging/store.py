"""Tables of paging."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

from sqlalchemy import BigInteger, MetaData, and_, insert
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import Field, SQLModel, col, func, select, update

from fleet_server.paging.model import CaseState, Delivery, DeliveryState, PagingCase
from kit.store import Database, UtcDateTime, metadata_of
from wire.faults import Severity

METADATA: MetaData = metadata_of("fleet")
_PENDING = (DeliveryState.DUE.value, DeliveryState.SENDING.value)


class _Row(SQLModel):
    metadata: ClassVar[MetaData] = METADATA


class PagingCursorRow(_Row, table=True):
    """How far the feed of incidents is read; moves in the transaction of what follows from it."""

    __tablename__ = "paging_cursor"
    id: int = Field(primary_key=True)
    seq: int = Field(sa_type=BigInteger)


class PagingCaseRow(_Row, table=True):
    """One occasion to page."""

    __tablename__ = "paging_case"
    incident: str = Field(max_length=26, primary_key=True)
    occasion: int = Field(sa_type=BigInteger, primary_key=True)
    severity: str = Field(max_length=16)
    began_at: datetime = Field(sa_type=UtcDateTime)
    state: str = Field(max_length=16, index=True)
    snoozed_until: datetime | None = Field(default=None, sa_type=UtcDateTime)


class DeliveryRow(_Row, table=True):
    """One message to one target; the key lets each exist once."""

    __tablename__ = "paging_delivery"
    incident: str = Field(max_length=26, primary_key=True)
    occasion: int = Field(sa_type=BigInteger, primary_key=True)
    step: int = Field(primary_key=True)
    turn: int = Field(primary_key=True)
    target: str = Field(max_length=64, primary_key=True)
    id: str = Field(max_length=26, unique=True)
    state: str = Field(max_length=16, index=True)
    due_at: datetime = Field(sa_type=UtcDateTime)
    attempts: int
    touched_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    note: str = Field(max_length=200)


class PagingStore:
    """Cases and deliveries."""

    def __init__(self, database: Database) -> None:
        """Use this database."""
        self._database = database

    async def cursor(self) -> int:
        """The last event of the feed that was read."""
        async with self._database.read_session() as session:
            return (await session.get_one(PagingCursorRow, 1)).seq

    async def move(self, connection: AsyncConnection, before: int, after: int) -> bool:
        """Move the cursor; False when somebody else has moved it."""
        row = PagingCursorRow
        statement = update(row).where(col(row.id) == 1, col(row.seq) == before).values(seq=after)
        return (await connection.execute(statement)).rowcount == 1

    async def last_case(self, incident: str) -> PagingCase | None:
        """The newest occasion of an incident."""
        row = PagingCaseRow
        statement = select(row).where(row.incident == incident).order_by(col(row.occasion).desc()).limit(1)
        async with self._database.read_session() as session:
            found = (await session.exec(statement)).first()
            return None if found is None else _case(found)

    async def paging(self) -> list[PagingCase]:
        """Cases of which somebody still has to be told."""
        statement = select(PagingCaseRow).where(PagingCaseRow.state == CaseState.PAGING.value)
        async with self._database.read_session() as session:
            return [_case(row) for row in await session.exec(statement)]

    async def end(self, connection: AsyncConnection, incident: str, now: datetime) -> None:
        """Nobody has to be told any more."""
        case, row = PagingCaseRow, DeliveryRow
        await connection.execute(update(case).where(col(case.incident) == incident).values(state=CaseState.ENDED.value))
        await connection.execute(
            update(row)
            .where(col(row.incident) == incident, col(row.state).in_(_PENDING))
            .values(state=DeliveryState.CANCELLED.value, touched_at=now)
        )

    async def snooze(self, connection: AsyncConnection, incident: str, until: datetime | None) -> None:
        """Page nobody until then."""
        case = PagingCaseRow
        await connection.execute(
            update(case)
            .where(col(case.incident) == incident, col(case.state) == CaseState.PAGING.value)
            .values(snoozed_until=until)
        )

    async def add_case(self, connection: AsyncConnection, case: PagingCase) -> None:
        """Keep a new occasion."""
        values = {name: getattr(case, name) for name in PagingCase.__slots__}
        await connection.execute(
            insert(PagingCaseRow), [{**values, "severity": case.severity.value, "state": case.state.value}]
        )

    async def deliveries_of(self, case: PagingCase) -> list[Delivery]:
        """Messages of one occasion."""
        row = DeliveryRow
        statement = select(row).where(row.incident == case.incident, row.occasion == case.occasion)
        async with self._database.read_session() as session:
            return [_delivery(one) for one in await session.exec(statement)]

    async def add(self, connection: AsyncConnection, deliveries: Sequence[Delivery]) -> None:
        """Keep new messages."""
        values = [
            {**{name: getattr(one, name) for name in Delivery.__slots__}, "state": one.state.value}
            for one in deliveries
        ]
        if values:
            await connection.execute(insert(DeliveryRow), values)

    async def pending(self) -> list[Delivery]:
        """Messages that are not handed over."""
        row = DeliveryRow
        statement = select(row).where(col(row.state).in_(_PENDING)).order_by(col(row.due_at))
        async with self._database.read_session() as session:
            return [_delivery(one) for one in await session.exec(statement)]

    async def given_up(self) -> int:
        """Messages that never arrived, of cases of which somebody still has to be told."""
        row, case = DeliveryRow, PagingCaseRow
        statement = (
            select(func.count())
            .select_from(row)
            .join(case, and_(col(case.incident) == col(row.incident), col(case.occasion) == col(row.occasion)))
            .where(row.state == DeliveryState.FAILED.value, case.state == CaseState.PAGING.value)
        )
        async with self._database.read_session() as session:
            return (await session.exec(statement)).one()

    async def put(self, connection: AsyncConnection, before: Delivery, after: Delivery) -> bool:
        """Change a message; False when it is not what it was."""
        row = DeliveryRow
        statement = update(row).where(
            col(row.id) == before.id, col(row.state) == before.state.value, col(row.attempts) == before.attempts
        )
        values = {"state": after.state.value, "due_at": after.due_at, "attempts": after.attempts}
        done = await connection.execute(statement.values(**values, touched_at=after.touched_at, note=after.note))
        return done.rowcount == 1

    async def deliveries(self, incident: str | None, limit: int) -> list[Delivery]:
        """Messages, the newest first."""
        row = DeliveryRow
        statement = select(row).order_by(col(row.due_at).desc(), col(row.id)).limit(limit)
        if incident is not None:
            statement = statement.where(row.incident == incident)
        async with self._database.read_session() as session:
            return [_delivery(one) for one in await session.exec(statement)]


def _case(row: PagingCaseRow) -> PagingCase:
    return PagingCase(**{**row.model_dump(), "severity": Severity(row.severity), "state": CaseState(row.state)})


def _delivery(row: DeliveryRow) -> Delivery:
    return Delivery(**{**row.model_dump(), "state": DeliveryState(row.state)})
