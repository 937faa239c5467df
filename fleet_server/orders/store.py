"""Tables of work orders. Whoever writes locks the cursor row first, so the feed's numbers rise in commit order."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import fields, replace
from datetime import datetime
from typing import Any, ClassVar, Final

from sqlalchemy import BigInteger, MetaData, delete
from sqlmodel import Field, SQLModel, col, func, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from fleet_server.orders.machine import OPEN
from fleet_server.orders.model import (
    EvidenceKind,
    Line,
    News,
    NewsKind,
    Order,
    OrderKind,
    OrderState,
    PartUse,
    Pause,
    PauseReason,
    Photo,
    Stop,
    Target,
)
from fleet_server.orders.progress import number_of
from kit.store import Database, Json, UtcDateTime, metadata_of
from wire.faults import Severity

METADATA: MetaData = metadata_of("fleet")
_STOPS: Final = ("response", "on_site", "repair")


class _Row(SQLModel):
    metadata: ClassVar[MetaData] = METADATA


class OrderRow(_Row, table=True):
    """An order."""

    __tablename__ = "orders_order"
    id: str = Field(max_length=26, primary_key=True)
    number: str = Field(max_length=20, unique=True)
    kind: str = Field(max_length=16)
    state: str = Field(max_length=16, index=True)
    cause: str = Field(max_length=64)
    place: str = Field(max_length=128, index=True)
    severity: str = Field(max_length=16)
    incident: str | None = Field(default=None, max_length=26, index=True)
    since: datetime = Field(sa_type=UtcDateTime)
    opened_at: datetime = Field(sa_type=UtcDateTime)
    text: str = Field(max_length=512)
    assignee: str | None = Field(default=None, max_length=64)
    response_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    response_by: str | None = Field(default=None, max_length=64)
    response_evidence: str | None = Field(default=None, max_length=192)
    on_site_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    on_site_by: str | None = Field(default=None, max_length=64)
    on_site_evidence: str | None = Field(default=None, max_length=192)
    claimed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    claimed_by: str | None = Field(default=None, max_length=64)
    repair_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    repair_by: str | None = Field(default=None, max_length=64)
    repair_evidence: str | None = Field(default=None, max_length=192)
    waiver_by: str | None = Field(default=None, max_length=64)
    waiver_reason: str | None = Field(default=None, max_length=512)
    probation_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    fault_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    closed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    relapses: int
    response_level: int
    repair_level: int
    version: int


class TargetRow(_Row, table=True):
    """What an order has to put right."""

    __tablename__ = "orders_target"
    order: str = Field(max_length=26, primary_key=True)
    kid: str = Field(max_length=40, primary_key=True)
    component: str = Field(max_length=64, primary_key=True)
    code: str = Field(max_length=64, primary_key=True)
    since: datetime = Field(sa_type=UtcDateTime)


class PauseRow(_Row, table=True):
    """A stretch in which the clocks of an order stand still."""

    __tablename__ = "orders_pause"
    id: str = Field(max_length=26, primary_key=True)
    order: str = Field(max_length=26, index=True)
    reason: str = Field(max_length=32)
    evidence_kind: str = Field(max_length=16)
    evidence: str = Field(max_length=192)
    since: datetime = Field(sa_type=UtcDateTime)
    until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    by: str = Field(max_length=64)
    approved_by: str | None = Field(default=None, max_length=64)
    counts: bool


class EventRow(_Row, table=True):
    """One line of the feed."""

    __tablename__ = "orders_event"
    seq: int = Field(sa_type=BigInteger, primary_key=True)
    order: str = Field(max_length=26, index=True)
    kind: str = Field(max_length=16)
    at: datetime = Field(sa_type=UtcDateTime)
    written_at: datetime = Field(sa_type=UtcDateTime)
    by: str | None = Field(default=None, max_length=64)
    fields: dict[str, Any] = Field(sa_type=Json)  # Any: a JSON document


class PartRow(_Row, table=True):
    """A part that was changed."""

    __tablename__ = "orders_part"
    id: str = Field(max_length=26, primary_key=True)
    order: str = Field(max_length=26, index=True)
    kid: str = Field(max_length=40)
    component: str = Field(max_length=64)
    part: str = Field(max_length=64)
    serial_out: str = Field(max_length=64)
    serial_in: str = Field(max_length=64)
    at: datetime = Field(sa_type=UtcDateTime)
    by: str = Field(max_length=64)
    warranty_until: datetime | None = Field(default=None, sa_type=UtcDateTime)


class PhotoRow(_Row, table=True):
    """A picture in the data folder."""

    __tablename__ = "orders_photo"
    id: str = Field(max_length=26, primary_key=True)
    order: str = Field(max_length=26, index=True)
    digest: str = Field(max_length=64)
    media_type: str = Field(max_length=32)
    size: int
    at: datetime = Field(sa_type=UtcDateTime)
    by: str = Field(max_length=64)


class CheckInRow(_Row, table=True):
    """A kiosk's code that was used: it is good once."""

    __tablename__ = "orders_checkin"
    nonce: str = Field(max_length=64, primary_key=True)
    order: str = Field(max_length=26)
    kid: str = Field(max_length=40)
    at: datetime = Field(sa_type=UtcDateTime)
    by: str = Field(max_length=64)


class NumberRow(_Row, table=True):
    """How many orders a year has."""

    __tablename__ = "orders_number"
    year: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    value: int


class CursorRow(_Row, table=True):
    """The one row with the place in the incidents' feed and the own feed's next number; its lock orders all writers."""

    __tablename__ = "orders_cursor"
    id: int = Field(primary_key=True)
    feed_seq: int = Field(sa_type=BigInteger)
    next_seq: int = Field(sa_type=BigInteger)


class StaleFeed(Exception):
    """Another process read further in the feed meanwhile; nothing was written."""


class Writing:
    """One transaction; nobody else writes work orders while it lasts."""

    def __init__(self, session: AsyncSession, now: datetime) -> None:
        """Write at this moment."""
        self._session = session
        self._now = now

    async def move(self, before: int, after: int) -> None:
        """Note how far the incidents' feed is read. Raises: StaleFeed."""
        statement = update(CursorRow).where(col(CursorRow.id) == 1, col(CursorRow.feed_seq) == before)
        if (await self._session.exec(statement.values(feed_seq=after))).rowcount != 1:
            raise StaleFeed

    async def number(self, year: int) -> str:
        """The next number of the year."""
        row = await self._session.get(NumberRow, year)
        row = NumberRow(year=year, value=0) if row is None else row
        row.value += 1
        self._session.add(row)
        return number_of(year, row.value)

    async def order(self, identifier: str) -> Order | None:
        """An order, by its id or its number."""
        found = await self._session.exec(select(OrderRow).where(_named(identifier)))
        row = found.first()
        return None if row is None else _order(row)

    async def of_incident(self, incident: str) -> Order | None:
        """The newest order of an incident."""
        statement = select(OrderRow).where(OrderRow.incident == incident).order_by(col(OrderRow.number).desc())
        row = (await self._session.exec(statement)).first()
        return None if row is None else _order(row)

    async def last_at(self, place: str, cause: str) -> Order | None:
        """The newest order about this cause at this place that was not cancelled."""
        statement = select(OrderRow).where(
            OrderRow.place == place, OrderRow.cause == cause, OrderRow.state != OrderState.CANCELLED.value
        )
        row = (await self._session.exec(statement.order_by(col(OrderRow.number).desc()))).first()
        return None if row is None else _order(row)

    async def put(self, order: Order, news: Sequence[News]) -> Order:
        """Write an order and what happened to it."""
        order = replace(order, version=order.version + 1)
        await self._session.merge(_row(order))
        first = await self._numbers(len(news))
        for place, one in enumerate(news):
            self._session.add(
                EventRow(
                    seq=first + place,
                    order=order.id,
                    kind=one.kind.value,
                    at=one.at,
                    written_at=self._now,
                    by=one.by,
                    fields=dict(one.fields),
                )
            )
        await self._session.flush()
        return order

    async def _numbers(self, count: int) -> int:
        statement = update(CursorRow).where(col(CursorRow.id) == 1).values(next_seq=CursorRow.next_seq + count)
        taken = await self._session.exec(statement.returning(col(CursorRow.next_seq)))
        return int(taken.scalar_one()) - count

    async def aim(self, order: str, targets: Sequence[Target]) -> None:
        """These are the targets of an order now."""
        await self._session.exec(delete(TargetRow).where(col(TargetRow.order) == order))
        for target in dict.fromkeys(targets):
            self._session.add(TargetRow(order=order, **{name: getattr(target, name) for name in target.__slots__}))
        await self._session.flush()

    async def pauses(self, order: str) -> list[Pause]:
        """The pauses of an order."""
        statement = select(PauseRow).where(PauseRow.order == order).order_by(col(PauseRow.since), col(PauseRow.id))
        return [_pause(row) for row in await self._session.exec(statement)]

    async def put_pause(self, pause: Pause) -> None:
        """Write a pause."""
        values = {item.name: getattr(pause, item.name) for item in fields(pause)}
        await self._session.merge(
            PauseRow(**{**values, "reason": pause.reason.value, "evidence_kind": pause.evidence_kind.value})
        )
        await self._session.flush()

    async def add(self, record: PartUse | Photo) -> None:
        """Keep a part or a photo."""
        values = {item.name: getattr(record, item.name) for item in fields(record)}
        self._session.add(PartRow(**values) if isinstance(record, PartUse) else PhotoRow(**values))
        await self._session.flush()

    async def use(self, nonce: str, order: str, kid: str, by: str) -> bool:
        """Use a kiosk's code up; False when it was used already."""
        if await self._session.get(CheckInRow, nonce) is not None:
            return False
        self._session.add(CheckInRow(nonce=nonce, order=order, kid=kid, at=self._now, by=by))
        await self._session.flush()
        return True


class OrderStore:
    """Reads work orders, and lets one writer at a time change them."""

    def __init__(self, database: Database) -> None:
        """Use this database."""
        self._database = database

    @asynccontextmanager
    async def writing(self, now: datetime) -> AsyncIterator[Writing]:
        """Write in one transaction. Raises: StoreBusy."""
        async with self._database.write() as connection:
            await connection.execute(update(CursorRow).where(col(CursorRow.id) == 1).values(id=1))
            async with AsyncSession(bind=connection, expire_on_commit=False) as session:
                yield Writing(session, now)
                await session.flush()

    async def feed_seq(self) -> int:
        """How far the incidents' feed is read."""
        async with self._database.read_session() as session:
            return (await session.get_one(CursorRow, 1)).feed_seq

    async def order(self, identifier: str) -> Order | None:
        """One order, by its id or its number."""
        async with self._database.read_session() as session:
            row = (await session.exec(select(OrderRow).where(_named(identifier)))).first()
            return None if row is None else _order(row)

    async def orders(self, states: Sequence[OrderState], *, kid: str | None = None, limit: int = 1_000) -> list[Order]:
        """Orders, the newest first."""
        statement = _wanted(states, kid).order_by(col(OrderRow.opened_at).desc(), col(OrderRow.number).desc())
        async with self._database.read_session() as session:
            return [_order(row) for row in await session.exec(statement.limit(limit))]

    async def count(self, states: Sequence[OrderState], *, kid: str | None = None) -> int:
        """How many there are."""
        statement = select(func.count()).select_from(_wanted(states, kid).subquery())
        async with self._database.read_session() as session:
            return (await session.exec(statement)).one()

    async def open(self) -> list[Order]:
        """Orders that are not over, the oldest first."""
        return (await self.orders(sorted(OPEN), limit=10_000))[::-1]

    async def targets(self, order: str) -> list[Target]:
        """What an order has to put right."""
        statement = select(TargetRow).where(TargetRow.order == order).order_by(TargetRow.kid, TargetRow.component)
        async with self._database.read_session() as session:
            return [Target(row.kid, row.component, row.code, row.since) for row in await session.exec(statement)]

    async def pauses(self, order: str) -> list[Pause]:
        """The pauses of an order."""
        async with self._database.read_session() as session:
            statement = select(PauseRow).where(PauseRow.order == order).order_by(col(PauseRow.since), col(PauseRow.id))
            return [_pause(row) for row in await session.exec(statement)]

    async def parts(self, order: str) -> list[PartUse]:
        """The parts of an order."""
        async with self._database.read_session() as session:
            rows = await session.exec(select(PartRow).where(PartRow.order == order).order_by(col(PartRow.at)))
            return [PartUse(**row.model_dump()) for row in rows]

    async def photos(self, order: str) -> list[Photo]:
        """The photos of an order."""
        async with self._database.read_session() as session:
            rows = await session.exec(select(PhotoRow).where(PhotoRow.order == order).order_by(col(PhotoRow.at)))
            return [Photo(**row.model_dump()) for row in rows]

    async def lines(self, order: str) -> list[Line]:
        """What happened to an order."""
        statement = select(EventRow).where(EventRow.order == order).order_by(col(EventRow.seq))
        async with self._database.read_session() as session:
            return [_line(row) for row in await session.exec(statement)]

    async def lines_after(self, seq: int, limit: int) -> list[Line]:
        """The feed behind a number."""
        statement = select(EventRow).where(EventRow.seq > seq).order_by(col(EventRow.seq)).limit(limit)
        async with self._database.read_session() as session:
            return [_line(row) for row in await session.exec(statement)]


def _named(identifier: str) -> Any:  # noqa: ANN401 - SQLAlchemy's expression
    return (col(OrderRow.id) == identifier) | (col(OrderRow.number) == identifier)


def _wanted(states: Sequence[OrderState], kid: str | None) -> Any:  # noqa: ANN401 - SQLAlchemy's statement
    statement = select(OrderRow).where(col(OrderRow.state).in_([state.value for state in states]))
    if kid is not None:
        statement = statement.where(col(OrderRow.id).in_(select(TargetRow.order).where(TargetRow.kid == kid)))
    return statement


def _order(row: OrderRow) -> Order:
    values: dict[str, Any] = row.model_dump()  # Any: one column each
    stops: dict[str, Stop | None] = {}
    for name in _STOPS:
        at, by, evidence = (values.pop(f"{name}_{part}") for part in ("at", "by", "evidence"))
        stops[name] = None if at is None else Stop(at, by, evidence or "")
    kind, state, severity = OrderKind(values["kind"]), OrderState(values["state"]), Severity(values["severity"])
    return Order(**{**values, **stops, "kind": kind, "state": state, "severity": severity})


def _row(order: Order) -> OrderRow:
    values: dict[str, Any] = {item.name: getattr(order, item.name) for item in fields(order)}  # Any: as above
    for name in _STOPS:
        stop: Stop | None = values.pop(name)
        for part in ("at", "by", "evidence"):
            values[f"{name}_{part}"] = None if stop is None else getattr(stop, part)
    plain: Mapping[str, str] = {name: values[name].value for name in ("kind", "state", "severity")}
    return OrderRow(**{**values, **plain})


def _pause(row: PauseRow) -> Pause:
    values = row.model_dump()
    return Pause(**{**values, "reason": PauseReason(row.reason), "evidence_kind": EvidenceKind(row.evidence_kind)})


def _line(row: EventRow) -> Line:
    return Line(row.seq, row.order, row.written_at, News(NewsKind(row.kind), row.at, row.by, row.fields))
