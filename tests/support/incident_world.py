"""A fleet whose alarms go up and down by hand, before the rules of incidents."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from fleet_server.alerts.model import AlarmEdge, AlarmOrigin, EdgePlace, LoggedEdge
from fleet_server.incidents.book import Book, Case
from fleet_server.incidents.model import EventKind, Incident, IncidentState, NewEvent, Scope, Window
from wire.faults import FACTS, Fault
from wire.uplink import Edge

START = datetime(2026, 3, 2, 8, tzinfo=UTC)


class Grid:
    """Kiosks in rows: ten an area, two areas a floor, one site; five share a switch, and so do feeds of twenty."""

    def __init__(self, count: int = 100) -> None:
        self.kids = [f"kiosk-{number}" for number in range(1, count + 1)]
        self._places = {
            kid: {
                Scope.AREA: f"area-{index // 10}",
                Scope.FLOOR: f"{index // 20}F",
                Scope.SWITCH: f"switch-{index // 5}",
                Scope.POWER_FEED: f"feed-{index // 20}",
                Scope.SITE: "",
            }
            for index, kid in enumerate(self.kids)
        }

    def places(self, kid: str) -> Mapping[Scope, str]:
        return self._places.get(kid, {})

    def size(self, scope: Scope, name: str) -> int:
        return sum(places[scope] == name for places in self._places.values())


@dataclass(slots=True)
class World:
    """A book with a clock; everything it says is kept."""

    grid: Grid = field(default_factory=Grid)
    now: datetime = START
    windows: list[Window] = field(default_factory=list)
    events: list[NewEvent] = field(default_factory=list)
    closed: dict[str, Incident] = field(default_factory=dict)
    book: Book = field(init=False)
    _ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _places: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.book = Book([], self.grid, self._new_id, next_number=1)

    def _new_id(self) -> str:
        return f"{next(self._ids):026d}"

    def edge(
        self,
        kid: str,
        fault: Fault,
        component: str = "kiosk",
        *,
        up: bool = True,
        at: datetime | None = None,
        hist: bool = False,
    ) -> None:
        """An alarm goes up or down now, by evidence of `at`."""
        edge = AlarmEdge(
            kid, component, fault.value, Edge.RAISE if up else Edge.CLEAR, FACTS[fault].severity, at or self.now,
            AlarmOrigin.KIOSK, hist,
        )  # fmt: skip
        self.book.take(LoggedEdge(EdgePlace(next(self._places), 0), edge, self.now))

    def passes(self, seconds: float, step_s: float = 0.5) -> None:
        """Time goes by; the book looks as often as the duty does."""
        end = self.now + timedelta(seconds=seconds)
        while self.now < end:
            self.now = min(end, self.now + timedelta(seconds=step_s))
            self.book.tick(self.now, self.windows)
            self.write()

    def write(self) -> None:
        """As after a commit: what was said is kept."""
        self.events += self.book.changes.events
        self.closed |= {one: case.incident for one, case in self.book.gone.items()}
        self.book.written()

    def restarts(self) -> None:
        """The process died: everything that is not stored is gone, and the rest is read again."""
        self.write()
        cases = [Case(case.incident, dict(case.members)) for case in self.book.cases.values()]
        self.book = Book(cases, self.grid, self._new_id, next_number=self.book.next_number)

    @property
    def told(self) -> list[Case]:
        """Incidents people know of that are not over, the first first."""
        states = {IncidentState.OPEN, IncidentState.ACKNOWLEDGED, IncidentState.RECOVERED}
        return sorted(
            (case for case in self.book.cases.values() if case.incident.state in states),
            key=lambda one: one.incident.number,
        )

    def kinds(self, identifier: str) -> Sequence[EventKind]:
        return [event.kind for event in self.events if event.incident == identifier]
