"""What a kiosk without devices says about itself, and settings that make tests of the uplink quick."""

from __future__ import annotations

from agent.settings import UplinkSettings
from wire.consumables import ConsumableStatus
from wire.functions import FunctionStatus
from wire.presence import Activity, Component, HostFacts

QUICK = UplinkSettings(
    heartbeat_s=0.1, keepalive_s=5, will_delay_s=0, reconnect_base_s=0.05, reconnect_cap_s=0.2, resend_s=0.5
)


class Description:
    """See `agent.reporter.SelfDescription`."""

    def host(self) -> HostFacts:
        """A machine that does not exist."""
        return HostFacts(hostname="kiosk", fingerprint="f" * 16)

    def components(self) -> list[Component]:
        """The machine itself."""
        return [Component(name="host", kind="host")]

    def activity(self) -> Activity:
        """Nobody stands in front of it."""
        return Activity.IDLE

    def twin_version(self) -> int:
        """Any number."""
        return 3

    def open_commands(self) -> list[str]:
        """None."""
        return []

    def functions(self) -> list[FunctionStatus]:
        """None: it has no devices."""
        return []

    def consumables(self) -> list[ConsumableStatus]:
        """None."""
        return []
