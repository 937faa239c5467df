"""The leader's duty: reads the feed of incidents, writes who is to be told, tells them, and writes how it went.

Everything is written before it is done: a message is a row, then it is taken, then it is sent, then its outcome is
written. Who dies in between leaves a taken row behind; it is sent again under the same id, so a receiver that looks at
ids is told once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

import aiohttp
import sqlalchemy.exc
from sqlalchemy.ext.asyncio import AsyncConnection

from fleet_server.errors import Refusal
from fleet_server.incidents.model import EventKind, Incident, IncidentEvent, name_of, view
from fleet_server.incidents.service import IncidentService
from fleet_server.paging import rules
from fleet_server.paging.model import Delivery, DeliveryState, Ladder, Page
from fleet_server.paging.store import PagingStore
from fleet_server.paging.ways import Channel, PagingFailed, channel
from fleet_server.settings import PagingTarget
from kit.clock import Clock, ulid
from kit.logs import get_logger
from kit.store import Database, LeaseLost, StoreBusy
from kit.supervise import TaskGroup, spawn
from wire.faults import FACTS, Fault, Severity

PAGE: Final = 500
TICK_S: Final = 0.5
AT_ONCE: Final = 8
_STORE_AWAY: Final = (StoreBusy, sqlalchemy.exc.DBAPIError, OSError)
Fence = Callable[[AsyncConnection], Awaitable[None]]
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PagingParts:
    """What the duty works with."""

    database: Database
    store: PagingStore
    incidents: IncidentService
    ladders: Mapping[Severity, Ladder]
    targets: Mapping[str, PagingTarget]
    clock: Clock
    fence: Fence
    public_url: str | None = None


class PagingDuty:
    """Runs on one process at a time."""

    name = "paging"

    def __init__(self, parts: PagingParts) -> None:
        """Connect the parts; nothing runs yet."""
        self._parts = parts
        self._database, self._store, self._incidents = parts.database, parts.store, parts.incidents
        self._clock, self._fence = parts.clock, parts.fence
        self._http: aiohttp.ClientSession | None = None
        self.channels: Mapping[str, Channel] = {
            name: channel(target, self._session) for name, target in parts.targets.items()
        }

    async def run(self) -> None:
        """Lead until cancelled."""
        failing = False
        async with aiohttp.ClientSession(trust_env=False) as self._http:
            while True:
                try:
                    await self.turn()
                    failing = False
                except LeaseLost:
                    raise
                except _STORE_AWAY as error:
                    if not failing:
                        log.warning("paging.not_written", error=type(error).__name__)
                    failing = True
                await asyncio.sleep(TICK_S)

    async def turn(self) -> None:
        """Read what happened, plan, send what is due."""
        while await self._read():
            pass
        await self._plan()
        now = self._clock.utc()
        due = [one for one in await self._store.pending() if rules.may_send(one, now)]
        for start in range(0, len(due), AT_ONCE):
            async with TaskGroup() as group:
                for one in due[start : start + AT_ONCE]:
                    _ = spawn(group, self._send(one), f"page-{one.target}")

    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:
            self._http = aiohttp.ClientSession(trust_env=False)
        return self._http

    async def close(self) -> None:
        """For tests that take single turns."""
        if self._http is not None:
            await self._http.close()

    async def _read(self) -> bool:
        seq = await self._store.cursor()
        events = await self._incidents.events_after(seq, PAGE)
        if not events:
            return False
        now = self._clock.utc()
        async with self._database.write() as connection:
            await self._fence(connection)
            if not await self._store.move(connection, seq, events[-1].seq):
                return True
            for event in events:
                await self._take(connection, event)
                if event.kind in rules.ENDING:
                    await self._store.end(connection, event.incident, now)
        return len(events) == PAGE

    async def _take(self, connection: AsyncConnection, event: IncidentEvent) -> None:
        if event.kind is EventKind.SNOOZED:
            incident = await self._incidents.incident(event.incident)
            await self._store.snooze(connection, event.incident, incident.snoozed_until)
        if event.kind not in rules.TELLING:
            return
        incident = await self._incidents.incident(event.incident)
        case = rules.occasion(event, incident, await self._store.last_case(event.incident))
        if case is not None:
            await self._store.add_case(connection, case)

    async def _plan(self) -> None:
        for case in await self._store.paging():
            ladder = rules.ladder_for(case.severity, self._parts.ladders)
            if ladder is None:
                continue
            made = await self._store.deliveries_of(case)
            fresh = rules.planned(case, made, ladder, self._clock.utc(), lambda: ulid(self._clock))
            if fresh:
                async with self._database.write() as connection:
                    await self._fence(connection)
                    await self._store.add(connection, fresh)

    async def _send(self, delivery: Delivery) -> None:
        taken = rules.taken(delivery, self._clock.utc())
        if not await self._put(delivery, taken):
            return
        try:
            incident = await self._incidents.incident(delivery.incident)
            await self._way(delivery.target).send(await self._page(taken, incident))
        except (PagingFailed, Refusal) as error:
            after = rules.failed(taken, str(error), self._clock.utc())
            log.warning("page.failed", target=delivery.target, attempts=after.attempts, why=str(error))
        else:
            after = rules.done(taken, self._clock.utc())
        if await self._put(taken, after) and after.state is DeliveryState.FAILED:
            text = f"未能通知 {delivery.target} (could not be told): {after.note}"
            await self._incidents.note(delivery.incident, None, text)

    def _way(self, target: str) -> Channel:
        way = self.channels.get(target)
        if way is None:
            raise PagingFailed("there is no such target any more")
        return way

    async def _put(self, before: Delivery, after: Delivery) -> bool:
        async with self._database.write() as connection:
            await self._fence(connection)
            return await self._store.put(connection, before, after)

    async def _page(self, delivery: Delivery, incident: Incident) -> Page:
        shown = view(incident)
        facts = FACTS[Fault(incident.cause)] if incident.cause in set(Fault) else None
        members = await self._incidents.members(incident.id)
        link = (
            None if self._parts.public_url is None else f"{self._parts.public_url.rstrip('/')}/incidents/{incident.id}"
        )
        return Page(
            delivery.id,
            name_of(incident.number),
            shown.title_zh,
            shown.title_en,
            incident.scope_name or "全院区 (whole site)",
            incident.severity,
            incident.since,
            sum(one.cleared_at is None for one in members),
            facts.remedy_zh if facts else "",
            link,
        )
