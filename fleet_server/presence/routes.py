"""HTTP of presence."""

from __future__ import annotations

from fleet_server.presence.model import ComponentsView, PresenceQuery, PresenceTimeline
from fleet_server.presence.service import PresenceService
from kit.web import Call, Routes

READ = "presence.read"


def routes(service: PresenceService) -> Routes:
    """Timeline and self-description of one kiosk."""
    api = Routes("presence")

    @api.get("/api/v1/kiosks/{kid}/presence", permission=READ, summary="States over a span")
    async def presence(call: Call, kid: str, query: PresenceQuery) -> PresenceTimeline:
        return await service.timeline(kid, query)

    @api.get("/api/v1/kiosks/{kid}/components", permission=READ, summary="What the kiosk is made of")
    async def components(call: Call, kid: str) -> ComponentsView:
        return await service.components(kid)

    return api
