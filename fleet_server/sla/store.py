"""Tables of the service level: the rows of evidence, the seals of days, and how far each source was read.

Nothing of the evidence is ever changed or deleted: it is kept for the whole term of the contract, longer than the
tables it was taken from. The body of a row stays the very text that its chain value covers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final

from sqlalchemy import BigInteger, Column, MetaData, Table, Text, delete, insert
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import Field, SQLModel, col, func, select, update

from fleet_server.sla.seal import Seal, SealedRow
from kit.store import Database, Json, UtcDateTime, metadata_of

METADATA: MetaData = metadata_of("fleet")
WATCH_GAP: Final = timedelta(seconds=180)
"""Longer without a sign of the watching process, and nobody can say what happened meanwhile."""
_CHUNK: Final = 2_000
_NUMBER = BigInteger().with_variant(sqlite.INTEGER(), "sqlite")


class _Row(SQLModel):
    metadata: ClassVar[MetaData] = METADATA


class EvidenceRow(_Row, table=True):
    """A row of evidence."""

    __tablename__ = "sla_evidence"
    no: int = Field(sa_type=BigInteger, primary_key=True)
    day: str = Field(max_length=10)
    kind: str = Field(max_length=16)
    body: str = Field(sa_type=Text)
    chain: str = Field(max_length=64)


class SealRow(_Row, table=True):
    """The end of a day."""

    __tablename__ = "sla_seal"
    day: str = Field(max_length=10, primary_key=True)
    first: int = Field(sa_type=BigInteger)
    rows: int = Field(sa_type=BigInteger)
    head: str = Field(max_length=64)
    previous: str = Field(max_length=64)
    sealed_us: int = Field(sa_type=BigInteger)
    key: str = Field(max_length=64)
    signature: str = Field(max_length=128)


class CursorRow(_Row, table=True):
    """How far a source was read."""

    __tablename__ = "sla_cursor"
    source: str = Field(max_length=16, primary_key=True)
    value: int = Field(sa_type=BigInteger)


class WatchRow(_Row, table=True):
    """A stretch in which the leader watched without a gap."""

    __tablename__ = "sla_watch"
    no: int | None = Field(default=None, sa_column=Column(_NUMBER, primary_key=True))
    since: datetime = Field(sa_type=UtcDateTime)
    until: datetime = Field(sa_type=UtcDateTime, index=True)


class ContractRow(_Row, table=True):
    """A contract, from the moment it was set."""

    __tablename__ = "sla_contract"
    no: int | None = Field(default=None, sa_column=Column(_NUMBER, primary_key=True))
    at: datetime = Field(sa_type=UtcDateTime)
    by: str = Field(max_length=64)
    body: dict[str, Any] = Field(sa_type=Json)  # Any: a JSON document


EVIDENCE: Table = METADATA.tables["sla_evidence"]
WATCH: Table = METADATA.tables["sla_watch"]
CONTRACT: Table = METADATA.tables["sla_contract"]
_SEAL: Table = METADATA.tables["sla_seal"]
_CURSOR: Table = METADATA.tables["sla_cursor"]
_SEAL_FIELDS: Final = tuple(field.name for field in fields(Seal))


class SlaStore:
    """Evidence and seals."""

    def __init__(self, database: Database) -> None:
        """Use this database."""
        self._database = database

    # -- what one process at a time writes ------------------------------------------------------------------------

    async def watch(self, connection: AsyncConnection, now: datetime) -> None:
        """Note that somebody watched until now; after too long a gap a new stretch begins."""
        last = await connection.execute(WATCH.select().order_by(WATCH.c.until.desc()).limit(1))
        row = last.first()
        if row is None or not timedelta(0) <= now - row.until <= WATCH_GAP:
            await connection.execute(insert(WATCH).values(since=now, until=now))
        else:
            await connection.execute(update(WATCH).where(WATCH.c.no == row.no).values(until=now))

    async def cursors(self, connection: AsyncConnection) -> dict[str, int]:
        """How far each source was read."""
        found = await connection.execute(_CURSOR.select())
        return {row.source: row.value for row in found}

    async def append(
        self, connection: AsyncConnection, rows: Sequence[SealedRow], seals: Sequence[Seal], cursors: Mapping[str, int]
    ) -> None:
        """Write rows, seals and cursors inside one transaction."""
        for start in range(0, len(rows), _CHUNK):
            chunk = rows[start : start + _CHUNK]
            values = [{"no": r.no, "day": r.day, "kind": r.kind, "body": r.body, "chain": r.chain} for r in chunk]
            await connection.execute(insert(EVIDENCE), values)
        if seals:
            await connection.execute(insert(_SEAL), [_values(seal) for seal in seals])
        await connection.execute(delete(_CURSOR))
        if cursors:
            written = [{"source": source, "value": value} for source, value in sorted(cursors.items())]
            await connection.execute(insert(_CURSOR), written)

    async def set_contract(self, body: Mapping[str, Any], by: str, now: datetime) -> None:  # Any: a JSON document
        """Have another contract from now on."""
        async with self._database.write() as connection:
            await connection.execute(insert(CONTRACT).values(at=now, by=by, body=dict(body)))

    # -- reading --------------------------------------------------------------------------------------------------

    async def contract(self) -> ContractRow | None:
        """The contract that was set last."""
        async with self._database.read_session() as session:
            return (await session.exec(select(ContractRow).order_by(col(ContractRow.no).desc()).limit(1))).first()

    async def seals(self, connection: AsyncConnection, since: str, until: str) -> list[Seal]:
        """The seals of these days, both included, the oldest first."""
        statement = _SEAL.select().where(_SEAL.c.day >= since, _SEAL.c.day <= until).order_by(_SEAL.c.day)
        return [_seal(row) for row in (await connection.execute(statement)).mappings()]

    async def last_seal(self, connection: AsyncConnection) -> Seal | None:
        """The newest seal."""
        row = (await connection.execute(_SEAL.select().order_by(_SEAL.c.day.desc()).limit(1))).mappings().first()
        return None if row is None else _seal(row)

    async def bodies(
        self, connection: AsyncConnection, first: int, last: int, kind: str | None = None
    ) -> Sequence[tuple[str, str]]:
        """Kind and text of the rows with these numbers, in their order."""
        columns = EVIDENCE.c
        statement = EVIDENCE.select().with_only_columns(columns.kind, columns.body)
        statement = statement.where(columns.no >= first, columns.no <= last)
        if kind is not None:
            statement = statement.where(columns.kind == kind)
        found = await connection.execute(statement.order_by(columns.no))
        return [(row[0], row[1]) for row in found]

    async def rows(self, connection: AsyncConnection, first: int, last: int) -> list[SealedRow]:
        """Whole rows with these numbers, in their order."""
        columns = EVIDENCE.c
        statement = EVIDENCE.select().where(columns.no >= first, columns.no <= last).order_by(columns.no)
        found = await connection.execute(statement)
        return [SealedRow(row.no, row.day, row.kind, row.body, row.chain) for row in found]

    async def count(self) -> int:
        """How many rows there are."""
        async with self._database.read() as connection:
            return int(await connection.scalar(select(func.coalesce(func.max(EVIDENCE.c.no), 0))) or 0)


def _values(seal: Seal) -> dict[str, Any]:
    return {name: getattr(seal, name) for name in _SEAL_FIELDS}


def _seal(row: Mapping[Any, Any]) -> Seal:  # Any: one column each
    return Seal(**{name: row[name] for name in _SEAL_FIELDS})
