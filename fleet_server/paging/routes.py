"""HTTP of paging."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import aiohttp

from fleet_server.errors import Refusal
from fleet_server.incidents.store import IncidentStore
from fleet_server.paging.forms import (
    DutyLineView,
    DutyQuery,
    HandoverForm,
    HandoverView,
    RosterForm,
    RosterView,
    SpanQuery,
    SwapForm,
    SwapView,
)
from fleet_server.paging.links import AckDesk
from fleet_server.paging.model import (
    AckTokenForm,
    AckView,
    AlertingHealth,
    Delivery,
    DeliveryQuery,
    DeliveryView,
    TrialForm,
)
from fleet_server.paging.roster import AHEAD
from fleet_server.paging.service import RosterService, handover_view, swap_view
from fleet_server.paging.store import PagingStore
from fleet_server.paging.ways import PagingFailed, channel, trial_page
from fleet_server.settings import DutyLine, PagingTarget
from fleet_server.staff.model import StaffPrincipal
from fleet_server.staff.permissions import Permission
from kit.clock import Clock, ulid
from kit.web import Call, Page, Routes

READ: Final = Permission.INCIDENTS_READ
PLAN: Final = Permission.WINDOWS_PLAN
"""Who plans work also plans who is called."""


def routes(store: PagingStore, targets: Mapping[str, PagingTarget], clock: Clock) -> Routes:
    """Who was told, and a test of each way."""
    api = Routes("paging")

    @api.get("/api/v1/pages", permission=READ, summary="Messages to people, the newest first")
    async def pages(call: Call, query: DeliveryQuery) -> Page[DeliveryView]:
        found = await store.deliveries(query.incident, query.limit)
        return Page(items=_views(found), total=len(found))

    @api.post("/api/v1/pages/test", permission=PLAN, summary="Send a page that says it is a test")
    async def test(call: Call, body: TrialForm) -> None:
        target = targets.get(body.target)
        if target is None:
            raise Refusal("unknown_target", "There is no such target in the settings", status=404)
        async with aiohttp.ClientSession(trust_env=False) as http:
            try:
                await channel(target, lambda: http).send(trial_page(ulid(clock), clock))
            except PagingFailed as error:
                raise Refusal("not_handed_over", f"{body.target} did not take it: {error}", status=502) from None

    return api


def duty_routes(service: RosterService) -> Routes:
    """Who is on duty."""
    api = Routes("duty")

    @api.get("/api/v1/duty", permission=READ, summary="Who is on duty, and what is wrong in the next 14 days")
    async def on_duty(call: Call, query: DutyQuery) -> Page[DutyLineView]:
        found = await service.lines(query.at)
        return Page(items=found, total=len(found))

    @api.get("/api/v1/duty/{line}", permission=READ, summary="One line: its roster and who has which time")
    async def roster(call: Call, line: DutyLine, query: SpanQuery) -> RosterView:
        return await service.line(line, query.days)

    @api.put("/api/v1/duty/{line}", permission=PLAN, summary="Replace a roster")
    async def set_roster(call: Call[StaffPrincipal], line: DutyLine, body: RosterForm) -> RosterView:
        await service.replace(line, body, call.principal.id)
        return await service.line(line, AHEAD.days)

    @api.post("/api/v1/duty/{line}/swaps", permission=PLAN, summary="Let somebody stand in", status=201)
    async def swap(call: Call[StaffPrincipal], line: DutyLine, body: SwapForm) -> SwapView:
        return swap_view(await service.swap(line, body, call.principal.id))

    @api.post("/api/v1/duty/swaps/{identifier}/end", permission=PLAN, summary="End a swap now")
    async def end_swap(call: Call, identifier: str) -> SwapView:
        return swap_view(await service.end_swap(identifier))

    act = Permission.INCIDENTS_ACT

    @api.post("/api/v1/duty/{line}/handovers", permission=act, summary="I hand over my duty", status=201)
    async def hand_over(call: Call[StaffPrincipal], line: DutyLine, body: HandoverForm) -> HandoverView:
        return handover_view(await service.hand_over(line, body, call.principal.id))

    @api.post("/api/v1/duty/handovers/{identifier}/confirm", permission=act, summary="I take over")
    async def confirm_handover(call: Call[StaffPrincipal], identifier: str) -> HandoverView:
        return handover_view(await service.confirm(identifier, call.principal.id))

    return api


def watch_routes(store: PagingStore, incidents: IncidentStore, clock: Clock) -> Routes:
    """For the watch: whether anybody would be called."""
    api = Routes("health_alerting")

    @api.get("/api/v1/health/alerting", permission=None, summary="For how long alerting had no turn")
    async def alerting(call: Call) -> AlertingHealth:
        turned = (await incidents.turned_at(), await store.turned_at())
        now = clock.utc()
        idle = [None if at is None else max((now - at).total_seconds(), 0.0) for at in turned]
        return AlertingHealth(incidents_idle_s=idle[0], paging_idle_s=idle[1])

    return api


def ack_routes(desk: AckDesk) -> Routes:
    """For whoever got a message and is not signed in: the token is all it takes."""
    api = Routes("acks")

    @api.post("/api/v1/ack/look", permission=None, summary="What the link of a message is about; changes nothing")
    async def look(call: Call, body: AckTokenForm) -> AckView:
        return await desk.look(body.token)

    @api.post("/api/v1/ack", permission=None, summary="Acknowledge by the link of a message, once")
    async def acknowledge(call: Call, body: AckTokenForm) -> AckView:
        return await desk.acknowledge(body.token, call.remote)

    return api


def _views(found: Sequence[Delivery]) -> list[DeliveryView]:
    return [
        DeliveryView.model_validate({name: getattr(one, name) for name in DeliveryView.model_fields}) for one in found
    ]
