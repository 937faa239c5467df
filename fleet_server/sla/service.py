"""Seals days, and answers what a month was worth."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from fleet_server.errors import Refusal
from fleet_server.sla.bundle import bundle
from fleet_server.sla.contract import Contract, ContractError, parse
from fleet_server.sla.documents import Document, Format, document
from fleet_server.sla.evidence import Kind, Row, fold, in_force
from fleet_server.sla.model import Report
from fleet_server.sla.report import Basis, compute
from fleet_server.sla.seal import START, Seal, SealedRow, SealKey, chained
from fleet_server.sla.sources import collect
from fleet_server.sla.spans import month_span, to_us
from fleet_server.sla.store import SlaStore
from kit.clock import Clock
from kit.store import Database

ZONE: Final = "Asia/Shanghai"
"""Where midnight is taken from while there is no contract."""
GRACE: Final = timedelta(minutes=10)
"""How long after midnight a day is sealed."""
Fence = Callable[[AsyncConnection], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Month:
    """The sealed rows of a month."""

    first: int
    last: int
    seals: Sequence[Seal]


class SlaService:
    """Evidence, reports and exports."""

    def __init__(self, database: Database, clock: Clock) -> None:
        """Use this database."""
        self._database = database
        self._store = SlaStore(database)
        self._clock = clock

    # -- the leader's part ----------------------------------------------------------------------------------------

    async def watch(self, fence: Fence) -> None:
        """Note that somebody watches."""
        async with self._database.write() as connection:
            await fence(connection)
            await self._store.watch(connection, self._clock.utc())

    async def seal(self, key: SealKey, fence: Fence) -> list[str]:
        """Seal every day that is over and is not sealed; the days. A day is whole or not there."""
        zone = await self._zone()
        now = self._clock.utc()
        async with self._database.write() as connection:
            await fence(connection)
            last = await self._store.last_seal(connection)
            yesterday = (now - GRACE).astimezone(ZoneInfo(zone)).date() - timedelta(days=1)
            first = yesterday if last is None else date.fromisoformat(last.day) + timedelta(days=1)
            days = [(first + timedelta(days=n)).isoformat() for n in range((yesterday - first).days + 1)]
            if not days:
                return []
            cursors = await self._store.cursors(connection)
            found = await collect(connection, cursors, await self._known(connection, last), now)
            rows: list[SealedRow] = []
            seals: list[Seal] = []
            for day in days:
                fresh = await self._opening(connection, last, day, zone) if day.endswith("-01") else []
                fresh += found.rows if day == days[-1] else []
                sealed = _chain(fresh, day, last)
                last = _seal(sealed, day, last, key, to_us(now))
                rows += sealed
                seals.append(last)
            await self._store.append(connection, rows, seals, found.cursors)
        return days

    async def _opening(self, connection: AsyncConnection, last: Seal | None, day: str, zone: str) -> list[Row]:
        """What was in force when a month began."""
        if last is None:
            return []
        before = await self._month(connection, last.day[:7], last.day)
        if before is None:
            return []
        rows = _parsed(await self._store.bodies(connection, before.first, before.last))
        return list(in_force(rows, month_span(day[:7], zone)[0]))

    async def _known(self, connection: AsyncConnection, last: Seal | None) -> dict[str, Any]:
        """The last row of each kiosk: every day with rows has one of each."""
        if last is None or last.rows == 0:
            return {}
        since = (date.fromisoformat(last.day) - timedelta(days=40)).isoformat()
        for seal in reversed(await self._store.seals(connection, since, last.day)):
            bodies = await self._store.bodies(connection, seal.first, seal.rows, Kind.KIOSK)
            if bodies:
                return {body["kid"]: body for _, body in _parsed(bodies)}
        return {}

    # -- answers --------------------------------------------------------------------------------------------------

    async def contract(self) -> tuple[Contract, datetime, str]:
        """The contract in force, since when, and who set it. Raises: Refusal."""
        row = await self._store.contract()
        if row is None:
            raise Refusal("contract_missing", "no contract is in force: kioskctl sla contract set FILE", status=404)
        return await asyncio.to_thread(Contract.model_validate, row.body), row.at, row.by

    async def set_contract(self, text: str, by: str) -> Contract:
        """Have this contract from now on. Raises: Refusal."""
        try:
            contract = await asyncio.to_thread(parse, text)
        except ContractError as error:
            raise Refusal("contract_invalid", str(error), status=422) from error
        await self._store.set_contract(contract.model_dump(mode="json"), by, self._clock.utc())
        return contract

    async def report(self, month: str) -> Report:
        """A month as far as it is known now, not yet sealed evidence included. Raises: Refusal."""
        zone = await self._zone()
        now = self._clock.utc()
        async with self._database.read() as connection:
            last = await self._store.last_seal(connection)
            sealed = await self._month(connection, month, await self._through(month))
            bodies = [] if sealed is None else await self._store.bodies(connection, sealed.first, sealed.last)
            rows = await asyncio.to_thread(_parsed, bodies)
            if now <= _settled(month, zone, await self._settle_days()):
                cursors = await self._store.cursors(connection)
                if sealed is None and last is not None and last.day[:7] < month:
                    rows = await self._opening(connection, last, f"{month}-01", zone)
                rows += (await collect(connection, cursors, await self._known(connection, last), now)).rows
        head = None if sealed is None else sealed.seals[-1].head
        return await asyncio.to_thread(_computed, month, rows, to_us(now), head)

    async def file(self, month: str, wanted: Format) -> Document:
        """A month as a file. Raises: Refusal."""
        report = await self.report(month)
        return await asyncio.to_thread(document, report, wanted)

    async def export(self, month: str) -> Document:
        """The sealed evidence of a month and the report computed from exactly that. Raises: Refusal."""
        async with self._database.read() as connection:
            sealed = await self._month(connection, month, await self._through(month))
            if sealed is None:
                raise Refusal("month_not_sealed", "no day of this month is sealed", status=404)
            rows = await self._store.rows(connection, sealed.first, sealed.last)
            before = await self._store.rows(connection, sealed.first - 1, sealed.first - 1)
        content = await asyncio.to_thread(_exported, month, before[0] if before else None, rows, sealed.seals)
        return Document(f"sla-{month}.zip", "application/zip", content)

    async def seals(self, since: str, until: str) -> list[Seal]:
        """The seals of these days."""
        async with self._database.read() as connection:
            return await self._store.seals(connection, since, until)

    async def _zone(self) -> str:
        row = await self._store.contract()
        zone = ZONE if row is None else str(row.body["zone"])
        await asyncio.to_thread(ZoneInfo, zone)  # reads a file the first time, and keeps what it read
        return zone

    async def _settle_days(self) -> int:
        row = await self._store.contract()
        return 7 if row is None else int(row.body["settle_days"])

    async def _through(self, month: str) -> str:
        """The last day whose rows count for a month."""
        following = (date.fromisoformat(f"{month}-28") + timedelta(days=4)).replace(day=1)
        return (following + timedelta(days=await self._settle_days())).isoformat()

    async def _month(self, connection: AsyncConnection, month: str, through: str) -> _Month | None:
        seals = await self._store.seals(connection, f"{month}-01", through)
        if not seals or seals[0].day[:7] != month:
            return None
        return _Month(seals[0].first, seals[-1].rows, seals)


def _chain(rows: Sequence[Row], day: str, last: Seal | None) -> list[SealedRow]:
    chain, no = (START, 0) if last is None else (last.head, last.rows)
    found = []
    for number, (kind, body) in enumerate(rows, start=no + 1):
        row = chained(chain, number, day, kind.value, body)
        chain = row.chain
        found.append(row)
    return found


def _seal(rows: Sequence[SealedRow], day: str, last: Seal | None, key: SealKey, now_us: int) -> Seal:
    no, head = (0, START) if last is None else (last.rows, last.head)
    seal = Seal(
        day=day,
        first=no + 1,
        rows=no + len(rows),
        head=rows[-1].chain if rows else head,
        previous=START if last is None else last.digest,
        sealed_us=now_us,
        key=key.public,
    )
    return replace(seal, signature=key.sign(seal))


def _settled(month: str, zone: str, days: int) -> datetime:
    following = (date.fromisoformat(f"{month}-28") + timedelta(days=4)).replace(day=1)
    return datetime(following.year, following.month, 1, tzinfo=ZoneInfo(zone)) + timedelta(days=days)


def _parsed(bodies: Sequence[tuple[str, str]]) -> list[Row]:
    """Rows out of the store; kinds of a newer release say nothing here."""
    return [(Kind(kind), orjson.loads(body)) for kind, body in bodies if kind in _KINDS]


_KINDS: Final = frozenset(kind.value for kind in Kind)


def _computed(month: str, rows: Sequence[Row], now_us: int, head: str | None) -> Report:
    return compute(month, Basis(fold(rows), now_us, len(rows), head))


def _exported(month: str, base: SealedRow | None, rows: Sequence[SealedRow], seals: Sequence[Seal]) -> bytes:
    parsed = _parsed([(row.kind, row.body) for row in rows])
    basis = Basis(fold(parsed), seals[-1].sealed_us, len(rows), seals[-1].head)
    return bundle(compute(month, basis), base, rows, seals)
