"""The leader's duty: reads the feed of incidents, writes who is to be told, tells them, and writes how it went.

Everything is written before it is done: a message is a row, then it is taken, then it is sent, then its outcome is
written. Who dies in between leaves a taken row behind; it is sent again under the same id, so a receiver that looks at
ids is told once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final
from zoneinfo import ZoneInfo

import aiohttp
import sqlalchemy.exc
from sqlalchemy.ext.asyncio import AsyncConnection

from fleet_server.errors import Refusal
from fleet_server.incidents.model import EventKind, Incident, IncidentEvent, name_of, view
from fleet_server.incidents.service import IncidentService
from fleet_server.paging import rules
from fleet_server.paging.links import new_link
from fleet_server.paging.model import AckLink, Addressee, Delivery, DeliveryState, Ladder, Page, PagingCase, Step
from fleet_server.paging.ports import OrderFeed
from fleet_server.paging.roster import targets_of, told_from
from fleet_server.paging.service import RosterService
from fleet_server.paging.store import Feed, PagingStore
from fleet_server.paging.ways import Channel, PagingFailed, channel
from fleet_server.settings import ON_DUTY, DutyLine, PagingSettings
from kit.clock import Clock, ulid
from kit.logs import get_logger
from kit.store import Database, LeaseLost, StoreBusy
from kit.supervise import TaskGroup, spawn
from wire.faults import FACTS, Fault, Severity

PAGE: Final = 500
TICK_S: Final = 0.5
AT_ONCE: Final = 8
PULSE: Final = timedelta(seconds=10)
_STORE_AWAY: Final = (StoreBusy, sqlalchemy.exc.DBAPIError, OSError)
Fence = Callable[[AsyncConnection], Awaitable[None]]
LINES: Final[Mapping[DutyLine, str]] = {DutyLine.ONSITE: "驻场", DutyLine.SECOND: "二线"}
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PagingParts:
    """What the duty works with."""

    database: Database
    store: PagingStore
    incidents: IncidentService
    settings: PagingSettings
    clock: Clock
    fence: Fence
    public_url: str | None = None
    roster: RosterService | None = None
    """Without one, no line is staffed."""
    orders: OrderFeed | None = None
    """Without one, nobody hears of repairs that threaten to be late."""


class PagingDuty:
    """Runs on one process at a time."""

    name = "paging"

    def __init__(self, parts: PagingParts) -> None:
        """Connect the parts; nothing runs yet."""
        self._parts = parts
        self._database, self._store, self._incidents = parts.database, parts.store, parts.incidents
        self._clock, self._fence = parts.clock, parts.fence
        self._http: aiohttp.ClientSession | None = None
        self._noted: datetime | None = None
        self._ladders = ladders_of(parts.settings)
        self.channels: Mapping[str, Channel] = {
            name: channel(target, self._session) for name, target in parts.settings.targets.items()
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
        while await self._read_orders():
            pass
        await self._plan()
        now = self._clock.utc()
        await self._note_turn(now)
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
        seq = await self._store.cursor(Feed.INCIDENTS)
        events = await self._incidents.events_after(seq, PAGE)
        if not events:
            return False
        now = self._clock.utc()
        async with self._database.write() as connection:
            await self._fence(connection)
            if not await self._store.move(connection, Feed.INCIDENTS, seq, events[-1].seq):
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

    async def _read_orders(self) -> bool:
        if self._parts.orders is None:
            return False
        seq = await self._store.cursor(Feed.ORDERS)
        lines = await self._parts.orders.after(seq, PAGE)
        if not lines:
            return False
        told = [line for line in lines if line.incident is not None]
        found = [rules.forecast_case(line, await self._incidents.incident(str(line.incident))) for line in told]
        async with self._database.write() as connection:
            await self._fence(connection)
            if await self._store.move(connection, Feed.ORDERS, seq, lines[-1].seq):
                for case in found:
                    if case is not None:
                        await self._store.add_case(connection, case)
        return len(lines) == PAGE

    async def _note_turn(self, now: datetime) -> None:
        """For whoever watches from outside that there are turns at all."""
        if self._noted is None or abs(now - self._noted) >= PULSE:
            async with self._database.write() as connection:
                await self._fence(connection)
                await self._store.turned(connection, now)
            self._noted = now

    async def _plan(self) -> None:
        cases = await self._store.paging()
        if not cases:
            return
        resolve, zone = await self._resolver(), await asyncio.to_thread(ZoneInfo, self._parts.settings.zone)
        for case in cases:
            ladder = rules.ladder_for(case.severity, self._ladders)
            if ladder is None:
                continue
            quiet = self._parts.settings.quiet.get(case.severity)
            calendar = rules.Calendar(resolve, partial(told_from, quiet=quiet, zone=zone))
            made = await self._store.deliveries_of(case)
            fresh = rules.planned(case, made, ladder, self._clock.utc(), lambda: ulid(self._clock), calendar)
            if fresh and await self._add(fresh):
                await self._tell_gaps(fresh)

    async def _add(self, fresh: Sequence[Delivery]) -> bool:
        try:
            async with self._database.write() as connection:
                await self._fence(connection)
                await self._store.add(connection, fresh)
        except sqlalchemy.exc.IntegrityError:
            return False  # somebody else has just planned the same: the next turn sees it
        return True

    async def _resolver(self) -> rules.Resolve:
        now, roster = self._clock.utc(), self._parts.roster
        plans = await roster.plans(now) if roster is not None else {}
        staffed = {
            f"{ON_DUTY}{line.value}": [
                Addressee(name, ways) for name, ways in targets_of(plan.roster, plan.on_duty(now)).items()
            ]
            for line, plan in plans.items()
        }
        return lambda name: staffed.get(name, ()) if name.startswith(ON_DUTY) else rules.named(name)

    async def _tell_gaps(self, fresh: Sequence[Delivery]) -> None:
        for one in fresh:
            if one.state is DeliveryState.NOBODY and one.turn == 0:
                line = LINES[DutyLine(one.target.removeprefix(ON_DUTY))]
                log.warning("page.nobody_on_duty", line=one.target, incident=one.incident)
                text = f"{line}当班无人, 立即通知下一级 (nobody is on duty: the next step is told at once)"
                await self._incidents.note(one.incident, None, text)

    async def _send(self, delivery: Delivery) -> None:
        taken = rules.taken(delivery, self._clock.utc())
        link, address = None, None
        if self._parts.public_url is not None:
            link, address = new_link(delivery, self._parts.public_url, self._clock)
        if not await self._put(delivery, taken, link):
            return
        try:
            incident = await self._incidents.incident(delivery.incident)
            page = await self._page(taken, incident, await self._store.case(taken))
            await self._way(delivery.target).send(replace(page, acknowledge=address))
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

    async def _put(self, before: Delivery, after: Delivery, link: AckLink | None = None) -> bool:
        async with self._database.write() as connection:
            await self._fence(connection)
            is_ours = await self._store.put(connection, before, after)
            if is_ours and link is not None:
                await self._store.add_link(connection, link, self._clock.utc())
            return is_ours

    async def _page(self, delivery: Delivery, incident: Incident, case: PagingCase | None) -> Page:
        shown = view(incident)
        facts = FACTS[Fault(incident.cause)] if incident.cause in set(Fault) else None
        members = await self._incidents.members(incident.id)
        forecast = None if case is None else case.forecast
        subject = f"incidents/{incident.id}" if forecast is None else f"orders/{forecast.order}"
        public = self._parts.public_url
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
            None if public is None else f"{public.rstrip('/')}/{subject}",
            forecast=forecast,
        )


def ladders_of(settings: PagingSettings) -> Mapping[Severity, Ladder]:
    """The ladders as rules see them."""
    return {
        severity: Ladder(tuple(Step(step.after_s, step.targets) for step in ladder.steps), ladder.repeat_s)
        for severity, ladder in settings.ladders.items()
    }
