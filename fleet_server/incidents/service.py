"""What people do with incidents, and what other features ask of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from fleet_server.errors import Refusal
from fleet_server.incidents.machine import TABLE, Turn
from fleet_server.incidents.model import (
    EventKind,
    Incident,
    IncidentEvent,
    IncidentState,
    Member,
    NewEvent,
    Scope,
    Window,
    WindowForm,
)
from fleet_server.incidents.store import IncidentStore
from kit.clock import Clock, ulid
from kit.machine import can_step, step
from kit.store import Database
from wire.envelope import Scalar

OPEN_STATES: Final = (IncidentState.OPEN, IncidentState.ACKNOWLEDGED)
TOLD_STATES: Final = (*OPEN_STATES, IncidentState.RECOVERED)
ALL_STATES: Final = (*TOLD_STATES, IncidentState.CLOSED)
_UNKNOWN: Final = Refusal("unknown_incident", "There is no such incident", status=404)
SNOOZE_MOST: Final = timedelta(hours=24)
WINDOW_MOST: Final = timedelta(days=14)
Act = Callable[[Incident], Incident]


class IncidentService:
    """Incidents for people and features."""

    def __init__(self, database: Database, store: IncidentStore, clock: Clock) -> None:
        """Use this store."""
        self._database = database
        self._store = store
        self._clock = clock
        self._wake: Callable[[], None] = lambda: None

    def on_change(self, wake: Callable[[], None]) -> None:
        """Call `wake` after every change made in this process."""
        self._wake = wake

    async def incident(self, identifier: str) -> Incident:
        """One incident.

        Raises:
            Refusal: there is none of that id.
        """
        found = await self._store.incident(identifier)
        if found is None:
            raise _UNKNOWN
        return found

    async def incidents(
        self, states: Sequence[IncidentState], *, kid: str | None = None, before: int | None = None, limit: int
    ) -> Sequence[Incident]:
        """Incidents people were told of, the newest first."""
        return await self._store.incidents(states=states, kid=kid, before=before, limit=limit)

    async def count(self, states: Sequence[IncidentState], *, kid: str | None = None) -> int:
        """How many there are."""
        return await self._store.count(states=states, kid=kid)

    async def members(self, identifier: str) -> Sequence[Member]:
        """The alarms of an incident, the first first."""
        return await self._store.members(identifier)

    async def timeline(self, identifier: str) -> Sequence[IncidentEvent]:
        """What happened to an incident, in order."""
        return await self._store.events_of(identifier)

    async def events_after(self, seq: int, limit: int) -> Sequence[IncidentEvent]:
        """The feed behind a number, for features that live from it."""
        return await self._store.events_after(seq, limit)

    async def acknowledge(self, identifier: str, by: str, note: str = "") -> Incident:
        """A named person has it; whoever was first stays the one.

        Raises:
            Refusal: there is no such incident, or it is over.
        """

        def change(incident: Incident) -> Incident:
            if not can_step(TABLE, incident.state, Turn.ACKNOWLEDGE):
                raise Refusal("incident_over", "The incident is over already")
            state = step(TABLE, incident.state, Turn.ACKNOWLEDGE)
            if incident.state is IncidentState.ACKNOWLEDGED:
                return incident
            return replace(incident, state=state, acknowledged_at=self._clock.utc(), acknowledged_by=by)

        return await self._act(identifier, EventKind.ACKNOWLEDGED, by, change, {"note": note} if note else {})

    async def snooze(self, identifier: str, until: datetime, by: str, note: str = "") -> Incident:
        """Page nobody until then.

        Raises:
            Refusal: there is no such incident, it is over, or the moment is past or too far.
        """
        now = self._clock.utc()
        if not now < until <= now.replace(microsecond=0) + SNOOZE_MOST:
            raise Refusal("snooze_out_of_range", "Snooze until a moment in the next 24 hours", status=422)

        def change(incident: Incident) -> Incident:
            if incident.state not in OPEN_STATES:
                raise Refusal("incident_over", "The incident is over already")
            return replace(incident, snoozed_until=until)

        fields: dict[str, Scalar] = {"until": until.isoformat(), **({"note": note} if note else {})}
        return await self._act(identifier, EventKind.SNOOZED, by, change, fields)

    async def note(self, identifier: str, by: str | None, text: str) -> Incident:
        """Add a line to its timeline.

        Raises:
            Refusal: there is no such incident.
        """
        return await self._act(identifier, EventKind.NOTED, by, lambda incident: incident, {"note": text})

    async def _act(
        self, identifier: str, kind: EventKind, by: str | None, change: Act, fields: dict[str, Scalar]
    ) -> Incident:
        now = self._clock.utc()
        async with self._database.write() as connection:
            before = await self._store.act(connection, identifier)
            if before is None or before.number == 0:
                raise _UNKNOWN
            event = NewEvent(identifier, kind, now, by, fields)
            after = await self._store.keep_act(connection, change(before), event, now)
        self._wake()
        return after

    # -- planned work ---------------------------------------------------------------------------------------------

    async def windows(self) -> Sequence[Window]:
        """Planned work that is not over."""
        return await self._store.windows(ending_after=self._clock.utc())

    async def add_window(self, form: WindowForm, by: str) -> Window:
        """Plan work: what begins in its scope meanwhile pages nobody.

        Raises:
            Refusal: it would end before it begins, lie in the past, or be too long.
        """
        now = self._clock.utc()
        if form.ends_at <= max(form.starts_at, now) or form.ends_at - form.starts_at > WINDOW_MOST:
            raise Refusal("window_out_of_range", "Planned work ends after it begins, and within 14 days", status=422)
        if form.scope is not Scope.SITE and not form.scope_name:
            raise Refusal("window_scope", "Name the kiosk, area or floor; only a site may be the fleet", status=422)
        window = Window(
            ulid(self._clock), form.scope, form.scope_name, max(form.starts_at, now), form.ends_at, form.reason, by
        )
        await self._store.add_window(window)
        return window

    async def end_window(self, identifier: str) -> Window:
        """End planned work now.

        Raises:
            Refusal: there is none of that id that is not over.
        """
        found = await self._store.end_window(identifier, self._clock.utc())
        if found is None:
            raise Refusal("unknown_window", "There is no such planned work, or it is over", status=404)
        return found
