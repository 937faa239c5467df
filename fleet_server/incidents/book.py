"""Which alarms have one cause. Pure: edges and moments in, incidents and a feed of events out.

An alarm that goes up joins, in this order:
1. the incident it is in already, also one that recovered a short while ago (flapping);
2. an incident of the same kiosk, or of the server itself, from which it follows (a parent hides its children);
3. an open incident of several kiosks of the same family, at whose place the kiosk stands, when it went up within
   `WINDOW` of a member;
4. a new one, which forms: for as long as its code is debounced and, when many kiosks may share the cause, for as
   long as more of them keep coming.
When forming is over, those of one family that went up together are divided by place: a place most of whose kiosks
are among them is one incident, everybody else is one of their own.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from fleet_server.alerts.catalogue import Family, entry_of, hides, hides_everywhere
from fleet_server.alerts.model import LoggedEdge
from fleet_server.incidents.machine import TABLE, Turn
from fleet_server.incidents.model import (
    EventKind,
    Incident,
    IncidentState,
    Member,
    NewEvent,
    Part,
    Scope,
    Window,
)
from fleet_server.incidents.rules import ORDER, SERVER, WIDE, Topology, common_places, reach
from kit.machine import step
from wire.envelope import Scalar
from wire.faults import RANK, Severity
from wire.uplink import Edge

WINDOW: Final = timedelta(seconds=45)
GATHER: Final = timedelta(seconds=5)
"""After the last kiosk that joined a forming incident nobody else is waited for longer than this."""
GATHER_MOST: Final = timedelta(seconds=20)
PARENT_LATE: Final = timedelta(seconds=60)
"""A parent is noticed after its children: an offline kiosk's devices fall silent first."""
GROUP_CRITICAL: Final = 5
SETTLE: Final = timedelta(seconds=60)
"""What followed from an outage of the server goes away by itself: kiosks need so long to come back."""
UP: Final = frozenset({IncidentState.FORMING, IncidentState.OPEN, IncidentState.ACKNOWLEDGED})
TOLD: Final = frozenset({IncidentState.OPEN, IncidentState.ACKNOWLEDGED})
Key = tuple[str, str, str]
"""Kiosk, component, code."""


@dataclass(slots=True)
class Case:
    """An incident that is not closed, with its members."""

    incident: Incident
    members: dict[Key, Member] = field(default_factory=dict)

    @property
    def causes(self) -> list[Member]:
        """Its causes, also those that are over."""
        return [one for one in self.members.values() if one.part is Part.CAUSE]

    @property
    def is_up(self) -> bool:
        """Whether a cause is still up."""
        return any(one.cleared_at is None for one in self.causes)


@dataclass(slots=True)
class Changes:
    """What has to be written."""

    incidents: set[str] = field(default_factory=set)
    members: set[tuple[str, Key]] = field(default_factory=set)
    """Also members that are in no incident any more."""
    events: list[NewEvent] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Whether there is anything."""
        return bool(self.incidents or self.members or self.events)


class Book:
    """Every incident that is not closed; `take` and `tick` change it, `changes` says what has to be written."""

    def __init__(
        self, cases: Iterable[Case], topology: Topology, new_id: Callable[[], str], *, next_number: int
    ) -> None:
        """Begin with what is stored."""
        self.cases = {case.incident.id: case for case in cases}
        self.gone: dict[str, Case] = {}
        """Closed since the last write."""
        self.next_number = next_number
        self.changes = Changes()
        self._windows: Sequence[Window] = ()
        self._topology = topology
        self._new_id = new_id
        self._by_key: dict[Key, str] = {}
        self._by_kiosk: defaultdict[str, set[str]] = defaultdict(set)
        held = [(member, key, case) for case in self.cases.values() for key, member in case.members.items()]
        # An alarm may be in several, but up in one at most: that one has it, else the one it was in last.
        held.sort(key=lambda one: (one[0].cleared_at is None, one[0].since, one[2].incident.id))
        for _, key, case in held:
            self._index(key, case.incident.id)

    def written(self) -> None:
        """Everything up to here is stored."""
        self.changes = Changes()
        self.gone = {}

    # -- an edge --------------------------------------------------------------------------------------------------

    def take(self, logged: LoggedEdge) -> None:
        """Apply one edge of the log."""
        edge = logged.edge
        key = (edge.kid, edge.component, edge.code)
        case = self._case_of(key)
        if edge.edge is Edge.CLEAR:
            if case is not None:
                self._clear(case, key, edge.at, logged.detected_at)
        elif case is None or not self._again(case, key, logged):
            self._raise(key, logged)

    def _again(self, case: Case, key: Key, logged: LoggedEdge) -> bool:
        """Take a raise of an alarm that is in an incident already; False when that one is over for good."""
        edge, incident, member = logged.edge, case.incident, case.members[key]
        if incident.state in UP:
            if member.cleared_at is None:
                self._put(case, replace(member, since=min(member.since, edge.at), severity=edge.severity))
                self._redate(case, edge.at)
            else:
                self._put(case, replace(member, since=edge.at, cleared_at=None, severity=edge.severity))
                self._set(case, flaps=incident.flaps + 1)
                self._tell(case, EventKind.JOINED, edge.at, _who(key))
            self._worsen(case, edge.severity, edge.at)
            return True
        recovered_at = incident.recovered_at or incident.since
        if member.part is Part.CHILD or edge.at > recovered_at + timedelta(seconds=entry_of(edge.code).reopen_s):
            return False
        since = member.since if edge.at <= (member.cleared_at or edge.at) else edge.at
        self._put(case, replace(member, since=since, cleared_at=None, severity=edge.severity))
        self._turn(case, Turn.RELAPSE, recovered_at=None, flaps=incident.flaps + 1)
        self._tell(case, EventKind.RELAPSED, edge.at, {**_who(key), "hist": edge.hist})
        return True

    def _raise(self, key: Key, logged: LoggedEdge) -> None:
        edge = logged.edge
        parent = self._parent_of(edge.kid, edge.code, edge.at)
        if parent is not None:
            self._put(parent, _member(parent, logged, Part.CHILD))
            return
        group = self._group_of(edge.kid, edge.component, edge.code, edge.at)
        if group is not None:
            self._put(group, _member(group, logged, Part.CAUSE))
            self._redate(group, edge.at)
            self._tell(group, EventKind.JOINED, edge.at, _who(key))
            self._worsen(group, edge.severity, edge.at)
            return
        self._form(logged)

    def _form(self, logged: LoggedEdge) -> None:
        edge, entry = logged.edge, entry_of(logged.edge.code)
        wait = _debounce(edge.code)
        if entry.family is not None:
            wait = max(wait, GATHER)
        scope, name = reach(edge.kid, edge.component, entry)
        incident = Incident(
            id=self._new_id(),
            number=0,
            state=IncidentState.FORMING,
            cause=edge.code,
            scope=scope,
            scope_name=name,
            severity=edge.severity,
            since=edge.at,
            detected_at=logged.detected_at,
            gathers_until=logged.detected_at + wait,
            is_hist=edge.hist,
        )
        case = self.cases[incident.id] = Case(incident)
        self._put(case, _member(case, logged, Part.CAUSE))
        if entry.family is not None:
            self._hold_open(case, entry.family)
        for child in self._forming_on(edge.kid) if not entry.hides_everywhere else self._forming():
            cause = child.incident
            follows = hides(edge.code, cause.cause) or hides_everywhere(edge.code, cause.cause)
            if cause.id != incident.id and follows and cause.since >= edge.at - PARENT_LATE:
                self._merge(case, child, Part.CHILD)

    def _hold_open(self, case: Case, family: Family) -> None:
        """Whoever forms with it waits for it, up to a limit."""
        until = case.incident.gathers_until or case.incident.detected_at
        for other in self._forming_of(family):
            if other is not case and _is_near(other, case.incident.since):
                last = other.incident.detected_at + GATHER_MOST
                held = max(other.incident.gathers_until or last, min(until, last))
                if held != other.incident.gathers_until:
                    self._set(other, gathers_until=held)

    def _clear(self, case: Case, key: Key, at: datetime, now: datetime) -> None:
        member = case.members[key]
        if case.incident.state not in UP or member.cleared_at is not None:
            return
        self._put(case, replace(member, cleared_at=max(at, member.since)))
        if member.part is Part.CAUSE and not case.is_up:
            self._over(case, now)
        elif case.incident.state in TOLD:
            self._tell(case, EventKind.LEFT, at, _who(key))

    def _over(self, case: Case, now: datetime) -> None:
        """No cause is up any more: it recovers, or was too short to tell."""
        for child in [one for one in case.members.values() if one.part is Part.CHILD and one.cleared_at is None]:
            self._promote(case, child, now)
        incident = case.incident
        ended_at = max(one.cleared_at or incident.since for one in case.causes)
        if incident.state is IncidentState.FORMING:
            if _is_settling(incident) or ended_at - incident.since < _debounce(incident.cause):
                self._drop(case)
                return
            if entry_of(incident.cause).family in ORDER:
                return  # those that went and came with it are gathered first: a short outage of many is one, too
            self._open(case, now, self._windows)
        self._recover(case, ended_at)

    def _recover(self, case: Case, ended_at: datetime) -> None:
        self._turn(case, Turn.RECOVER, recovered_at=ended_at)
        self._tell(case, EventKind.RECOVERED, ended_at)

    def _promote(self, case: Case, child: Member, now: datetime) -> None:
        """A child outlived its parent: it has a cause of its own."""
        key = (child.kid, child.component, child.code)
        self._take_out(case, key)
        entry = entry_of(child.code)
        scope, name = reach(child.kid, child.component, entry)
        wait = _debounce(child.code)
        if hides_everywhere(case.incident.cause, child.code):
            wait = max(wait, SETTLE)
        incident = Incident(
            id=self._new_id(),
            number=0,
            state=IncidentState.FORMING,
            cause=child.code,
            scope=scope,
            scope_name=name,
            severity=child.severity,
            since=child.since,
            detected_at=now,
            gathers_until=now + wait,
            is_hist=case.incident.is_hist,
        )
        fresh = self.cases[incident.id] = Case(incident)
        self._put(fresh, replace(child, incident=incident.id, part=Part.CAUSE))

    # -- time -----------------------------------------------------------------------------------------------------

    def tick(self, now: datetime, windows: Sequence[Window] = ()) -> None:
        """Open what has formed, close what stayed well."""
        self._windows = windows
        due = [
            case
            for case in self.cases.values()
            if case.incident.state is IncidentState.FORMING and (case.incident.gathers_until or now) <= now
        ]
        pools: defaultdict[Family | None, list[Case]] = defaultdict(list)
        for case in due:
            pools[entry_of(case.incident.cause).family].append(case)
        for family, pool in pools.items():
            for case in pool if family not in ORDER or family is None else self._divided(family, pool):
                self._open(case, now, windows)
                if not case.is_up:
                    self._recover(case, max(one.cleared_at or now for one in case.causes))
        for case in list(self.cases.values()):
            incident = case.incident
            well_since = incident.recovered_at if incident.state is IncidentState.RECOVERED else None
            if well_since is not None and now - well_since > timedelta(seconds=entry_of(incident.cause).reopen_s):
                self._tell(case, EventKind.CLOSED, now)
                self._turn(case, Turn.CLOSE, closed_at=now)
                self._forget(case)

    def _divided(self, family: Family, pool: list[Case]) -> list[Case]:
        """The pool as it is to be opened: cases with one place in common are merged into the oldest."""
        by_kiosk: defaultdict[str, list[Case]] = defaultdict(list)
        for case in sorted(pool, key=lambda one: (one.incident.since, one.incident.id)):
            by_kiosk[case.causes[0].kid].append(case)
        whole: list[Case] = []
        for scope, name, kids in common_places(list(by_kiosk), self._topology, ORDER[family]):
            first, *others = sorted(
                (case for kid in kids for case in by_kiosk[kid]), key=lambda one: (one.incident.since, one.incident.id)
            )
            for other in others:
                self._merge(first, other, Part.CAUSE)
            codes = Counter(member.code for member in first.causes)
            worst = max((one.severity for one in first.causes), key=lambda one: RANK[one])
            severity = Severity.CRITICAL if len(kids) >= GROUP_CRITICAL else worst
            cause = codes.most_common(1)[0][0]
            self._set(first, scope=scope, scope_name=name, cause=cause, severity=severity)
            whole.append(first)
        merged = {id(case) for case in whole}
        rest = [case for case in pool if case.incident.id in self.cases and id(case) not in merged]
        return [*whole, *rest]

    def _open(self, case: Case, now: datetime, windows: Sequence[Window] = ()) -> None:
        number, self.next_number = self.next_number, self.next_number + 1
        window = next((one.id for one in windows if self._covers(one, case)), None)
        self._turn(case, Turn.GATHER, number=number, opened_at=now, gathers_until=None, window=window)
        incident = case.incident
        fields: dict[str, Scalar] = {"members": len(case.causes), "hist": incident.is_hist}
        self._tell(case, EventKind.OPENED, incident.since, fields)
        if window is not None:
            self._tell(case, EventKind.MUTED, now, {"window": window})

    def _covers(self, window: Window, case: Case) -> bool:
        if not window.starts_at <= case.incident.since < window.ends_at:
            return False
        if window.scope is Scope.SITE and not window.scope_name:
            return True
        return all(
            one.kid == window.scope_name
            if window.scope is Scope.KIOSK
            else self._topology.places(one.kid).get(window.scope) == window.scope_name
            for one in case.causes
        )

    # -- who belongs together -------------------------------------------------------------------------------------

    def _case_of(self, key: Key) -> Case | None:
        identifier = self._by_key.get(key)
        return None if identifier is None else self.cases.get(identifier)

    def _parent_of(self, kid: str, code: str, at: datetime) -> Case | None:
        for identifier in sorted(self._by_kiosk[kid]):
            case = self.cases[identifier]
            if case.incident.state in UP and any(
                one.kid == kid and one.cleared_at is None and hides(one.code, code) and at >= one.since - PARENT_LATE
                for one in case.causes
            ):
                return case
        for identifier in sorted(self._by_kiosk[SERVER]):
            case = self.cases[identifier]
            since = case.incident.since
            if case.incident.state in UP and hides_everywhere(case.incident.cause, code) and at >= since - PARENT_LATE:
                return case
        return None

    def _outside_of(self, component: str, code: str) -> Case | None:
        """A system that is not ours is one, whoever says that it is down."""
        for case in self.cases.values():
            incident = case.incident
            same = (incident.scope, incident.scope_name, incident.cause) == (Scope.OUTSIDE, component, code)
            if same and incident.state in UP:
                return case
        return None

    def _group_of(self, kid: str, component: str, code: str, at: datetime) -> Case | None:
        family = entry_of(code).family
        if family is None:
            return None
        if family is Family.OUTSIDE:
            return self._outside_of(component, code)
        places = self._topology.places(kid)
        for case in self.cases.values():
            incident = case.incident
            if (
                incident.state in TOLD
                and incident.scope in WIDE
                and entry_of(incident.cause).family is family
                and places.get(incident.scope) == incident.scope_name
                and _is_near(case, at)
            ):
                return case
        return None

    def _forming_of(self, family: Family) -> list[Case]:
        return [
            case
            for case in self.cases.values()
            if case.incident.state is IncidentState.FORMING and entry_of(case.incident.cause).family is family
        ]

    def _forming(self) -> list[Case]:
        return [case for case in self.cases.values() if case.incident.state is IncidentState.FORMING]

    def _forming_on(self, kid: str) -> list[Case]:
        found = [self.cases[identifier] for identifier in sorted(self._by_kiosk[kid])]
        return [case for case in found if case.incident.state is IncidentState.FORMING]

    # -- changes --------------------------------------------------------------------------------------------------

    def _merge(self, into: Case, other: Case, part: Part) -> None:
        for key, member in list(other.members.items()):
            self._take_out(other, key)
            moved = part if member.part is Part.CAUSE else Part.CHILD
            self._put(into, replace(member, incident=into.incident.id, part=moved))
            if moved is Part.CAUSE:
                self._redate(into, member.since)
        self._set(into, is_hist=into.incident.is_hist and other.incident.is_hist)
        self._drop(other)

    def _redate(self, case: Case, at: datetime) -> None:
        if at < case.incident.since:
            self._set(case, since=at)

    def _worsen(self, case: Case, severity: Severity, at: datetime) -> None:
        incident = case.incident
        if RANK[severity] <= RANK[incident.severity]:
            return
        self._set(case, severity=severity)
        if incident.state in TOLD:
            self._turn(case, Turn.WORSEN)
            self._tell(case, EventKind.WORSENED, at, {"severity": severity.value})

    def _drop(self, case: Case) -> None:
        self._turn(case, Turn.DROP, gathers_until=None)
        self._forget(case)

    def _forget(self, case: Case) -> None:
        identifier = case.incident.id
        del self.cases[identifier]
        self.gone[identifier] = case
        for key in case.members:
            if self._by_key.get(key) == identifier:
                del self._by_key[key]
            self._by_kiosk[key[0]].discard(identifier)

    def _turn(self, case: Case, turn: Turn, **changed: object) -> None:
        self._set(case, state=step(TABLE, case.incident.state, turn), **changed)

    def _set(self, case: Case, **changed: object) -> None:
        case.incident = replace(case.incident, **changed)  # type: ignore[arg-type] # fields of Incident, by name
        self.changes.incidents.add(case.incident.id)

    def _put(self, case: Case, member: Member) -> None:
        key = (member.kid, member.component, member.code)
        case.members[key] = member
        self._index(key, case.incident.id)
        self.changes.incidents.add(case.incident.id)
        self.changes.members.add((case.incident.id, key))

    def _take_out(self, case: Case, key: Key) -> None:
        del case.members[key]
        self.changes.members.add((case.incident.id, key))
        if not any(one[0] == key[0] for one in case.members):
            self._by_kiosk[key[0]].discard(case.incident.id)

    def _index(self, key: Key, identifier: str) -> None:
        self._by_key[key] = identifier
        self._by_kiosk[key[0]].add(identifier)

    def _tell(self, case: Case, kind: EventKind, at: datetime, fields: Mapping[str, Scalar] | None = None) -> None:
        self.changes.events.append(NewEvent(case.incident.id, kind, at, fields=dict(fields or {})))


def _is_settling(incident: Incident) -> bool:
    """Whether it is what an outage of the server left behind, and may still go away by itself."""
    until, debounce = incident.gathers_until, _debounce(incident.cause)
    return until is not None and debounce < SETTLE <= until - incident.detected_at


def _debounce(code: str) -> timedelta:
    return timedelta(seconds=entry_of(code).debounce_s)


def _is_near(case: Case, at: datetime) -> bool:
    since = [one.since for one in case.causes]
    return min(since) - WINDOW <= at <= max(since) + WINDOW


def _member(case: Case, logged: LoggedEdge, part: Part) -> Member:
    edge = logged.edge
    return Member(case.incident.id, edge.kid, edge.component, edge.code, part, edge.severity, edge.at)


def _who(key: Key) -> dict[str, Scalar]:
    return {"kid": key[0], "component": key[1], "code": key[2]}
