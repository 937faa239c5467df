"""Work orders on a store, between incidents and evidence that are plain objects in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from fleet_server.errors import Refusal
from fleet_server.incidents.model import (
    EventKind,
    Incident,
    IncidentEvent,
    IncidentState,
    Member,
    Part,
    Scope,
)
from fleet_server.orders.duty import OrderDuty
from fleet_server.orders.model import FaultStatus, Order, OrderState, SelfTest
from fleet_server.orders.store import OrderStore
from kit.clock import ManualClock
from kit.store import Database
from wire.envelope import Scalar
from wire.faults import Severity

AT = datetime(2026, 11, 24, 1, 0, tzinfo=UTC)
KID = "zzj-001"


@dataclass(slots=True)
class Incidents:
    """A feed that a test writes."""

    known: dict[str, Incident] = field(default_factory=dict)
    members_of: dict[str, list[Member]] = field(default_factory=dict)
    feed: list[IncidentEvent] = field(default_factory=list)

    def open(self, name: str, at: datetime, *, code: str = "paper_out", component: str = "printer") -> None:
        place = f"{KID}/{component}"
        self.known[name] = Incident(
            name, len(self.known) + 1, IncidentState.OPEN, code, Scope.COMPONENT, place, Severity.MAJOR, at, at
        )
        self.members_of[name] = [Member(name, KID, component, code, Part.CAUSE, Severity.MAJOR, at)]
        self.say(name, EventKind.OPENED, at)

    def say(
        self,
        name: str,
        kind: EventKind,
        at: datetime,
        by: str | None = None,
        fields: Mapping[str, Scalar] | None = None,
    ) -> None:
        self.feed.append(IncidentEvent(len(self.feed) + 1, name, kind, at, at, by, fields or {}))

    async def events_after(self, seq: int, limit: int) -> Sequence[IncidentEvent]:
        return [event for event in self.feed if event.seq > seq][:limit]

    async def incident(self, identifier: str) -> Incident:
        if identifier not in self.known:
            raise Refusal("incident_unknown", "there is no such incident", status=404)
        return self.known[identifier]

    async def members(self, identifier: str) -> Sequence[Member]:
        return self.members_of[identifier]


@dataclass(slots=True)
class Evidence:
    """What kiosks said, as a test puts it."""

    statuses: dict[tuple[str, str, str], FaultStatus] = field(default_factory=dict)
    tests: list[SelfTest] = field(default_factory=list)
    used: int = 0
    visits: dict[str, tuple[int, datetime]] = field(default_factory=dict)

    def raised(self, at: datetime, code: str = "paper_out") -> None:
        self.statuses[KID, "printer", code] = FaultStatus(is_open=True, last_raised_at=at, cleared_at=None)

    def cleared(self, at: datetime, code: str = "paper_out") -> None:
        before = self.statuses[KID, "printer", code]
        self.statuses[KID, "printer", code] = replace(before, is_open=False, cleared_at=at)

    def tested(self, at: datetime, *, good: bool = True) -> None:
        self.tests.append(SelfTest(len(self.tests) + 1, KID, "printer", "print_receipt", at, good, "li"))

    async def faults(self, kid: str) -> dict[tuple[str, str], FaultStatus]:
        return {(component, code): one for (of, component, code), one in self.statuses.items() if of == kid}

    async def self_tests(self, kid: str, since: datetime) -> list[SelfTest]:
        return [one for one in self.tests if one.kid == kid and one.at > since]

    async def uses(self, kid: str, component: str, since: datetime) -> int:
        return self.used

    async def visit(self, kid: str, since: datetime, engineer: str) -> tuple[int, datetime] | None:
        return self.visits.get(engineer)


@dataclass(slots=True)
class Desk:
    """A duty and everything around it."""

    store: OrderStore
    incidents: Incidents
    evidence: Evidence
    clock: ManualClock
    duty: OrderDuty

    def later(self, seconds: float) -> datetime:
        return AT + timedelta(seconds=seconds)

    async def turn(self, at_s: float) -> list[Order]:
        """Let the duty look once, so many seconds after the beginning; all orders, the oldest first."""
        self.clock.jump_wall((self.later(at_s) - self.clock.utc()).total_seconds())
        while await self.duty.follow():
            pass
        await self.duty.judge()
        return (await self.all())[::-1]

    async def all(self) -> list[Order]:
        return await self.store.orders(list(OrderState))


def desk_on(database: Database) -> Desk:
    """A duty on a store."""
    clock, store = ManualClock(AT), OrderStore(database)
    incidents, evidence = Incidents(), Evidence()
    return Desk(store, incidents, evidence, clock, OrderDuty(store, incidents, evidence, clock))
