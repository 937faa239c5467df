"""The table of alarms: one row a (kiosk, component, code)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar, Final

from sqlalchemy import BigInteger, BindParameter, ColumnElement, MetaData, Row, and_, bindparam, insert, or_
from sqlalchemy import select as rows_of
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import Field, SQLModel, col, func, select, update

from fleet_server.alerts.model import Alarm, AlarmEdge, AlarmOrigin, EdgePlace, LoggedEdge
from fleet_server.alerts.rules import apply
from kit.store import Database, Json, UtcDateTime, metadata_of
from wire.faults import Severity
from wire.uplink import Edge

METADATA: MetaData = metadata_of("fleet")


class _Row(SQLModel):
    metadata: ClassVar[MetaData] = METADATA


class AlarmChangeRow(_Row, table=True):
    """The one row of the change counter; its lock makes writers queue up, so changes appear in order."""

    __tablename__ = "alerts_change"
    id: int = Field(primary_key=True)
    value: int = Field(sa_type=BigInteger)


class AlarmRow(_Row, table=True):
    """An alarm."""

    __tablename__ = "alerts_alarm"
    kid: str = Field(max_length=40, primary_key=True)
    component: str = Field(max_length=64, primary_key=True)
    code: str = Field(max_length=64, primary_key=True)
    severity: str = Field(max_length=16)
    origin: str = Field(max_length=16)
    is_open: bool = Field(index=True)
    raised_at: datetime = Field(sa_type=UtcDateTime)
    detected_at: datetime = Field(sa_type=UtcDateTime)
    cleared_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_raised_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    detail: dict[str, Any] = Field(sa_type=Json)  # Any: a JSON document
    change_seq: int = Field(sa_type=BigInteger, index=True)


class AlarmEdgeRow(_Row, table=True):
    """One edge that changed an alarm; appended in the transaction of the change, so their order is that of commits."""

    __tablename__ = "alerts_edge"
    change_seq: int = Field(sa_type=BigInteger, primary_key=True)
    n: int = Field(primary_key=True)
    kid: str = Field(max_length=40)
    component: str = Field(max_length=64)
    code: str = Field(max_length=64)
    edge: str = Field(max_length=8)
    severity: str = Field(max_length=16)
    at: datetime = Field(sa_type=UtcDateTime, index=True)
    detected_at: datetime = Field(sa_type=UtcDateTime)
    origin: str = Field(max_length=16)
    is_hist: bool
    detail: dict[str, Any] = Field(sa_type=Json)  # Any: a JSON document


_Key = tuple[str, str, str]
_KEYS: Final = ("kid", "component", "code")
_ALARMS: Final = METADATA.tables["alerts_alarm"]
_EDGES: Final = METADATA.tables["alerts_edge"]


class AlarmStore:
    """Applies edges and reads alarms."""

    def __init__(self, database: Database) -> None:
        """Use this database."""
        self._database = database

    async def apply(self, edges: Sequence[AlarmEdge], now: datetime) -> list[Alarm]:
        """Apply edges in their order in a transaction of its own; the alarms that changed."""
        async with self._database.write() as connection:
            return await self.apply_in(connection, edges, now)

    async def apply_in(self, connection: AsyncConnection, edges: Sequence[AlarmEdge], now: datetime) -> list[Alarm]:
        """Apply edges in their order inside a transaction; the alarms that changed."""
        if not edges:
            return []
        counter = update(AlarmChangeRow).where(col(AlarmChangeRow.id) == 1).values(value=AlarmChangeRow.value + 1)
        change_seq = (await connection.execute(counter.returning(col(AlarmChangeRow.value)))).scalar_one()
        known = await _known(connection, {edge.kid for edge in edges})
        changed: dict[_Key, Alarm] = {}
        logged: list[dict[str, object]] = []
        for edge in edges:
            key = (edge.kid, edge.component, edge.code)
            after = apply(changed.get(key) or known.get(key), edge, now)
            if after is not None:
                changed[key] = replace(after, change_seq=change_seq)
                logged.append(_edge_values(edge, EdgePlace(change_seq, len(logged)), now))
        await _keep(connection, changed, known.keys())
        if logged:
            await connection.execute(insert(_EDGES), logged)
        return list(changed.values())

    async def edges_after(self, place: EdgePlace, limit: int) -> list[LoggedEdge]:
        """Edges behind a place of the log, in the order in which they were committed."""
        log = AlarmEdgeRow
        behind = or_(
            col(log.change_seq) > place.change_seq,
            and_(col(log.change_seq) == place.change_seq, col(log.n) > place.n),
        )
        statement = select(log).where(behind).order_by(col(log.change_seq), col(log.n)).limit(limit)
        async with self._database.read_session() as session:
            return [_logged(row) for row in await session.exec(statement)]

    async def alarms(self, *, only_open: bool, kid: str | None = None, limit: int | None = None) -> list[Alarm]:
        """Alarms, the newest first."""
        statement = select(AlarmRow).order_by(col(AlarmRow.raised_at).desc(), AlarmRow.kid).limit(limit)
        statement = statement.where(*_conditions(only_open=only_open, kid=kid))
        async with self._database.read_session() as session:
            return [_alarm(row) for row in await session.exec(statement)]

    async def count(self, *, only_open: bool, kid: str | None = None) -> int:
        """How many there are."""
        statement = select(func.count()).select_from(AlarmRow).where(*_conditions(only_open=only_open, kid=kid))
        async with self._database.read_session() as session:
            return (await session.exec(statement)).one()

    async def tally(self) -> dict[Severity, int]:
        """How many are up, by severity."""
        row = AlarmRow
        statement = select(row.severity, func.count()).where(col(row.is_open).is_(True)).group_by(row.severity)
        async with self._database.read_session() as session:
            return {Severity(severity): count for severity, count in await session.exec(statement)}

    async def changed_since(self, change_seq: int) -> list[Alarm]:
        """Alarms changed after that number, in the order of their changes."""
        statement = select(AlarmRow).where(AlarmRow.change_seq > change_seq).order_by(col(AlarmRow.change_seq))
        async with self._database.read_session() as session:
            return [_alarm(row) for row in await session.exec(statement)]


async def _known(connection: AsyncConnection, kids: Collection[str]) -> dict[_Key, Alarm]:
    """The alarms of some kiosks as they stand; in one question, however many edges come at once."""
    rows = await connection.execute(rows_of(_ALARMS).where(_ALARMS.c.kid.in_(kids)))
    alarms = [_alarm(row) for row in rows]
    return {(alarm.kid, alarm.component, alarm.code): alarm for alarm in alarms}


async def _keep(connection: AsyncConnection, changed: Mapping[_Key, Alarm], known: Collection[_Key]) -> None:
    """Write each alarm once, as the last of its edges left it."""
    new = [_values(alarm) for key, alarm in changed.items() if key not in known]
    if new:
        await connection.execute(insert(_ALARMS), new)
    old = [_values(alarm) for key, alarm in changed.items() if key in known]
    if old:
        same = [_ALARMS.c[name] == bindparam(f"of_{name}") for name in _KEYS]
        fresh: dict[str, BindParameter[Any]] = {name: bindparam(name) for name in old[0] if name not in _KEYS}
        rows = [{(f"of_{name}" if name in _KEYS else name): value for name, value in row.items()} for row in old]
        await connection.execute(_ALARMS.update().where(*same).values(fresh), rows)


def _conditions(*, only_open: bool, kid: str | None) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if only_open:
        found.append(col(AlarmRow.is_open).is_(True))
    if kid is not None:
        found.append(col(AlarmRow.kid) == kid)
    return found


def _alarm(row: AlarmRow | Row[Any]) -> Alarm:  # Any: the columns of the table
    return Alarm(
        row.kid,
        row.component,
        row.code,
        Severity(row.severity),
        AlarmOrigin(row.origin),
        row.is_open,
        row.raised_at,
        row.detected_at,
        row.cleared_at,
        row.last_raised_at,
        row.detail,
        row.change_seq,
    )


def _edge_values(edge: AlarmEdge, place: EdgePlace, detected_at: datetime) -> dict[str, object]:
    """A row of the log."""
    return {
        "change_seq": place.change_seq,
        "n": place.n,
        "kid": edge.kid,
        "component": edge.component,
        "code": edge.code,
        "edge": edge.edge.value,
        "severity": edge.severity.value,
        "at": edge.at,
        "detected_at": detected_at,
        "origin": edge.origin.value,
        "is_hist": edge.hist,
        "detail": dict(edge.detail),
    }


def _logged(row: AlarmEdgeRow) -> LoggedEdge:
    edge = AlarmEdge(
        row.kid,
        row.component,
        row.code,
        Edge(row.edge),
        Severity(row.severity),
        row.at,
        AlarmOrigin(row.origin),
        row.is_hist,
        row.detail,
    )
    return LoggedEdge(EdgePlace(row.change_seq, row.n), edge, row.detected_at)


def _values(alarm: Alarm) -> dict[str, object]:
    """A row of the table of alarms."""
    return {
        "kid": alarm.kid,
        "component": alarm.component,
        "code": alarm.code,
        "severity": alarm.severity.value,
        "origin": alarm.origin.value,
        "is_open": alarm.is_open,
        "raised_at": alarm.raised_at,
        "detected_at": alarm.detected_at,
        "cleared_at": alarm.cleared_at,
        "last_raised_at": alarm.last_raised_at,
        "detail": dict(alarm.detail),
        "change_seq": alarm.change_seq,
    }
