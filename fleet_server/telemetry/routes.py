"""HTTP of telemetry."""

from __future__ import annotations

from fleet_server.telemetry.model import EventQuery, EventView, TelemetryQuery, TelemetryView
from fleet_server.telemetry.service import TelemetryService
from kit.web import Call, Page, Routes

READ = "telemetry.read"


def routes(service: TelemetryService) -> Routes:
    """Charts and events of one kiosk."""
    api = Routes("telemetry")

    @api.get("/api/v1/kiosks/{kid}/telemetry", permission=READ, summary="Metrics over a span, down-sampled")
    async def telemetry(call: Call, kid: str, query: TelemetryQuery) -> TelemetryView:
        return await service.telemetry(kid, query)

    @api.get("/api/v1/kiosks/{kid}/events", permission=READ, summary="Events, newest first")
    async def events(call: Call, kid: str, query: EventQuery) -> Page[EventView]:
        return await service.events(kid, query)

    return api
