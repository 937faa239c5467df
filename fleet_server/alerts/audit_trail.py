"""The alarm of an audit trail that is not the one that was noted."""

from __future__ import annotations

from typing import Final

from fleet_server.alerts.service import AlertService
from wire.faults import Fault

SERVER: Final = "server"
COMPONENT: Final = "audit"


class AuditAlarm:
    """See `staff.notary.Alarms`."""

    def __init__(self, alerts: AlertService) -> None:
        """Raise with these."""
        self._alerts = alerts

    async def trail_is(self, *, whole: bool) -> None:
        """See `Alarms`; only a change becomes an edge."""
        if whole:
            await self._alerts.clear_alarm(SERVER, COMPONENT, Fault.EVIDENCE_CHAIN_BROKEN)
        else:
            await self._alerts.raise_alarm(SERVER, COMPONENT, Fault.EVIDENCE_CHAIN_BROKEN, {})
