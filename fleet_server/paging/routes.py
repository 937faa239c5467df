"""HTTP of paging."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import aiohttp

from fleet_server.errors import Refusal
from fleet_server.paging.model import Delivery, DeliveryQuery, DeliveryView, TrialForm
from fleet_server.paging.store import PagingStore
from fleet_server.paging.ways import PagingFailed, channel, trial_page
from fleet_server.settings import PagingTarget
from fleet_server.staff.permissions import Permission
from kit.clock import Clock, ulid
from kit.web import Call, Page, Routes


def routes(store: PagingStore, targets: Mapping[str, PagingTarget], clock: Clock) -> Routes:
    """Who was told, and a test of each way."""
    api = Routes("paging")

    @api.get("/api/v1/pages", permission=Permission.INCIDENTS_READ, summary="Messages to people, the newest first")
    async def pages(call: Call, query: DeliveryQuery) -> Page[DeliveryView]:
        found = await store.deliveries(query.incident, query.limit)
        return Page(items=_views(found), total=len(found))

    @api.post("/api/v1/pages/test", permission=Permission.WINDOWS_PLAN, summary="Send a page that says it is a test")
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


def _views(found: Sequence[Delivery]) -> list[DeliveryView]:
    return [
        DeliveryView.model_validate({name: getattr(one, name) for name in DeliveryView.model_fields}) for one in found
    ]
