"""Tables of presence: one row a kiosk, and the timeline of its changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import BigInteger, Column, Index, MetaData, Table, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Field, SQLModel, col, select

from fleet_server.presence.model import EdgeRecord, Status
from fleet_server.registry.model import PresenceState
from kit.store import Database, Dialect, Json, UtcDateTime, metadata_of
from wire.presence import Activity

METADATA: MetaData = metadata_of("fleet")
_NUMBER = BigInteger().with_variant(sqlite.INTEGER(), "sqlite")


class _Row(SQLModel):
    metadata: ClassVar[MetaData] = METADATA


class PresenceChangeRow(_Row, table=True):
    """The one row of the change counter."""

    __tablename__ = "presence_change"
    id: int = Field(primary_key=True)
    value: int = Field(sa_type=BigInteger)


class PresenceRow(_Row, table=True):
    """What is known of one kiosk."""

    __tablename__ = "presence_kiosk"
    kiosk_no: int = Field(primary_key=True)
    kid: str = Field(max_length=40)
    state: str = Field(max_length=16)
    since: datetime = Field(sa_type=UtcDateTime)
    reason: str = Field(max_length=32)
    session: int = Field(sa_type=BigInteger)
    boot: str | None = Field(default=None, max_length=64)
    last_seen_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    agent_version: str | None = Field(default=None, max_length=64)
    activity: str = Field(max_length=16)
    clock_offset_s: float | None = None
    queue_rows: int = Field(sa_type=BigInteger)
    birth: dict[str, Any] | None = Field(default=None, sa_type=Json)  # Any: a JSON document
    offline_alarm: bool = False
    unstable_alarm: bool = False
    change_seq: int = Field(sa_type=BigInteger, index=True)


class EdgeRow(_Row, table=True):
    """One change of state."""

    __tablename__ = "presence_edge"
    no: int | None = Field(default=None, sa_column=Column(_NUMBER, primary_key=True))
    kiosk_no: int
    state: str = Field(max_length=16)
    since: datetime = Field(sa_type=UtcDateTime)
    detected_at: datetime = Field(sa_type=UtcDateTime)
    reason: str = Field(max_length=32)
    __table_args__ = (Index("ix_presence_edge_kiosk_no_since", "kiosk_no", "since"),)


_KIOSK: Table = METADATA.tables["presence_kiosk"]
_VALUE_NAMES = tuple(column.name for column in _KIOSK.c)
_EDGE: Table = METADATA.tables["presence_edge"]


class PresenceStore:
    """Keeps what the leader judged; everybody reads it."""

    def __init__(self, database: Database) -> None:
        """Use this database."""
        self._database = database
        self._upsert = postgresql.insert if database.dialect is Dialect.POSTGRESQL else sqlite.insert

    async def keep(self, statuses: Mapping[int, Status], edges: Sequence[tuple[int, EdgeRecord]]) -> None:
        """Write changed kiosks and their edges, all or nothing. Raises: StoreBusy."""
        async with self._database.write() as connection:
            change_seq = await connection.scalar(
                text("UPDATE presence_change SET value = value + 1 WHERE id = 1 RETURNING value")
            )
            insert = self._upsert(_KIOSK)
            changed = {name: insert.excluded[name] for name in _VALUE_NAMES if name != "kiosk_no"}
            statement = insert.on_conflict_do_update(index_elements=[_KIOSK.c.kiosk_no], set_=changed)
            rows = [_values(number, status, change_seq) for number, status in sorted(statuses.items())]
            if rows:
                await connection.execute(statement, rows)
            if edges:
                await connection.execute(_EDGE.insert(), [_edge_values(number, edge) for number, edge in edges])

    async def statuses(self, changed_since: int = -1) -> list[Status]:
        """Kiosks changed after that number, in the order of their changes."""
        statement = select(PresenceRow).where(PresenceRow.change_seq > changed_since)
        async with self._database.read_session() as session:
            return [_status(row) for row in await session.exec(statement.order_by(col(PresenceRow.change_seq)))]

    async def tally(self) -> list[tuple[str, PresenceState, int]]:
        """Kiosk, state and rows that wait on it, of every kiosk; for figures, so without what they said at birth."""
        row = PresenceRow
        async with self._database.read_session() as session:
            found = await session.exec(select(row.kid, row.state, row.queue_rows))
            return [(kid, PresenceState(state), rows) for kid, state, rows in found]

    async def status(self, kiosk_no: int) -> Status | None:
        """One kiosk."""
        async with self._database.read_session() as session:
            row = await session.get(PresenceRow, kiosk_no)
            return None if row is None else _status(row)

    async def timeline(self, kiosk_no: int, since: datetime, until: datetime) -> list[EdgeRow]:
        """Edges in a span and the last one before it, oldest first."""
        of_kiosk = select(EdgeRow).where(EdgeRow.kiosk_no == kiosk_no)
        async with self._database.read_session() as session:
            before = of_kiosk.where(EdgeRow.since < since).order_by(col(EdgeRow.since).desc(), col(EdgeRow.no).desc())
            first = (await session.exec(before.limit(1))).first()
            inside = of_kiosk.where(EdgeRow.since >= since, EdgeRow.since < until)
            rows = list(await session.exec(inside.order_by(col(EdgeRow.since), col(EdgeRow.no))))
        return rows if first is None else [first, *rows]

    async def forget_edges(self, before: datetime) -> None:
        """Delete edges that are older than they must be kept."""
        async with self._database.write() as connection:
            await connection.execute(_EDGE.delete().where(_EDGE.c.since < before))


def _values(number: int, status: Status, change_seq: int) -> dict[str, Any]:
    return {
        "kiosk_no": number,
        "kid": status.kid,
        "state": status.state.value,
        "since": status.since,
        "reason": status.reason,
        "session": status.session,
        "boot": status.boot,
        "last_seen_at": status.last_seen_at,
        "agent_version": status.agent_version,
        "activity": status.activity.value,
        "clock_offset_s": status.clock_offset_s,
        "queue_rows": status.queue_rows,
        "birth": status.birth,
        "offline_alarm": status.offline_alarm,
        "unstable_alarm": status.unstable_alarm,
        "change_seq": change_seq,
    }


def _edge_values(number: int, edge: EdgeRecord) -> dict[str, Any]:
    return {
        "kiosk_no": number,
        "state": edge.state.value,
        "since": edge.since,
        "detected_at": edge.detected_at,
        "reason": edge.reason,
    }


def _status(row: PresenceRow) -> Status:
    values = row.model_dump(exclude={"kiosk_no", "state", "activity"})
    return Status(state=PresenceState(row.state), activity=Activity(row.activity), **values)
