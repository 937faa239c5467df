"""A simulated receipt printer behind a real port or a real pty, and a driver on it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import yaml

from agent.devices.receipt_printer.driver import EscposReceiptPrinter
from agent.devices.types import DeviceFacts, DeviceStatus
from agent.errors import DeviceFault
from agent.links.base import ByteLink, LinkError
from agent.links.serial_port import SerialLink
from agent.links.tcp import TcpLink
from agent.links.usb_bulk import UsbBulkLink, UsbSettings
from agent.links.usb_nodes import UsbAddress
from kit.clock import ManualClock
from simulators.devices.receipt_printer import Family, LiveReceiptPrinter, Model, ReceiptPrinterCore
from simulators.devices.transports import LinkFaults, PtyServer, TcpServer
from simulators.devices.usb_gadget import GadgetFacts, UsbGadget
from support.tree import ROOT
from support.usb_backend import GadgetBackend
from wire.envelope import Scalar
from wire.faults import Fault
from wire.profile import DeviceProfile


class Transport(StrEnum):
    TCP = "tcp"
    PTY = "pty"
    USB = "usb"


USB_PRINTER = GadgetFacts("0416:5011", interface_class=7, has_kernel_driver=True)


@dataclass
class FakeOwner:
    statuses: list[DeviceStatus] = field(default_factory=list)
    events: list[tuple[str, Mapping[str, Scalar]]] = field(default_factory=list)
    signs: int = 0

    def status(self, status: DeviceStatus) -> None:
        self.statuses.append(status)

    def event(self, name: str, fields: Mapping[str, Scalar] | None = None) -> None:
        self.events.append((name, fields or {}))

    def alive(self) -> None:
        self.signs += 1

    @property
    def faults(self) -> set[Fault]:
        return set(self.statuses[-1].faults) if self.statuses else set()

    @property
    def values(self) -> Mapping[str, Scalar]:
        return self.statuses[-1].values if self.statuses else {}


@dataclass
class Bench:
    core: ReceiptPrinterCore
    driver: EscposReceiptPrinter
    owner: FakeOwner
    clock: ManualClock
    facts: DeviceFacts
    running: asyncio.Task[None]
    unplug: Callable[[], None]


@asynccontextmanager
async def plugged(
    core: ReceiptPrinterCore, transport: Transport, faults: LinkFaults | None = None
) -> AsyncIterator[tuple[ByteLink, Callable[[], None]]]:
    live = LiveReceiptPrinter(core)
    with tempfile.TemporaryDirectory() as folder:
        try:
            if transport is Transport.TCP:
                async with TcpServer(live, faults=faults) as port, _opened(TcpLink(port.host, port.port)) as link:
                    yield link, port.unplug
            elif transport is Transport.USB:
                async with UsbGadget(live, USB_PRINTER, faults) as gadget, _opened(usb_link(gadget)) as link:
                    yield link, gadget.unplug
            else:
                path = Path(folder) / "printer"
                async with PtyServer(live, path, faults) as pty, _opened(SerialLink(str(path))) as link:
                    yield link, pty.unplug
        finally:
            live.close()


def usb_link(gadget: UsbGadget) -> UsbBulkLink:
    known = load_profile("generic-escpos80_usb")
    usb_id = known.match["usb"]
    return UsbBulkLink(UsbAddress.of(usb_id, None), usb_id, UsbSettings.of(known.link), GadgetBackend([gadget]))


@asynccontextmanager
async def _opened(link: ByteLink) -> AsyncIterator[ByteLink]:
    await link.open()
    try:
        yield link
    finally:
        await link.close()


def load_profile(name: str, **changes: Scalar) -> DeviceProfile:
    path: Path = ROOT / "firmware_profiles" / "devices" / f"{name}.yaml"
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    for key, value in changes.items():
        part = "quirks" if key in document["quirks"] else "capabilities"
        document[part][key] = value
    return DeviceProfile.model_validate(document)


@asynccontextmanager
async def printing(
    profile: DeviceProfile,
    printer: Model | ReceiptPrinterCore,
    transport: Transport = Transport.TCP,
    *,
    is_running: bool = True,
    faults: LinkFaults | None = None,
) -> AsyncIterator[Bench]:
    core = ReceiptPrinterCore(printer) if isinstance(printer, Model) else printer
    async with plugged(core, transport, faults) as (link, unplug):
        owner, clock = FakeOwner(), ManualClock()
        driver = EscposReceiptPrinter(link, profile, owner, clock)
        facts = await driver.start()
        async with asyncio.TaskGroup() as group:
            running = group.create_task(_quietly(driver) if is_running else asyncio.sleep(0))
            try:
                yield Bench(core, driver, owner, clock, facts, running, unplug)
            finally:
                running.cancel()


async def _quietly(driver: EscposReceiptPrinter) -> None:
    with suppress(LinkError, DeviceFault):
        await driver.run()


EPSON_ANSWERS = {67: b"_TM-T88VI\x00", 65: b"_40.02 ESC/POS\x00", 68: b"_X2AB000001\x00"}
EPSON = Model(columns=42, dots_per_s=20_000, information=EPSON_ANSWERS)
CUSTOM = Model(family=Family.CUSTOM, charset="gb2312", dots_per_s=20_000, knows_process_id=False, take_after_s=0.3)
QUICK: Mapping[str, Scalar] = {"poll_s": 0.1, "patience_s": 1.5, "answer_s": 0.2, "grace_s": 0.1, "cut_s": 0.1}
