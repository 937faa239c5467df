"""The UPS of a lab."""

from __future__ import annotations

from collections.abc import Mapping

from simulators.devices.transports import PtyServer, TcpServer
from simulators.devices.ups import UpsCore, UpsFault
from simulators.lab.actions import Arguments, Group, NoArguments, action, labelled, table
from simulators.lab.device import WIRED, ByteDevice, Fact, FactValue, Kind, Tone

_LOW_PERCENT, _LOW_S = 12, 90
_FULL_PERCENT, _FULL_S = 100, 1_800

_NAMES: Mapping[str, tuple[str, str]] = {
    "apc-bx650": ("American Power Conversion", "Back-UPS BX650"),
    "santak-tgbox850": ("SANTAK", "TG-BOX 850"),
}


_TOLD = frozenset(
    {
        UpsFault.MAINS_LOST,
        UpsFault.BATTERY_LOW,
        UpsFault.BATTERY_WORN,
        UpsFault.OVERLOAD,
        UpsFault.FORCED_SHUTDOWN,
    }
)
"""Those that the status tells."""


class Battery(Arguments):
    """What is left."""

    charge: int = labelled(60, "电量（%）", "Charge (%)", ge=0, le=100)
    runtime_s: int = labelled(900, "可用时间（秒）", "Runtime (s)", ge=0, le=100_000)


class UpsScript(Arguments):
    """A fault that lasts until `repair`."""

    fault: UpsFault = labelled(..., "故障", "Fault")


class Ups(ByteDevice):
    """A UPS behind upsd."""

    kind = Kind.UPS
    zh, en = "不间断电源", "UPS"
    models = tuple(_NAMES)
    facts = (
        Fact("status", "状态", "Status"),
        Fact("charge", "电量 %", "Charge %"),
        Fact("runtime_s", "可用秒数", "Runtime s"),
        Fact("on_battery", "电池供电", "On battery", Tone.ALARM),
    )

    def __init__(self, component: str, model: str, line: PtyServer | TcpServer) -> None:
        super().__init__(component, model, line)
        self.core = line.core = self.make_core(model)

    def make_core(self, model: str, /) -> UpsCore:
        """See `ByteDevice`."""
        maker, name = _NAMES[model]
        self.core = UpsCore(maker=maker, model=name)
        return self.core

    def state(self) -> dict[str, FactValue]:
        """See `Device`."""
        core = self.core
        return {
            "status": core.status,
            "charge": core.charge,
            "runtime_s": core.runtime_s,
            "on_battery": UpsFault.MAINS_LOST in core.up,
        }

    def armed(self) -> tuple[str, ...]:
        """See `Device`."""
        return tuple(sorted(fault.value for fault in self.core.up - _TOLD))

    async def on_battery(self, _: NoArguments) -> None:
        """Mains fails."""
        self.core.script(UpsFault.MAINS_LOST)

    async def low(self, _: NoArguments) -> None:
        """The battery is almost empty, mains is off."""
        self.core.script(UpsFault.MAINS_LOST, UpsFault.BATTERY_LOW)
        self.core.charge, self.core.runtime_s = _LOW_PERCENT, _LOW_S

    async def mains(self, _: NoArguments) -> None:
        """Mains is back and the battery full."""
        self.core.repair(UpsFault.MAINS_LOST, UpsFault.BATTERY_LOW, UpsFault.FORCED_SHUTDOWN)
        self.core.charge, self.core.runtime_s = _FULL_PERCENT, _FULL_S

    async def battery(self, arguments: Battery) -> None:
        """So much is left."""
        self.core.charge, self.core.runtime_s = arguments.charge, arguments.runtime_s

    async def script(self, arguments: UpsScript) -> None:
        """Let something be wrong."""
        self.core.script(arguments.fault)

    async def repair(self, _: NoArguments) -> None:
        """Nothing is wrong any more."""
        self.core.repair()

    actions = table(
        (
            action("on_battery", "市电断电", "Mains fails", Group.WEAR, NoArguments, on_battery),
            action("low", "电池快用完", "Battery low", Group.WEAR, NoArguments, low),
            action("mains", "市电恢复", "Mains is back", Group.STAFF, NoArguments, mains),
            action("battery", "设定电量", "Set the battery", Group.WEAR, Battery, battery),
            action("script", "电源故障", "Fault of the UPS", Group.WEAR, UpsScript, script),
            action("repair", "清除故障", "Clear faults", Group.STAFF, NoArguments, repair),
        ),
        WIRED,
    )
