"""Alarms of the fleet: implements what the registry and the uplink ask of alerts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from fleet_server.alerts.model import Alarm, AlarmEdge, AlarmOrigin
from fleet_server.alerts.monitoring import SERVER, MonitoringAnswer, MonitoringReport, edges_of
from fleet_server.alerts.store import AlarmStore
from fleet_server.registry.ports import AlarmStatus
from kit.clock import Clock
from wire.envelope import Scalar
from wire.faults import FACTS, RANK, Fault
from wire.uplink import Edge


class AlertService:
    """Raises, clears and lists alarms."""

    def __init__(self, store: AlarmStore, clock: Clock) -> None:
        """Keep alarms in this store."""
        self._store = store
        self._clock = clock
        self._wake: Callable[[], None] = lambda: None

    def on_change(self, wake: Callable[[], None]) -> None:
        """Call `wake` after every change made in this process."""
        self._wake = wake

    async def raise_alarm(self, kid: str, component: str, code: Fault, detail: Mapping[str, Scalar]) -> None:
        """See `AlarmSink`."""
        await self._apply(kid, component, code, Edge.RAISE, detail)

    async def clear_alarm(self, kid: str, component: str, code: Fault) -> None:
        """See `AlarmSink`."""
        await self._apply(kid, component, code, Edge.CLEAR, {})

    async def monitored(self, report: MonitoringReport) -> MonitoringAnswer:
        """Take a message of Alertmanager; the same one twice changes nothing."""
        now = self._clock.utc()
        edges, ignored = edges_of(report, await self._store.alarms(only_open=True, kid=SERVER), now)
        if await self._store.apply(edges, now):
            self._wake()
        raised = sum(edge.edge is Edge.RAISE for edge in edges)
        return MonitoringAnswer(raised=raised, cleared=len(edges) - raised, ignored=ignored)

    async def open_alarms(self) -> Mapping[str, AlarmStatus]:
        """See `AlarmSource`."""
        worst: dict[str, AlarmStatus] = {}
        for alarm in await self._store.alarms(only_open=True):
            before = worst.get(alarm.kid)
            severity = alarm.severity
            if before is not None and RANK[before.worst] > RANK[severity]:
                severity = before.worst
            worst[alarm.kid] = AlarmStatus(1 if before is None else before.count + 1, severity)
        return worst

    async def alarms(self, *, only_open: bool, kid: str | None, limit: int) -> Sequence[Alarm]:
        """Alarms, the newest first."""
        return await self._store.alarms(only_open=only_open, kid=kid, limit=limit)

    async def count(self, *, only_open: bool, kid: str | None) -> int:
        """How many alarms there are."""
        return await self._store.count(only_open=only_open, kid=kid)

    async def _apply(self, kid: str, component: str, code: Fault, edge: Edge, detail: Mapping[str, Scalar]) -> None:
        now = self._clock.utc()
        severity = FACTS[code].severity
        change = AlarmEdge(kid, component, code.value, edge, severity, now, AlarmOrigin.SERVER, detail=detail)
        if await self._store.apply([change], now):
            self._wake()
