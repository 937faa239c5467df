"""What devices of a lab with a boot loader have in common, and the images they take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulators.devices.boot_loader import BootFault, BootLoader, Core, image_of
from simulators.lab.actions import Action, Arguments, Group, NoArguments, action, labelled
from simulators.lab.device import ByteDevice, Fact, FactValue, Tone


@dataclass(frozen=True, slots=True)
class Series:
    """The versions of a model: what it comes with, and what it can be given."""

    name: str
    first: str
    later: tuple[str, ...]


SERIES: Mapping[str, Series] = {
    "lab-ssi_scanner": Series("LAB-SCAN", "LAB-R01", ("LAB-R02", "LAB-R03")),
    "lab-escpos_printer": Series("LAB-PRINT", "LAB-P01", ("LAB-P02",)),
}
"""By the name of the profile. No such device is sold: vendors do not publish how theirs are flashed."""
FACTS = (
    Fact("firmware", "固件", "Firmware"),
    Fact("in_loader", "等待固件", "Waits for firmware", Tone.ALARM),
)


class FlashScript(Arguments):
    """What goes wrong while firmware is taken, and at which block."""

    fault: BootFault = labelled(..., "故障", "Fault")
    block: int = labelled(3, "第几块", "Block", ge=1, le=40_000)
    times: int = labelled(1, "多少次", "Times", ge=1, le=100_000)


def image_name(model: str, version: str) -> str:
    """Its file."""
    return f"{model}-{version}.bin"


def image(model: str, version: str) -> bytes:
    """The bytes of an image; the same every time."""
    return image_of(SERIES[model].name, version)


def write_images(folder: Path) -> None:
    """All images into a folder. File work: belongs in a thread. Raises: OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    for model, series in SERIES.items():
        for version in series.later:
            (folder / image_name(model, version)).write_bytes(image(model, version))


class FlashableDevice(ByteDevice):
    """A device with a boot loader in front."""

    boot: BootLoader

    def booted(self, device: Core, model: str, installed: Callable[[str], None]) -> BootLoader:
        """The device with a boot loader; `installed` hears of the version that runs from now on."""
        series = SERIES.get(model)
        self.boot = BootLoader(device, "NO-SERIES" if series is None else series.name, installed)
        return self.boot

    def boot_state(self, firmware: str | None) -> dict[str, FactValue]:
        """The facts of `FACTS`."""
        return {"firmware": firmware, "in_loader": self.boot.is_awake}

    def armed(self) -> tuple[str, ...]:
        """See `Device`."""
        return tuple(fault.value for fault in self.boot.scripted)

    async def __aexit__(self, *exc: object) -> None:
        await super().__aexit__(*exc)
        self.boot.close()

    async def flash_fault(self, arguments: FlashScript) -> None:
        """Let the next update go wrong."""
        self.boot.script(arguments.fault, block=arguments.block, times=arguments.times)

    async def power_cycle(self, _: NoArguments) -> None:
        """Off and on."""
        self.boot.power_cycle()


ACTIONS: tuple[Action[Any], ...] = (  # Any: rows of all such devices
    action("power_cycle", "断电重启", "Off and on", Group.STAFF, NoArguments, FlashableDevice.power_cycle),
    action("flash_fault", "固件更新出错", "Faulty update", Group.WEAR, FlashScript, FlashableDevice.flash_fault),
)
