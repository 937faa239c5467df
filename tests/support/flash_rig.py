"""Devices with a boot loader in front of them, and the firmware operation of an agent around them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from agent.devices.machine import DeviceState
from agent.devices.manager import DeviceManager, Seen, fitted
from agent.devices.profiles import Place
from agent.firmware.errors import Why
from agent.firmware.note import FOLDER, Notes
from agent.firmware.service import Ended, Firmware, Offer, Surroundings, targets_of
from agent.reporter import AuditOutcome
from agent.uplink.files import sync_directory, write_whole
from kit.clock import SystemClock
from kit.supervise import spawn
from simulators.devices.boot_loader import WAKE, BootLoader, image_of
from simulators.devices.qr_scanner import QrScannerCore, Speech
from simulators.devices.receipt_printer import LiveReceiptPrinter, Model, ReceiptPrinterCore
from simulators.devices.transports import LinkFaults, PtyServer
from support.reporter import SilentReporter
from support.waiting import wait_for
from wire.envelope import Scalar
from wire.profile import DeviceProfile, KioskDevice

OLD, NEW = "R01", "R02"
MODELS = {"scanner": "LAB-SCAN", "receipt_printer": "LAB-PRINT"}
IMAGES = {name: image_of(model, NEW, 5_000) for name, model in MODELS.items()}
_FIRMWARE_ID = 65
_DEVICES: dict[str, dict[str, object]] = {
    "scanner": {
        "capability": "qr_scanner",
        "dialect": "ssi",
        "link": {"kind": "serial"},
        "capabilities": {"triggered": True},
        "quirks": {"answer_s": 0.1},
    },
    "receipt_printer": {
        "capability": "receipt_printer",
        "dialect": "escpos",
        "link": {"kind": "serial"},
        "capabilities": {"process_id": True, "columns": 42, "identity": True},
        "quirks": {"poll_s": 0.05, "answer_s": 0.2, "grace_s": 0.05, "information_header": 0x5F},
    },
}
_FLASH = {
    "protocol": "ymodem", "enter": WAKE.hex(" "), "begin_s": 4.0, "answer_s": 0.2, "tries": 4, "limit_s": 8.0,
    "restart_s": 3.0,
}  # fmt: skip


class Audits(SilentReporter):
    """Keeps what is written down."""

    def __init__(self) -> None:
        self.audits: list[tuple[str, AuditOutcome, dict[str, Scalar]]] = []

    async def audit(
        self,
        actor: str,
        action: str,
        outcome: AuditOutcome,
        *,
        target: str | None = None,
        fields: Mapping[str, Scalar] | None = None,
    ) -> None:
        """See `Reporter`."""
        assert action == "device_firmware"
        self.audits.append((actor, outcome, {"component": target, **(fields or {})}))


class Sink:
    """Remembers every state that a device went through."""

    def __init__(self) -> None:
        self.states: list[tuple[str, DeviceState]] = []

    async def changed(self, seen: Seen) -> None:
        self.states.append((seen.component, seen.state))

    async def happened(self, component: str, name: str, fields: object) -> None:
        """Nobody asks for events here."""

    def alive(self, seen: Seen) -> None:
        """Nobody asks for life here."""


@dataclass
class FlashRig:
    """See `running`."""

    manager: DeviceManager
    firmware: Firmware
    sink: Sink
    reporter: Audits
    folder: Path
    group: asyncio.TaskGroup
    boots: dict[str, BootLoader] = field(default_factory=dict)
    lines: dict[str, PtyServer] = field(default_factory=dict)
    is_on_mains: bool = True
    percents: list[int] = field(default_factory=list)

    async def open_notes(self) -> list[str]:
        """The versions of its notes, read from disk."""
        return [note.version for note in await asyncio.to_thread(notes_in(self.folder).all)]

    def begin(self, component: str = "scanner") -> asyncio.Task[Ended]:
        """An update, under way."""
        return spawn(self.group, self.update(component), "update")

    async def update(self, component: str = "scanner") -> Ended:
        """An update to its end."""
        return await self.firmware.update(component, NEW, "engineer", self.percents.append)

    def look(self, component: str = "scanner") -> Seen:
        """What the manager knows of a device."""
        return self.manager.look(component)

    def _offers(self, component: str) -> list[Offer]:
        return [offer for offer in self.firmware.offers() if offer.component == component]

    async def ready(self, component: str = "scanner") -> Seen:
        """Wait until a device is ready, and firmware can be put on it."""
        await wait_for(lambda: self.look(component).state is DeviceState.READY, what=f"{component} ready")
        await wait_for(lambda: Why.NOT_READY not in {offer.why_not for offer in self._offers(component)})
        return self.look(component)


def notes_in(folder: Path) -> Notes:
    """The notes of an agent with this data directory."""
    return Notes(folder / FOLDER, write_whole, sync_directory)


def place_of(name: str, port: str, flash: Mapping[str, object] | None = None) -> Place:
    """A device whose profile offers one update."""
    update = {
        "version": NEW,
        "image": f"{name}.bin",
        "sha256": hashlib.sha256(IMAGES[name]).hexdigest(),
        "replaces": [OLD],
    }
    firmware = {"known": [OLD, NEW], "flash": {**_FLASH, **(flash or {})}, "updates": [update]}
    profile = {"vendor": "Lab", "model": MODELS[name], "firmware": firmware, **_DEVICES[name]}
    return Place(KioskDevice(component=name, device="test"), DeviceProfile.model_validate(profile), port)


def booted(name: str, version: str = OLD) -> BootLoader:
    """A device that runs a version."""
    if name == "scanner":
        scanner = QrScannerCore(Speech.SSI, revision=version)
        return BootLoader(scanner, MODELS[name], lambda new: setattr(scanner, "revision", new), boot_s=0.05)
    information = {_FIRMWARE_ID: _said(version), 67: _said(MODELS[name]), 68: _said("0001")}
    printer = LiveReceiptPrinter(ReceiptPrinterCore(Model(columns=42, dots_per_s=20_000, information=information)))
    return BootLoader(printer, MODELS[name], lambda new: information.update({_FIRMWARE_ID: _said(new)}), boot_s=0.05)


def _said(text: str) -> bytes:
    return b"_" + text.encode("ascii") + b"\x00"


def with_images(folder: Path) -> Path:
    """A folder with every image."""
    images = folder / "images"
    images.mkdir(exist_ok=True)
    for name, image in IMAGES.items():
        (images / f"{name}.bin").write_bytes(image)
    return images


@asynccontextmanager
async def plugged(
    folder: Path, names: tuple[str, ...] = ("scanner",), faults: LinkFaults | None = None
) -> AsyncIterator[tuple[dict[str, BootLoader], dict[str, PtyServer]]]:
    """Devices on pseudo-terminals; they outlive any agent."""
    boots = {name: booted(name) for name in names}
    lines = {name: PtyServer(boot, folder / name, faults) for name, boot in boots.items()}
    try:
        for line in lines.values():
            await line.plug()
        yield boots, lines
    finally:
        for name, line in lines.items():
            await line.__aexit__()
            boots[name].close()
            device = boots[name].device
            if isinstance(device, LiveReceiptPrinter):
                device.close()


@asynccontextmanager
async def attended(
    folder: Path,
    boots: dict[str, BootLoader],
    lines: dict[str, PtyServer],
    flash: Mapping[str, object] | None = None,
    *,
    has_images: bool = True,
) -> AsyncIterator[FlashRig]:
    """An agent's part of it: the manager and the firmware operation, both running."""
    images = await asyncio.to_thread(with_images, folder) if has_images else folder / "none"
    places = [place_of(name, str(line.path), flash) for name, line in lines.items()]
    sink, reporter, clock = Sink(), Audits(), SystemClock()
    manager = DeviceManager(fitted(places), sink, clock, cap_s=0.05)
    around = Surroundings(manager, images, notes_in(folder), reporter, clock, lambda: rig.is_on_mains)
    firmware = Firmware(targets_of(places), around)
    async with asyncio.TaskGroup() as group:
        rig = FlashRig(manager, firmware, sink, reporter, folder, group, boots, lines)
        tasks = [spawn(group, manager.run(), "manager"), spawn(group, rig.firmware.run(), "firmware")]
        try:
            yield rig
        finally:
            for task in tasks:
                task.cancel()


@asynccontextmanager
async def running(
    folder: Path,
    *names: str,
    flash: Mapping[str, object] | None = None,
    faults: LinkFaults | None = None,
) -> AsyncIterator[FlashRig]:
    """Devices with an agent that has found them ready."""
    async with (
        plugged(folder, names or ("scanner",), faults) as (boots, lines),
        attended(folder, boots, lines, flash) as rig,
    ):
        for name in lines:
            await rig.ready(name)
        yield rig
