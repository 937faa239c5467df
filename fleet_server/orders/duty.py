"""The leader's duty: incidents become orders, evidence moves them on. All it knows is in the store."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy.exc

from fleet_server.alerts.catalogue import entry_of
from fleet_server.errors import Refusal
from fleet_server.incidents.model import EventKind, Incident, IncidentEvent, Member, Part
from fleet_server.orders import progress
from fleet_server.orders.machine import UNPROVED
from fleet_server.orders.model import (
    News,
    NewsKind,
    Order,
    OrderKind,
    OrderState,
    Pause,
    Stop,
    Target,
)
from fleet_server.orders.ports import Evidence, Incidents
from fleet_server.orders.store import OrderStore, StaleFeed, Writing
from kit.clock import Clock, ulid
from kit.logs import get_logger
from kit.store import LeaseLost, StoreBusy
from wire.faults import Fault

PAGE: Final = 200
TICK_S: Final = 2.0
_STORE_AWAY: Final = (StoreBusy, sqlalchemy.exc.DBAPIError, OSError)
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Probation:
    """How long patients try a repair."""

    uses: int = 3
    longest: timedelta = timedelta(hours=2)


@dataclass(frozen=True, slots=True)
class Seen:
    """An event of the feed with what the incident is now."""

    event: IncidentEvent
    incident: Incident
    targets: Sequence[Target]


class OrderDuty:
    """Runs on one process at a time; a second one by mistake writes nothing twice."""

    name = "orders"

    def __init__(
        self,
        store: OrderStore,
        incidents: Incidents,
        evidence: Evidence,
        clock: Clock,
        probation: Probation | None = None,
    ) -> None:
        """Connect the parts; nothing runs yet."""
        self._store = store
        self._incidents = incidents
        self._evidence = evidence
        self._clock = clock
        self._probation = probation or Probation()

    async def run(self) -> None:
        """Lead until cancelled."""
        is_failing = False
        while True:
            try:
                while await self.follow():
                    pass
                await self.judge()
                is_failing = False
            except LeaseLost:
                raise
            except _STORE_AWAY as error:
                if not is_failing:
                    log.warning("orders.not_written", error=type(error).__name__)
                is_failing = True
            await asyncio.sleep(TICK_S)

    # -- incidents ------------------------------------------------------------------------------------------------

    async def follow(self) -> bool:
        """Take over one page of the incidents' feed; whether there may be more."""
        place = await self._store.feed_seq()
        events = await self._incidents.events_after(place, PAGE)
        if not events:
            return False
        seen = [await self._seen(event) for event in events]
        try:
            async with self._store.writing(self._clock.utc()) as writing:
                await writing.move(place, events[-1].seq)
                for one in seen:
                    await self._take(writing, one)
        except StaleFeed:
            return True
        return len(events) == PAGE

    async def _seen(self, event: IncidentEvent) -> Seen:
        incident = await self._incidents.incident(event.incident)
        members = await self._incidents.members(event.incident)
        causes = [member for member in members if member.part is Part.CAUSE] or list(members)
        return Seen(event, incident, [_target(member) for member in causes])

    async def _take(self, writing: Writing, seen: Seen) -> None:
        event, incident = seen.event, seen.incident
        order = await writing.of_incident(incident.id)
        if order is None:
            if event.kind is EventKind.OPENED and _needs_order(seen):
                await self._open(writing, seen)
            return
        found: tuple[Order, list[News]] | None = None
        if event.kind is EventKind.ACKNOWLEDGED and event.by is not None and order.response is None:
            stop = Stop(event.at, event.by, f"incident:{event.seq}")
            if order.state in UNPROVED:
                try:
                    found = progress.respond(order, stop)
                except Refusal:
                    found = replace(order, response=stop), [News(NewsKind.RESPONDED, event.at, event.by)]
        elif event.kind is EventKind.RELAPSED:
            found = progress.relapse(order, event.at)
        if event.kind in {EventKind.JOINED, EventKind.LEFT, EventKind.OPENED, EventKind.WORSENED, EventKind.RELAPSED}:
            await writing.aim(order.id, seen.targets)
        if found is not None:
            await writing.put(*found)

    async def _open(self, writing: Writing, seen: Seen) -> None:
        """A new order, or the one of a day ago whose repair did not hold."""
        incident, now = seen.incident, self._clock.utc()
        last = await writing.last_at(incident.scope_name, incident.cause)
        again = None if last is None else progress.relapse(last, incident.since)
        if again is not None:
            changed = replace(again[0], incident=incident.id)
            order = await writing.put(changed, again[1])
        else:
            made = Order(
                id=ulid(self._clock),
                number=await writing.number(now.year),
                kind=OrderKind.HELP if incident.cause == Fault.HELP_REQUESTED else OrderKind.INCIDENT,
                state=OrderState.NEW,
                cause=incident.cause,
                place=incident.scope_name,
                severity=incident.severity,
                incident=incident.id,
                since=incident.since,
                opened_at=now,
            )
            fields = {"incident": incident.number, "event": seen.event.seq}
            order = await writing.put(made, [News(NewsKind.OPENED, incident.since, fields=fields)])
        await writing.aim(order.id, seen.targets)

    # -- evidence -------------------------------------------------------------------------------------------------

    async def judge(self) -> None:
        """Move every order that is not over as far as evidence and time say."""
        for order in await self._store.open():
            await self.judge_one(order)

    async def judge_one(self, order: Order) -> Order:
        """One order; what a person changed meanwhile is looked at next time."""
        pauses, targets = await self._store.pauses(order.id), await self._store.targets(order.id)
        now = self._clock.utc()
        changed, news = await self._dated(order)
        for look in (self._proved, self._relapsed, self._passed):
            found = await look(changed, targets, now)
            if found is not None:
                changed, news = found[0], [*news, *found[1]]
        changed, told = progress.forecasts(changed, pauses, now)
        if not news and not told and changed == order:
            return order
        async with self._store.writing(now) as writing:
            current = await writing.order(order.id)
            if current is None or current.version != order.version:
                return order
            if changed.repair is not None and order.repair is None:
                for pause in pauses:
                    if pause.until is None:
                        await writing.put_pause(_ended(pause, changed.repair.at))
            return await writing.put(changed, [*news, *told])

    async def _dated(self, order: Order) -> tuple[Order, list[News]]:
        if order.incident is None or order.relapses:
            return order, []
        found = progress.redate(order, (await self._incidents.incident(order.incident)).since)
        return (order, []) if found is None else found

    async def _proved(self, order: Order, targets: Sequence[Target], now: datetime) -> tuple[Order, list[News]] | None:
        if order.state not in UNPROVED:
            return None
        stop, _ = await proof_of(order, targets, self._evidence, whole=False)
        return None if stop is None else progress.proved(order, stop, self._probation.longest, now)

    async def _relapsed(
        self, order: Order, targets: Sequence[Target], _now: datetime
    ) -> tuple[Order, list[News]] | None:
        if order.state is not OrderState.VERIFIED or order.repair is None:
            return None
        again: list[datetime] = []
        for kid in {target.kid for target in targets}:
            faults = await self._evidence.faults(kid)
            for target in targets:
                status = faults.get((target.component, target.code)) if target.kid == kid else None
                raised_at = None if status is None else status.last_raised_at
                if raised_at is not None and raised_at > order.repair.at:
                    again.append(raised_at)
        return progress.relapse(order, min(again)) if again else None

    async def _passed(self, order: Order, targets: Sequence[Target], now: datetime) -> tuple[Order, list[News]] | None:
        if order.state is not OrderState.VERIFIED or order.repair is None:
            return None
        uses = [await self._evidence.uses(one.kid, one.component, order.repair.at) for one in targets]
        return progress.passed(order, min(uses, default=0), self._probation.uses, now)


async def proof_of(
    order: Order, targets: Sequence[Target], evidence: Evidence, *, whole: bool = True
) -> tuple[Stop | None, list[str]]:
    """The stop of the repair clock when everything is proved to be well, else what is missing, or the first of it."""
    verdicts: list[progress.Verdict] = []
    for kid in sorted({target.kid for target in targets}):
        faults = await evidence.faults(kid)
        own = [target for target in targets if target.kid == kid]
        is_tested = any(progress.needs_test(target.code) for target in own)
        tests = await evidence.self_tests(kid, min(target.since for target in own)) if is_tested else []
        verdicts += [progress.judged(one, faults.get((one.component, one.code)), tests) for one in own]
        if not whole and any(verdict.at is None for verdict in verdicts):
            break
    stop, missing = progress.proof(order, verdicts)
    if stop is not None and order.fault_at is not None and stop.at <= order.fault_at:
        return None, ["what proved the repair is older than the relapse"]
    return stop, missing


def _needs_order(seen: Seen) -> bool:
    incident = seen.incident
    if incident.window is not None or (incident.is_hist and incident.recovered_at is not None):
        return False
    return entry_of(incident.cause).needs_order


def _target(member: Member) -> Target:
    return Target(member.kid, member.component, member.code, member.since)


def _ended(pause: Pause, at: datetime) -> Pause:
    return replace(pause, until=max(pause.since, at))
