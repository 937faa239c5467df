"""Tables of incidents. Whoever writes locks the cursor row first, so the feed's numbers rise in commit order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import BigInteger, ColumnElement, MetaData, delete, insert, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import Field, SQLModel, col, func, select, update

from fleet_server.alerts.model import EdgePlace
from fleet_server.incidents.book import Book, Case, Key
from fleet_server.incidents.model import (
    EventKind,
    Incident,
    IncidentEvent,
    IncidentState,
    Member,
    NewEvent,
    Part,
    Scope,
    Window,
)
from kit.store import Database, Json, UtcDateTime, metadata_of
from wire.faults import Severity

METADATA: MetaData = metadata_of("fleet")
_CHUNK = 500
"""Keys in one statement."""


class _Row(SQLModel):
    metadata: ClassVar[MetaData] = METADATA


class IncidentRow(_Row, table=True):
    """An incident."""

    __tablename__ = "incidents_incident"
    id: str = Field(max_length=26, primary_key=True)
    number: int = Field(sa_type=BigInteger, index=True)
    state: str = Field(max_length=16, index=True)
    cause: str = Field(max_length=64)
    scope: str = Field(max_length=16)
    scope_name: str = Field(max_length=128)
    severity: str = Field(max_length=16)
    since: datetime = Field(sa_type=UtcDateTime, index=True)
    detected_at: datetime = Field(sa_type=UtcDateTime)
    gathers_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    opened_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    acknowledged_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    acknowledged_by: str | None = Field(default=None, max_length=64)
    recovered_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    closed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    flaps: int
    snoozed_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    window: str | None = Field(default=None, max_length=26)
    is_hist: bool
    version: int
    change_seq: int = Field(sa_type=BigInteger, index=True)


class MemberRow(_Row, table=True):
    """One alarm of an incident."""

    __tablename__ = "incidents_member"
    incident: str = Field(max_length=26, primary_key=True)
    kid: str = Field(max_length=40, primary_key=True, index=True)
    component: str = Field(max_length=64, primary_key=True)
    code: str = Field(max_length=64, primary_key=True)
    part: str = Field(max_length=8)
    severity: str = Field(max_length=16)
    since: datetime = Field(sa_type=UtcDateTime)
    cleared_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class EventRow(_Row, table=True):
    """One line of the feed."""

    __tablename__ = "incidents_event"
    seq: int = Field(sa_type=BigInteger, primary_key=True)
    incident: str = Field(max_length=26, index=True)
    kind: str = Field(max_length=16)
    at: datetime = Field(sa_type=UtcDateTime)
    written_at: datetime = Field(sa_type=UtcDateTime)
    by: str | None = Field(default=None, max_length=64)
    fields: dict[str, Any] = Field(sa_type=Json)  # Any: a JSON document


class CursorRow(_Row, table=True):
    """The one row with the place in the log of edges and the next numbers; its lock orders all writers."""

    __tablename__ = "incidents_cursor"
    id: int = Field(primary_key=True)
    change_seq: int = Field(sa_type=BigInteger)
    n: int
    next_number: int = Field(sa_type=BigInteger)
    next_seq: int = Field(sa_type=BigInteger)
    turned_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class WindowRow(_Row, table=True):
    """Planned work."""

    __tablename__ = "incidents_window"
    id: str = Field(max_length=26, primary_key=True)
    scope: str = Field(max_length=16)
    scope_name: str = Field(max_length=128)
    starts_at: datetime = Field(sa_type=UtcDateTime)
    ends_at: datetime = Field(sa_type=UtcDateTime, index=True)
    reason: str = Field(max_length=200)
    created_by: str = Field(max_length=64)


class StaleBook(Exception):
    """Somebody else wrote to an incident since the book was read."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far the log of edges is worked off, and which numbers are next."""

    place: EdgePlace
    next_number: int
    next_seq: int


class IncidentStore:
    """Incidents, their members and the feed."""

    def __init__(self, database: Database) -> None:
        """Use this database."""
        self._database = database

    # -- the duty -------------------------------------------------------------------------------------------------

    async def live(self) -> tuple[list[Case], Cursor]:
        """Every incident that is not closed, and the cursor, of one moment."""
        async with self._database.read_session() as session:
            cursor = await session.get_one(CursorRow, 1)
            rows = await session.exec(select(IncidentRow).where(IncidentRow.state != IncidentState.CLOSED.value))
            cases = {row.id: Case(_incident(row)) for row in rows}
            found = await session.exec(
                select(MemberRow)
                .join(IncidentRow, col(IncidentRow.id) == col(MemberRow.incident))
                .where(IncidentRow.state != IncidentState.CLOSED.value)
            )
            for row in found:
                cases[row.incident].members[row.kid, row.component, row.code] = _member(row)
            return list(cases.values()), _cursor(cursor)

    async def keep(
        self, connection: AsyncConnection, book: Book, places: tuple[EdgePlace, EdgePlace], now: datetime
    ) -> int:
        """Write what changed in the book, and the cursor from its old place to its new one; the feed's last number.

        Raises:
            StaleBook: somebody acknowledged or noted meanwhile, or another process led; read the book again.
        """
        changes = book.changes
        before, after = places
        taken = len(changes.events) or int(bool(changes.incidents))  # who follows by number must see every change
        cursor = CursorRow
        statement = update(cursor).where(
            col(cursor.id) == 1, col(cursor.change_seq) == before.change_seq, col(cursor.n) == before.n
        )
        row = await connection.execute(
            statement.values(
                change_seq=after.change_seq,
                n=after.n,
                next_number=book.next_number,
                next_seq=CursorRow.next_seq + taken,
            ).returning(col(CursorRow.next_seq))
        )
        next_seq = row.scalar_one_or_none()
        if next_seq is None:
            raise StaleBook(f"{before}")
        first_seq = next_seq - taken
        cases = {one: book.cases.get(one) or book.gone[one] for one in changes.incidents}
        await self._hold_to(connection, cases)
        await self._put_incidents(connection, list(cases.values()), next_seq - 1)
        await self._put_members(connection, changes.members, cases)
        await self._put_events(connection, changes.events, first_seq, now)
        return next_seq - 1

    async def turned(self, connection: AsyncConnection, now: datetime) -> None:
        """Note that the duty had a turn."""
        await connection.execute(update(CursorRow).where(col(CursorRow.id) == 1).values(turned_at=now))

    async def turned_at(self) -> datetime | None:
        """When the duty last noted a turn."""
        async with self._database.read_session() as session:
            return (await session.get_one(CursorRow, 1)).turned_at

    async def _hold_to(self, connection: AsyncConnection, cases: dict[str, Case]) -> None:
        table = IncidentRow
        for part in _parts(sorted(cases)):
            rows = await connection.execute(select(table.id, table.version).where(col(table.id).in_(part)))
            for identifier, version in rows.all():
                if cases[identifier].incident.version != version:
                    raise StaleBook(identifier)

    async def _put_incidents(self, connection: AsyncConnection, cases: Sequence[Case], change_seq: int) -> None:
        for part in _parts(cases):
            await connection.execute(
                delete(IncidentRow).where(col(IncidentRow.id).in_([case.incident.id for case in part]))
            )
            values = [
                {
                    **_values(case.incident),
                    "version": case.incident.version + 1,
                    "change_seq": max(change_seq, case.incident.change_seq),
                }
                for case in part
            ]
            await connection.execute(insert(IncidentRow), values)

    async def _put_members(
        self, connection: AsyncConnection, touched: Iterable[tuple[str, Key]], cases: dict[str, Case]
    ) -> None:
        table = MemberRow
        columns = tuple_(col(table.incident), col(table.kid), col(table.component), col(table.code))
        for part in _parts(sorted(touched)):
            await connection.execute(delete(table).where(columns.in_([(one, *key) for one, key in part])))
            kept = [cases[one].members.get(key) for one, key in part]
            values = [_values(member) for member in kept if member is not None]
            if values:
                await connection.execute(insert(table), values)

    async def _put_events(
        self, connection: AsyncConnection, events: Sequence[NewEvent], first_seq: int, now: datetime
    ) -> None:
        values = [
            {
                "seq": first_seq + number,
                "incident": event.incident,
                "kind": event.kind.value,
                "at": event.at,
                "written_at": now,
                "by": event.by,
                "fields": dict(event.fields),
            }
            for number, event in enumerate(events)
        ]
        if values:
            await connection.execute(insert(EventRow), values)

    # -- people ---------------------------------------------------------------------------------------------------

    async def act(self, connection: AsyncConnection, identifier: str) -> Incident | None:
        """The incident, under the lock of all writers; None when there is none."""
        await connection.execute(update(CursorRow).where(col(CursorRow.id) == 1).values(id=1))
        row = (await connection.execute(select(IncidentRow.__table__).where(col(IncidentRow.id) == identifier))).first()  # type: ignore[attr-defined] # SQLModel gives every table one
        return None if row is None else _incident(IncidentRow(**row._mapping))  # noqa: SLF001 - SQLAlchemy's public name

    async def keep_act(
        self, connection: AsyncConnection, incident: Incident, event: NewEvent, now: datetime
    ) -> Incident:
        """Write what a person did; `act` came before in the same transaction."""
        statement = update(CursorRow).where(col(CursorRow.id) == 1)
        taken = await connection.execute(
            statement.values(next_seq=CursorRow.next_seq + 1).returning(col(CursorRow.next_seq))
        )
        seq = taken.scalar_one() - 1
        values = {**_values(incident), "version": incident.version + 1, "change_seq": seq}
        await connection.execute(update(IncidentRow).where(col(IncidentRow.id) == incident.id).values(values))
        await self._put_events(connection, [event], seq, now)
        return _incident(IncidentRow(**values))

    # -- reading --------------------------------------------------------------------------------------------------

    async def incident(self, identifier: str) -> Incident | None:
        """One incident."""
        async with self._database.read_session() as session:
            row = await session.get(IncidentRow, identifier)
            return None if row is None else _incident(row)

    async def incidents(
        self, *, states: Sequence[IncidentState], kid: str | None, before: int | None, limit: int
    ) -> list[Incident]:
        """Incidents that people were told of, the newest first."""
        statement = select(IncidentRow).where(*_wanted(states, kid)).order_by(col(IncidentRow.number).desc())
        if before is not None:
            statement = statement.where(IncidentRow.number < before)
        async with self._database.read_session() as session:
            return [_incident(row) for row in await session.exec(statement.limit(limit))]

    async def changed_since(self, change_seq: int) -> list[Incident]:
        """Incidents changed after that number, in the order of their changes; from the beginning, those not closed."""
        statement = select(IncidentRow).where(IncidentRow.change_seq > change_seq, IncidentRow.number > 0)
        if change_seq < 0:
            statement = statement.where(IncidentRow.state != IncidentState.CLOSED.value)
        async with self._database.read_session() as session:
            return [_incident(row) for row in await session.exec(statement.order_by(col(IncidentRow.change_seq)))]

    async def count(self, *, states: Sequence[IncidentState], kid: str | None) -> int:
        """How many there are."""
        statement = select(func.count()).select_from(IncidentRow).where(*_wanted(states, kid))
        async with self._database.read_session() as session:
            return (await session.exec(statement)).one()

    async def members(self, identifier: str) -> list[Member]:
        """The alarms of an incident, the first first."""
        statement = select(MemberRow).where(MemberRow.incident == identifier)
        async with self._database.read_session() as session:
            order = col(MemberRow.since), col(MemberRow.kid), col(MemberRow.component), col(MemberRow.code)
            return [_member(row) for row in await session.exec(statement.order_by(*order))]

    async def events_of(self, identifier: str) -> list[IncidentEvent]:
        """What happened to an incident, in order."""
        statement = select(EventRow).where(EventRow.incident == identifier).order_by(col(EventRow.seq))
        async with self._database.read_session() as session:
            return [_event(row) for row in await session.exec(statement)]

    async def events_after(self, seq: int, limit: int) -> list[IncidentEvent]:
        """The feed behind a number."""
        statement = select(EventRow).where(EventRow.seq > seq).order_by(col(EventRow.seq)).limit(limit)
        async with self._database.read_session() as session:
            return [_event(row) for row in await session.exec(statement)]

    # -- planned work ---------------------------------------------------------------------------------------------

    async def windows(self, *, ending_after: datetime) -> list[Window]:
        """Planned work that is not over, the next first."""
        statement = select(WindowRow).where(WindowRow.ends_at > ending_after).order_by(col(WindowRow.starts_at))
        async with self._database.read_session() as session:
            return [_window(row) for row in await session.exec(statement)]

    async def add_window(self, window: Window) -> None:
        """Keep planned work."""
        async with self._database.session() as session:
            session.add(WindowRow(**_values(window)))

    async def end_window(self, identifier: str, at: datetime) -> Window | None:
        """End planned work now; None when there is none of that id that is not over."""
        async with self._database.session() as session:
            row = await session.get(WindowRow, identifier, with_for_update=True)
            if row is None or row.ends_at <= at:
                return None
            row.ends_at = at
            session.add(row)
            await session.flush()
            return _window(row)


def _wanted(states: Sequence[IncidentState], kid: str | None) -> list[ColumnElement[bool]]:
    found = [col(IncidentRow.number) > 0, col(IncidentRow.state).in_([state.value for state in states])]
    if kid is not None:
        found.append(col(IncidentRow.id).in_(select(MemberRow.incident).where(MemberRow.kid == kid)))
    return found


def _parts(items: Sequence[Any]) -> list[Sequence[Any]]:  # Any: keys of either table
    return [items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK)]


def _values(record: Incident | Member | Window) -> dict[str, Any]:  # Any: one column each
    return {one.name: getattr(record, one.name) for one in fields(record)}


def _incident(row: IncidentRow) -> Incident:
    return Incident(
        **{
            **row.model_dump(),
            "state": IncidentState(row.state),
            "scope": Scope(row.scope),
            "severity": Severity(row.severity),
        }
    )


def _member(row: MemberRow) -> Member:
    return Member(**{**row.model_dump(), "part": Part(row.part), "severity": Severity(row.severity)})


def _event(row: EventRow) -> IncidentEvent:
    return IncidentEvent(**{**row.model_dump(), "kind": EventKind(row.kind)})


def _window(row: WindowRow) -> Window:
    return Window(**{**row.model_dump(), "scope": Scope(row.scope)})


def _cursor(row: CursorRow) -> Cursor:
    return Cursor(EdgePlace(row.change_seq, row.n), row.next_number, row.next_seq)
