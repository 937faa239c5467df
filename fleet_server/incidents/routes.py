"""HTTP of incidents and planned work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fleet_server.alerts.catalogue import entry_of
from fleet_server.incidents.model import (
    AcknowledgeForm,
    Incident,
    IncidentDetail,
    IncidentEvent,
    IncidentEventView,
    IncidentQuery,
    IncidentState,
    IncidentView,
    Member,
    MemberView,
    NoteForm,
    SnoozeForm,
    Window,
    WindowForm,
    WindowView,
    view,
)
from fleet_server.incidents.service import ALL_STATES, OPEN_STATES, IncidentService
from fleet_server.staff.model import StaffPrincipal
from fleet_server.staff.permissions import Permission
from kit.web import Call, Page, Routes
from wire.faults import FACTS, Fault

READ: Final = Permission.INCIDENTS_READ
ACT: Final = Permission.INCIDENTS_ACT
_STATES: Final[Mapping[str, tuple[IncidentState, ...]]] = {
    "open": OPEN_STATES,
    "recovered": (IncidentState.RECOVERED,),
    "closed": (IncidentState.CLOSED,),
    "all": ALL_STATES,
}


def routes(service: IncidentService) -> list[Routes]:
    """Everything over HTTP."""
    return [_incident_routes(service), _window_routes(service)]


def _incident_routes(service: IncidentService) -> Routes:
    api = Routes("incidents")

    @api.get("/api/v1/incidents", permission=READ, summary="Incidents, the newest first")
    async def incidents(call: Call, query: IncidentQuery) -> Page[IncidentView]:
        states = _STATES[query.state]
        found = await service.incidents(states, kid=query.kid, before=query.cursor, limit=query.limit + 1)
        total = await service.count(states, kid=query.kid)
        items = [view(incident) for incident in found[: query.limit]]
        more = len(found) > query.limit
        return Page(items=items, total=total, next=str(items[-1].number) if more else None)

    @api.get("/api/v1/incidents/{identifier}", permission=READ, summary="One incident, with members and timeline")
    async def incident(call: Call, identifier: str) -> IncidentDetail:
        return await _detail(service, await service.incident(identifier))

    @api.post("/api/v1/incidents/{identifier}/acknowledge", permission=ACT, summary="I have it")
    async def acknowledge(call: Call[StaffPrincipal], identifier: str, body: AcknowledgeForm) -> IncidentDetail:
        return await _detail(service, await service.acknowledge(identifier, call.principal.id, body.note))

    @api.post("/api/v1/incidents/{identifier}/snooze", permission=ACT, summary="Page nobody until a moment")
    async def snooze(call: Call[StaffPrincipal], identifier: str, body: SnoozeForm) -> IncidentDetail:
        return await _detail(service, await service.snooze(identifier, body.until, call.principal.id, body.note))

    @api.post("/api/v1/incidents/{identifier}/notes", permission=ACT, summary="A line for the timeline")
    async def note(call: Call[StaffPrincipal], identifier: str, body: NoteForm) -> IncidentDetail:
        return await _detail(service, await service.note(identifier, call.principal.id, body.note))

    return api


def _window_routes(service: IncidentService) -> Routes:
    api = Routes("windows")
    plan = Permission.WINDOWS_PLAN

    @api.get("/api/v1/windows", permission=READ, summary="Planned work that is not over")
    async def windows(call: Call) -> Page[WindowView]:
        found = [_window(window) for window in await service.windows()]
        return Page(items=found, total=len(found))

    @api.post("/api/v1/windows", permission=plan, summary="Plan work: it pages nobody", status=201)
    async def add_window(call: Call[StaffPrincipal], body: WindowForm) -> WindowView:
        return _window(await service.add_window(body, call.principal.id))

    @api.post("/api/v1/windows/{identifier}/end", permission=plan, summary="End planned work now")
    async def end_window(call: Call, identifier: str) -> WindowView:
        return _window(await service.end_window(identifier))

    return api


async def _detail(service: IncidentService, incident: Incident) -> IncidentDetail:
    entry = entry_of(incident.cause)
    facts = FACTS[Fault(incident.cause)] if incident.cause in set(Fault) else None
    return IncidentDetail(
        **view(incident).model_dump(),
        remedy_zh=facts.remedy_zh if facts else "",
        remedy_en=facts.remedy_en if facts else "",
        runbook=entry.runbook,
        spare_part=entry.spare_part,
        members=[_member(member) for member in await service.members(incident.id)],
        timeline=[_event(event) for event in await service.timeline(incident.id)],
    )


def _member(member: Member) -> MemberView:
    return MemberView.model_validate({name: getattr(member, name) for name in MemberView.model_fields})


def _event(event: IncidentEvent) -> IncidentEventView:
    given = {name: getattr(event, name) for name in IncidentEventView.model_fields}
    return IncidentEventView.model_validate({**given, "fields": dict(event.fields)})


def _window(window: Window) -> WindowView:
    return WindowView.model_validate({name: getattr(window, name) for name in WindowView.model_fields})
