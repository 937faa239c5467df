"""What the devices' news means for others: alarms for the fleet, evidence for the inactivity clocks, events."""

from __future__ import annotations

from collections.abc import Mapping

from agent.devices.machine import DeviceState
from agent.devices.manager import Seen
from agent.health.components import ComponentBook
from agent.reporter import Reporter
from wire.device_api import ComponentHealth
from wire.envelope import Scalar
from wire.faults import FACTS, RANK, Fault, Severity

SILENT_AFTER_S = 120.0
_USABLE = {DeviceState.READY, DeviceState.BUSY}


class DeviceNews:
    """A `Sink`."""

    def __init__(self, reporter: Reporter, components: ComponentBook) -> None:
        self._reporter = reporter
        self._components = components
        self._up: dict[str, set[Fault]] = {}

    def expect(self, component: str, kind: str, *, silent_after_s: float | None) -> None:
        """There is such a device; alarms that an earlier run left up count as up until the device says otherwise."""
        self._components.register(component, kind, silent_after_s=silent_after_s or SILENT_AFTER_S)

    async def changed(self, seen: Seen) -> None:
        """See `Sink`: what is up is raised; what is not is cleared once the device itself was heard."""
        component, faults = seen.component, seen.faults
        for fault, detail in faults.items():
            fields: dict[str, Scalar] = {"detail": detail} if detail else {}
            await self._reporter.alarm(component, fault, is_up=True, detail=fields)
        if seen.state in _USABLE:
            for code in [alarm.code for alarm in self._reporter.open_alarms() if alarm.component == component]:
                if code in _CODES and _CODES[code] not in faults and code != Fault.COMPONENT_SILENT:
                    await self._reporter.alarm(component, _CODES[code], is_up=False)
        elif seen.fault is not None:
            for gone in _WHY - {seen.fault}:
                await self._reporter.alarm(component, gone, is_up=False)

    async def happened(self, component: str, name: str, fields: Mapping[str, Scalar]) -> None:
        """See `Sink`."""
        await self._reporter.event(component, "device.event", {"name": name, **fields})

    def alive(self, seen: Seen) -> None:
        """See `Sink`."""
        self._components.evidence(seen.component, _health(seen), None if seen.fault is None else seen.fault.value)


_CODES = {fault.value: fault for fault in Fault}
_WHY = {Fault.UNPLUGGED, Fault.NOT_RESPONDING, Fault.PROTOCOL_ERROR, Fault.WRONG_DEVICE}
"""Why a device is not in use: one at a time."""


def _health(seen: Seen) -> ComponentHealth:
    if seen.fault is not None:
        return ComponentHealth.FAULTED
    if seen.state not in _USABLE:
        return ComponentHealth.UNKNOWN
    worst = max((RANK[FACTS[fault].severity] for fault in seen.faults), default=0)
    if worst >= RANK[Severity.MAJOR]:
        return ComponentHealth.FAULTED
    return ComponentHealth.DEGRADED if worst >= RANK[Severity.MINOR] else ComponentHealth.OK
