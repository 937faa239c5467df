"""The composition root's third part: what follows an alarm."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fleet_server.alerts.service import AlertService
from fleet_server.alerts.store import AlarmStore
from fleet_server.capabilities.model import Entry
from fleet_server.capabilities.rules import status_of
from fleet_server.capabilities.store import CapabilityStore
from fleet_server.incidents.duty import Fence, IncidentDuty
from fleet_server.incidents.routes import routes as incident_routes
from fleet_server.incidents.service import IncidentService
from fleet_server.incidents.store import IncidentStore
from fleet_server.incidents.topology import RegistryTopology
from fleet_server.orders.duty import OrderDuty
from fleet_server.orders.evidence import UplinkEvidence
from fleet_server.orders.forecasts import OrderForecasts
from fleet_server.orders.routes import routes as order_routes
from fleet_server.orders.service import OrderParts, OrderService
from fleet_server.orders.store import OrderStore
from fleet_server.paging.duty import PagingDuty, PagingParts
from fleet_server.paging.links import AckDesk
from fleet_server.paging.routes import ack_routes, duty_routes, watch_routes
from fleet_server.paging.routes import routes as paging_routes
from fleet_server.paging.service import RosterService
from fleet_server.paging.store import PagingStore, RosterStore
from fleet_server.registry.directory import Directory
from fleet_server.registry.store import RegistryStore
from fleet_server.settings import PagingSettings
from fleet_server.sla.duty import SlaDuty
from fleet_server.sla.routes import routes as sla_routes
from fleet_server.sla.service import SlaService
from fleet_server.staff.ports import Auditor
from fleet_server.staff.store import StaffStore
from fleet_server.telemetry.store import TelemetryStore
from kit.clock import Clock
from kit.store import Database
from kit.supervise import Service
from kit.web import Routes
from wire.consumables import ConsumableStatus


@dataclass(frozen=True, slots=True)
class CasePlan:
    """What these features are built from."""

    database: Database
    directory: Directory
    alerts: AlertService
    clock: Clock
    fence: Fence
    data_dir: Path
    paging: PagingSettings
    public_url: str | None
    auditor: Auditor


class CaseParts:
    """The features of one process."""

    def __init__(self, plan: CasePlan) -> None:
        """Prepare the stores; nothing runs."""
        self._plan = plan
        self._incidents = IncidentStore(plan.database)
        self.incidents = IncidentService(plan.database, self._incidents, plan.clock)
        self.sla = SlaService(plan.database, plan.clock)
        self._evidence = UplinkEvidence(AlarmStore(plan.database), TelemetryStore(plan.database), plan.directory)
        self._orders = OrderStore(plan.database)
        self.orders = self._order_service()
        self._paging = PagingStore(plan.database)
        staff = StaffStore(plan.database)

        async def accounts() -> frozenset[str]:
            return frozenset(user.username for user in await staff.users() if user.is_active)

        self._roster = RosterService(RosterStore(plan.database), plan.paging, accounts, plan.clock)
        self._acks = AckDesk(self._paging, self.incidents, accounts, plan.auditor, plan.clock)

    def _order_service(self) -> OrderService:
        plan, capabilities = self._plan, CapabilityStore(self._plan.database)

        async def consumables() -> Mapping[str, Sequence[ConsumableStatus]]:
            said: dict[str, list[Entry]] = {}
            for entry in await capabilities.changed_since(-1):
                said.setdefault(entry.kid, []).append(entry)
            return {kid: status_of(entries).consumables for kid, entries in said.items()}

        return OrderService(
            OrderParts(
                store=self._orders,
                incidents=self.incidents,
                evidence=self._evidence,
                kiosks=plan.directory,
                certificates=RegistryStore(plan.database),
                consumables=consumables,
                photos=plan.data_dir / "orders" / "photos",
                clock=plan.clock,
            )
        )

    def routes(self) -> list[Routes]:
        """HTTP for staff."""
        pages = paging_routes(self._paging, self._plan.paging.targets, self._plan.clock)
        told = [pages, duty_routes(self._roster), ack_routes(self._acks)]
        told += [watch_routes(self._paging, self._incidents, self._plan.clock)]
        return [*incident_routes(self.incidents), *order_routes(self.orders), sla_routes(self.sla), *told]

    def duties(self, on_alarms: Callable[[Callable[[], None]], None]) -> list[Service]:
        """What one process at a time does; `on_alarms` takes what is to be called when alarms changed here."""
        plan = self._plan
        topology = RegistryTopology(plan.directory)
        alarms = AlarmStore(plan.database)
        duty = IncidentDuty(plan.database, alarms, self._incidents, topology, plan.clock, plan.fence)
        on_alarms(duty.hurry)
        orders = OrderDuty(self._orders, self.incidents, self._evidence, plan.clock)
        sla = SlaDuty(self.sla, plan.data_dir / "sla" / "seal.key", plan.fence)
        paging = PagingDuty(
            PagingParts(
                plan.database,
                self._paging,
                self.incidents,
                plan.paging,
                plan.clock,
                plan.fence,
                plan.public_url,
                self._roster,
                OrderForecasts(self._orders),
            )
        )
        return [duty, orders, sla, paging]
