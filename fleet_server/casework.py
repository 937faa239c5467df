"""The composition root's third part: what follows an alarm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fleet_server.alerts.service import AlertService
from fleet_server.alerts.store import AlarmStore
from fleet_server.incidents.duty import Fence, IncidentDuty
from fleet_server.incidents.routes import routes as incident_routes
from fleet_server.incidents.service import IncidentService
from fleet_server.incidents.store import IncidentStore
from fleet_server.incidents.topology import RegistryTopology
from fleet_server.registry.directory import Directory
from fleet_server.sla.duty import SlaDuty
from fleet_server.sla.routes import routes as sla_routes
from fleet_server.sla.service import SlaService
from kit.clock import Clock
from kit.store import Database
from kit.supervise import Service
from kit.web import Routes


@dataclass(frozen=True, slots=True)
class CasePlan:
    """What these features are built from."""

    database: Database
    directory: Directory
    alerts: AlertService
    clock: Clock
    fence: Fence
    data_dir: Path


class CaseParts:
    """The features of one process."""

    def __init__(self, plan: CasePlan) -> None:
        """Prepare the stores; nothing runs."""
        self._plan = plan
        self._incidents = IncidentStore(plan.database)
        self.incidents = IncidentService(plan.database, self._incidents, plan.clock)
        self.sla = SlaService(plan.database, plan.clock)

    def routes(self) -> list[Routes]:
        """HTTP for staff."""
        return [*incident_routes(self.incidents), sla_routes(self.sla)]

    def duties(self, on_alarms: Callable[[Callable[[], None]], None]) -> list[Service]:
        """What one process at a time does; `on_alarms` takes what is to be called when alarms changed here."""
        plan = self._plan
        topology = RegistryTopology(plan.directory)
        alarms = AlarmStore(plan.database)
        duty = IncidentDuty(plan.database, alarms, self._incidents, topology, plan.clock, plan.fence)
        on_alarms(duty.hurry)
        sla = SlaDuty(self.sla, plan.data_dir / "sla" / "seal.key", plan.fence)
        return [duty, sla]
