"""What the uplink says about this kiosk: see `agent.reporter.SelfDescription`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.local_api.lease import SessionLease
from wire.consumables import ConsumableStatus
from wire.functions import FunctionStatus
from wire.presence import Activity, Component, HostFacts

if TYPE_CHECKING:
    from agent.devices.manager import DeviceManager, Seen
    from agent.health.capabilities import Capabilities


@dataclass(frozen=True, slots=True)
class Description:
    """What the uplink says about this kiosk."""

    facts: HostFacts
    lease: SessionLease
    devices: DeviceManager | None = None
    capabilities: Capabilities | None = None

    def host(self) -> HostFacts:
        """See `SelfDescription`."""
        return self.facts

    def components(self) -> list[Component]:
        """See `SelfDescription`."""
        seen = [] if self.devices is None else self.devices.seen()
        return [Component(name="host", kind="host"), *(_component(device) for device in seen)]

    def activity(self) -> Activity:
        """See `SelfDescription`."""
        return self.lease.activity()

    def twin_version(self) -> int:
        """See `SelfDescription`."""
        return 0

    def open_commands(self) -> list[str]:
        """See `SelfDescription`."""
        return []

    def functions(self) -> list[FunctionStatus]:
        """See `SelfDescription`."""
        return [] if self.capabilities is None else self.capabilities.functions()

    def consumables(self) -> list[ConsumableStatus]:
        """See `SelfDescription`."""
        return [] if self.capabilities is None else self.capabilities.consumables()


def _component(device: Seen) -> Component:
    facts = device.facts
    return Component(
        name=device.component,
        kind=device.capability,
        model=facts.model,
        firmware=facts.firmware,
        serial=facts.serial,
        capabilities={"state": device.state.value},
    )
