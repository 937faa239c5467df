"""Tables of paging."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, ClassVar, Final

from sqlalchemy import BigInteger, MetaData, and_, insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import Field, SQLModel, col, delete, func, select, update

from fleet_server.paging.model import AckLink, CaseState, Delivery, DeliveryState, Forecast, PagingCase
from fleet_server.paging.roster import Handover, Roster, Swap
from fleet_server.settings import DutyLine
from kit.store import Database, Json, UtcDateTime, metadata_of
from wire.faults import Severity

LINKS_KEPT: Final = timedelta(days=7)
METADATA: MetaData = metadata_of("fleet")
_PENDING = (DeliveryState.DUE.value, DeliveryState.SENDING.value)


class Feed(Enum):
    """What is read, by the row of its cursor."""

    INCIDENTS = 1
    ORDERS = 2


class _Row(SQLModel):
    metadata: ClassVar[MetaData] = METADATA


class PagingCursorRow(_Row, table=True):
    """How far a feed is read; moves in the transaction of what follows from it."""

    __tablename__ = "paging_cursor"
    id: int = Field(primary_key=True)
    seq: int = Field(sa_type=BigInteger)
    turned_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When the duty last noted a turn; in the row of the incidents' feed only."""


class PagingCaseRow(_Row, table=True):
    """One occasion to page."""

    __tablename__ = "paging_case"
    incident: str = Field(max_length=26, primary_key=True)
    occasion: int = Field(sa_type=BigInteger, primary_key=True)
    severity: str = Field(max_length=16)
    began_at: datetime = Field(sa_type=UtcDateTime)
    state: str = Field(max_length=16, index=True)
    snoozed_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    forecast: dict[str, Any] | None = Field(default=None, sa_type=Json)  # Any: a JSON document


class AckLinkRow(_Row, table=True):
    """A link by which one receiver acknowledges."""

    __tablename__ = "paging_link"
    digest: str = Field(max_length=64, primary_key=True)
    incident: str = Field(max_length=26)
    delivery: str = Field(max_length=26)
    by: str = Field(max_length=64)
    is_person: bool
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)
    used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


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
    person: str | None = Field(default=None, max_length=64)


class RosterRow(_Row, table=True):
    """Who is on duty on one line, week by week."""

    __tablename__ = "paging_roster"
    line: str = Field(max_length=16, primary_key=True)
    version: int
    document: dict[str, Any] = Field(sa_type=Json)  # Any: a JSON document
    changed_at: datetime = Field(sa_type=UtcDateTime)
    changed_by: str = Field(max_length=64)


class SwapRow(_Row, table=True):
    """A dated change of a roster."""

    __tablename__ = "paging_swap"
    id: str = Field(max_length=26, primary_key=True)
    line: str = Field(max_length=16)
    starts_at: datetime = Field(sa_type=UtcDateTime)
    ends_at: datetime = Field(sa_type=UtcDateTime, index=True)
    stands_in: str = Field(max_length=64)
    replaces: str | None = Field(default=None, max_length=64)
    note: str = Field(max_length=500)
    created_at: datetime = Field(sa_type=UtcDateTime)
    created_by: str = Field(max_length=64)


class HandoverRow(_Row, table=True):
    """One hands over to the other."""

    __tablename__ = "paging_handover"
    id: str = Field(max_length=26, primary_key=True)
    line: str = Field(max_length=16)
    gives: str = Field(max_length=64)
    takes: str = Field(max_length=64)
    note: str = Field(max_length=500)
    offered_at: datetime = Field(sa_type=UtcDateTime, index=True)
    confirmed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class PagingStore:
    """Cases and deliveries."""

    def __init__(self, database: Database) -> None:
        """Use this database."""
        self._database = database

    async def cursor(self, feed: Feed) -> int:
        """The last line of a feed that was read."""
        async with self._database.read_session() as session:
            return (await session.get_one(PagingCursorRow, feed.value)).seq

    async def move(self, connection: AsyncConnection, feed: Feed, before: int, after: int) -> bool:
        """Move the cursor; False when somebody else has moved it."""
        row = PagingCursorRow
        statement = update(row).where(col(row.id) == feed.value, col(row.seq) == before).values(seq=after)
        return (await connection.execute(statement)).rowcount == 1

    async def turned(self, connection: AsyncConnection, now: datetime) -> None:
        """Note that the duty had a turn."""
        row = PagingCursorRow
        await connection.execute(update(row).where(col(row.id) == Feed.INCIDENTS.value).values(turned_at=now))

    async def turned_at(self) -> datetime | None:
        """When the duty last noted a turn."""
        async with self._database.read_session() as session:
            return (await session.get_one(PagingCursorRow, Feed.INCIDENTS.value)).turned_at

    async def last_case(self, incident: str) -> PagingCase | None:
        """The newest occasion of an incident."""
        row = PagingCaseRow
        statement = select(row).where(row.incident == incident).order_by(col(row.occasion).desc()).limit(1)
        async with self._database.read_session() as session:
            found = (await session.exec(statement)).first()
            return None if found is None else _case(found)

    async def case(self, delivery: Delivery) -> PagingCase | None:
        """The occasion of a message."""
        async with self._database.read_session() as session:
            found = await session.get(PagingCaseRow, (delivery.incident, delivery.occasion))
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
        plain = {"severity": case.severity.value, "state": case.state.value}
        forecast = None if case.forecast is None else asdict(case.forecast)
        await connection.execute(insert(PagingCaseRow), [{**values, **plain, "forecast": forecast}])

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

    async def add_link(self, connection: AsyncConnection, link: AckLink, now: datetime) -> None:
        """Keep a link; old ones go."""
        row = AckLinkRow
        await connection.execute(delete(row).where(col(row.expires_at) < now - LINKS_KEPT))
        await connection.execute(insert(row), [{name: getattr(link, name) for name in AckLink.__slots__}])

    async def link(self, digest: str) -> AckLink | None:
        """A link by the digest of its token."""
        async with self._database.read_session() as session:
            found = await session.get(AckLinkRow, digest)
            return None if found is None else AckLink(**found.model_dump())

    async def use_link(self, digest: str, now: datetime) -> bool:
        """Use a link up; False when it was."""
        row = AckLinkRow
        statement = update(row).where(col(row.digest) == digest, col(row.used_at).is_(None)).values(used_at=now)
        async with self._database.write() as connection:
            return (await connection.execute(statement)).rowcount == 1

    async def deliveries(self, incident: str | None, limit: int) -> list[Delivery]:
        """Messages, the newest first."""
        row = DeliveryRow
        statement = select(row).order_by(col(row.due_at).desc(), col(row.id)).limit(limit)
        if incident is not None:
            statement = statement.where(row.incident == incident)
        async with self._database.read_session() as session:
            return [_delivery(one) for one in await session.exec(statement)]


@dataclass(frozen=True, slots=True)
class KeptRoster:
    """A roster with who set it."""

    version: int
    roster: Roster
    changed_at: datetime
    changed_by: str


class RosterStore:
    """Rosters, swaps and hand-overs."""

    def __init__(self, database: Database) -> None:
        """Use this database."""
        self._database = database

    async def rosters(self) -> dict[DutyLine, KeptRoster]:
        """Every line that has one."""
        async with self._database.read_session() as session:
            return {
                DutyLine(row.line): KeptRoster(
                    row.version, Roster.model_validate(row.document), row.changed_at, row.changed_by
                )
                for row in await session.exec(select(RosterRow))
            }

    async def put_roster(self, line: DutyLine, kept: KeptRoster) -> bool:
        """Replace a roster; False when its version is not the one before."""
        row = RosterRow
        values = {
            "version": kept.version,
            "document": kept.roster.model_dump(mode="json"),
            "changed_at": kept.changed_at,
            "changed_by": kept.changed_by,
        }
        same = update(row).where(col(row.line) == line.value, col(row.version) == kept.version - 1).values(**values)
        try:
            async with self._database.write() as connection:
                if kept.version == 1:
                    await connection.execute(insert(row), [{"line": line.value, **values}])
                    return True
                return (await connection.execute(same)).rowcount == 1
        except IntegrityError:
            return False

    async def swaps(self, ending_after: datetime) -> list[Swap]:
        """Swaps that are not over by then, in the order they were entered."""
        statement = select(SwapRow).where(col(SwapRow.ends_at) > ending_after).order_by(col(SwapRow.id))
        async with self._database.read_session() as session:
            return [_swap(row) for row in await session.exec(statement)]

    async def add_swap(self, swap: Swap) -> None:
        """Keep a swap."""
        async with self._database.write() as connection:
            await connection.execute(insert(SwapRow), [_values(swap)])

    async def end_swap(self, identifier: str, now: datetime) -> Swap | None:
        """Let a swap end now; None when there is none of that id that is not over."""
        async with self._database.session() as session:
            row = await session.get(SwapRow, identifier, with_for_update=True)
            if row is None or row.ends_at <= now:
                return None
            row.ends_at = now
            session.add(row)
            await session.flush()
            return _swap(row)

    async def handovers(self, offered_after: datetime) -> list[Handover]:
        """Hand-overs since then, the newest first."""
        row = HandoverRow
        statement = select(row).where(col(row.offered_at) > offered_after).order_by(col(row.id).desc())
        async with self._database.read_session() as session:
            return [_handover(one) for one in await session.exec(statement)]

    async def handover(self, identifier: str) -> Handover | None:
        """One hand-over."""
        async with self._database.read_session() as session:
            found = await session.get(HandoverRow, identifier)
            return None if found is None else _handover(found)

    async def add_handover(self, handover: Handover) -> None:
        """Keep a hand-over."""
        async with self._database.write() as connection:
            await connection.execute(insert(HandoverRow), [_values(handover)])

    async def confirm(self, identifier: str, now: datetime, swap: Swap | None) -> bool:
        """Confirm a hand-over, and keep the swap that follows from it; False when it was confirmed before."""
        row = HandoverRow
        first = update(row).where(col(row.id) == identifier, col(row.confirmed_at).is_(None)).values(confirmed_at=now)
        async with self._database.write() as connection:
            if (await connection.execute(first)).rowcount != 1:
                return False
            if swap is not None:
                await connection.execute(insert(SwapRow), [_values(swap)])
        return True


def _values(record: Swap | Handover) -> dict[str, object]:
    return {**{name: getattr(record, name) for name in record.__slots__}, "line": record.line.value}


def _swap(row: SwapRow) -> Swap:
    return Swap(**{**row.model_dump(), "line": DutyLine(row.line)})


def _handover(row: HandoverRow) -> Handover:
    return Handover(**{**row.model_dump(), "line": DutyLine(row.line)})


def _case(row: PagingCaseRow) -> PagingCase:
    forecast = None if row.forecast is None else Forecast(**row.forecast)
    plain = {"severity": Severity(row.severity), "state": CaseState(row.state), "forecast": forecast}
    return PagingCase(**{**row.model_dump(), **plain})


def _delivery(row: DeliveryRow) -> Delivery:
    return Delivery(**{**row.model_dump(), "state": DeliveryState(row.state)})
