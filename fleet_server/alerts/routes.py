"""HTTP of alerts."""

from __future__ import annotations

from fleet_server.alerts.catalogue import AlarmKind, kinds
from fleet_server.alerts.model import AlarmQuery, AlarmView, view
from fleet_server.alerts.monitoring import MonitoringAnswer, MonitoringReport
from fleet_server.alerts.service import AlertService
from fleet_server.staff.permissions import Permission
from kit.web import Call, Page, Routes


def routes(service: AlertService) -> Routes:
    """Lists of alarms."""
    api = Routes("alarms")

    @api.get("/api/v1/alarms", permission=Permission.ALARMS_READ, summary="Alarms, the newest first")
    async def alarms(call: Call, query: AlarmQuery) -> Page[AlarmView]:
        only_open = query.state == "open"
        found = await service.alarms(only_open=only_open, kid=query.kid, limit=query.limit)
        total = await service.count(only_open=only_open, kid=query.kid)
        return Page(items=[view(alarm) for alarm in found], total=total)

    @api.get("/api/v1/alarms/catalogue", permission=Permission.ALARMS_READ, summary="What follows from each code")
    async def catalogue(call: Call) -> Page[AlarmKind]:
        found = kinds()
        return Page(items=found, total=len(found))

    @api.post(
        "/api/v1/alertmanager",
        permission=Permission.ALARMS_REPORT,
        summary="Alertmanager's webhook: its alerts become alarms of the server",
    )
    async def monitored(call: Call, body: MonitoringReport) -> MonitoringAnswer:
        """Take the labels `fault`, a code that monitoring may raise, and `component`; leave out every other alert."""
        return await service.monitored(body)

    return api
