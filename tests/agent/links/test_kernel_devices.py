"""The links on devices of the kernel's own: uhid, uinput and vhci_hcd; skipped, with the reason, without."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from agent.devices.id_card_reader.driver import SdtIdCardReader
from agent.devices.profiles import load
from agent.devices.receipt_printer.driver import EscposReceiptPrinter
from agent.devices.receipt_printer.types import PrintState, ReceiptJob, Text
from agent.links.base import LinkLost, LinkTimeout, WrongPeer
from agent.links.census import usb_devices
from agent.links.evdev_keyboard import KeyboardLink
from agent.links.hidraw import HidrawLink, HidSettings
from agent.links.node import NodeAddress
from agent.links.usb_bulk import UsbBulkLink, UsbSettings
from agent.links.usb_nodes import UsbAddress
from kit.clock import SystemClock
from kit.supervise import spawn
from simulators.devices.hid_reports import HuaxuReports, MiaxisReports
from simulators.devices.id_card_reader import IdCardReaderCore, SimulatedCard
from simulators.devices.keyboard_scanner import KeyboardScannerCore
from simulators.devices.receipt_printer import LiveReceiptPrinter, ReceiptPrinterCore
from simulators.devices.transports import Core
from simulators.devices.usb_gadget import GadgetFacts
from simulators.devices.usbip import UsbipServer
from simulators.people import People
from support.kernel_devices import UhidDevice, UinputKeyboard, attach_usb
from support.owner import RecordingOwner
from support.receipt_rig import EPSON, USB_PRINTER
from support.tree import ROOT
from support.waiting import wait_for
from wire.profile import DeviceProfile

SCANNER = "0c2e:0b61"
READERS: dict[str, tuple[str, Callable[[Core], Core]]] = {
    "huaxu-hid_2721": ("2b8b:2721", HuaxuReports),
    "miaxis-hid_0007": ("10c4:0007", MiaxisReports),
}
PROFILES = {name: load(ROOT / f"firmware_profiles/devices/{name}.yaml", DeviceProfile) for name in READERS}

USB_READER = load(ROOT / "firmware_profiles/devices/generic-sdt_usb.yaml", DeviceProfile)
PRINTER = load(ROOT / "firmware_profiles/devices/generic-escpos80_usb.yaml", DeviceProfile)


async def _line(link: KeyboardLink) -> bytes:
    found = b""
    while not found.endswith(b"\r"):
        found += await link.read(timeout_s=3.0)
    return found


@pytest.mark.may_block("the kernel's devices are made in the loop")
async def test_a_keyboard_of_the_kernel_is_taken_away_from_everybody_else() -> None:
    core = KeyboardScannerCore()
    keyboard = UinputKeyboard(core, SCANNER)
    await wait_for(lambda: os.path.exists(keyboard.path))  # noqa: PTH110 - a poll
    other = os.open(keyboard.path, os.O_RDONLY | os.O_NONBLOCK)
    link = KeyboardLink(NodeAddress.of(SCANNER, keyboard.path))
    try:
        await link.open()
        core.scan("就诊卡:Zhang-0042")
        assert (await _line(link))[:-1].decode("gbk") == "就诊卡:Zhang-0042"
        with pytest.raises(BlockingIOError):
            os.read(other, 24)  # whoever else listens hears nothing
        with pytest.raises(LinkLost, match="busy"):
            await KeyboardLink(NodeAddress.of(SCANNER, keyboard.path)).open()
        core.scan("1234567890" * 10)
        keyboard.type_at_once()
        assert b"\0" in await link.read(timeout_s=3.0)  # the kernel dropped keys and says so
        await link.close()
        core.scan("A")
        keyboard.type_at_once()
        assert len(os.read(other, 24 * 64)) > 24  # let go of, it is everybody's again
        await link.open()
        keyboard.unplug()
        with pytest.raises(LinkLost):
            await _line(link)
    finally:
        await link.close()
        keyboard.unplug()
        os.close(other)


@pytest.mark.may_block("the kernel's devices are made in the loop")
@pytest.mark.parametrize("model", READERS)
async def test_a_reader_behind_the_kernels_hidraw(model: str) -> None:
    usb_id, wrapped = READERS[model]
    known, person, core = PROFILES[model], People(12).person(), IdCardReaderCore()
    core.put(SimulatedCard(person))
    device = UhidDevice(wrapped(core), usb_id)
    path = await wait_for(device.node, what="the node")
    assert path is not None
    await wait_for(lambda: os.path.exists(path))  # noqa: PTH110 - a poll
    link = HidrawLink(NodeAddress.of(usb_id, path), HidSettings.of(known.link))
    try:
        await link.open()
        driver = SdtIdCardReader(link, known, RecordingOwner(), SystemClock())
        await driver.start()
        async with asyncio.TaskGroup() as group:
            running = spawn(group, driver.run(), "driver")
            document = await driver.read_document(timeout_s=5.0)
            running.cancel()
        assert document is not None
        assert (document.name, len(document.photo)) == (person.name, 1_024)
        with pytest.raises(LinkLost, match="unavailable"):
            await HidrawLink(NodeAddress.of(usb_id, path)).open()  # locked
        link.discard()
        with pytest.raises(LinkTimeout):
            await link.read(timeout_s=0.02)
        device.unplug()
        with pytest.raises(LinkLost):
            await link.read(timeout_s=3.0)
    finally:
        await link.close()
        device.unplug()


@asynccontextmanager
async def attached(core: Core, facts: GadgetFacts) -> AsyncIterator[UsbipServer]:
    async with UsbipServer(core, facts) as server:
        await asyncio.to_thread(attach_usb, server.host, server.port)
        yield server


async def test_the_usb_reader_behind_the_kernels_usb_and_libusb() -> None:
    known, person, core = USB_READER, People(13).person(), IdCardReaderCore()
    usb_id = known.match["usb"]
    core.put(SimulatedCard(person))
    async with attached(core, GadgetFacts(usb_id)) as server:
        link = UsbBulkLink(UsbAddress.of(usb_id, None), usb_id, UsbSettings.of(known.link))
        await _opened(link)
        driver = SdtIdCardReader(link, known, RecordingOwner(), SystemClock())
        await driver.start()
        async with asyncio.TaskGroup() as group:
            running = spawn(group, driver.run(), "driver")
            document = await driver.read_document(timeout_s=5.0)
            running.cancel()
        assert document is not None
        assert (document.name, len(document.photo)) == (person.name, 1_024)
        with pytest.raises(LinkLost, match="busy"):
            await UsbBulkLink(UsbAddress.of(usb_id, None), usb_id).open()
        assert [one.usb_id for one in await asyncio.to_thread(usb_devices)] == [usb_id]
        assert await asyncio.to_thread(_rights) in {None, ("kiosk-agent", 0o660)}
        server.unplug()
        with pytest.raises(LinkLost):
            await link.read(timeout_s=5.0)
        await link.close()


async def test_a_receipt_printer_on_the_kernels_usb() -> None:
    live = LiveReceiptPrinter(ReceiptPrinterCore(replace(EPSON, columns=48, charset="gb2312", knows_process_id=False)))
    async with attached(live, USB_PRINTER):
        (found,) = await wait_for(lambda: asyncio.to_thread(usb_devices), what="the printer")
        drivers = Path(f"/sys/bus/usb/devices/{found.place}:1.0")
        has_usblp = Path("/sys/bus/usb/drivers/usblp").exists()
        if has_usblp:
            await wait_for(lambda: asyncio.to_thread((drivers / "driver").exists), what="the kernel's usblp")
        link = UsbBulkLink(UsbAddress.of(USB_PRINTER.usb_id, None), USB_PRINTER.usb_id, UsbSettings(interface_class=7))
        await _opened(link)
        printer = EscposReceiptPrinter(link, PRINTER, RecordingOwner(), SystemClock())
        await printer.start()
        async with asyncio.TaskGroup() as group:
            running = spawn(group, printer.run(), "printer")
            outcome = await printer.print_receipt(ReceiptJob("j", (Text("门诊收费票据"),)))
            running.cancel()
        held = await asyncio.to_thread((drivers / "driver").resolve)
        assert not has_usblp or held.name == "usbfs"
        await link.close()
        if has_usblp:
            await wait_for(lambda: asyncio.to_thread((drivers / "driver").exists), what="usblp, put back")
            held = await asyncio.to_thread((drivers / "driver").resolve)
            assert held.name == "usblp"
    live.close()
    assert (outcome.state, len(live.core.receipts)) == (PrintState.PRINTED, 1)


async def test_two_usb_devices_of_the_kernel_are_told_apart_by_their_sockets() -> None:
    usb_id = USB_READER.match["usb"]
    async with attached(IdCardReaderCore(), GadgetFacts(usb_id)), attached(IdCardReaderCore(), GadgetFacts(usb_id)):
        await wait_for(lambda: asyncio.to_thread(lambda: len(usb_devices()) == 2))
        with pytest.raises(LinkLost, match="2 devices match"):
            await UsbBulkLink(UsbAddress.of(usb_id, None), usb_id).open()
        places = [one.place for one in await asyncio.to_thread(usb_devices)]
        for place in places:
            link = UsbBulkLink(UsbAddress.of(usb_id, place), usb_id)
            await _opened(link)
            await link.close()
        with pytest.raises(WrongPeer, match=f"{usb_id} is there, not 1a86:7523"):
            await UsbBulkLink(UsbAddress.of("1a86:7523", places[0]), "1a86:7523").open()


def _rights() -> tuple[str, int] | None:
    """Whose the device's node is, where our rules are installed and udev runs."""
    if not Path("/etc/udev/rules.d/70-kiosk-devices.rules").exists() or not Path("/run/udev/control").exists():
        return None
    (place,) = (one.place for one in usb_devices())
    folder = Path("/sys/bus/usb/devices") / place
    bus, number = (int((folder / name).read_text(encoding="ascii")) for name in ("busnum", "devnum"))
    node = Path(f"/dev/bus/usb/{bus:03d}/{number:03d}")
    return node.group(), node.stat().st_mode & 0o777


async def _opened(link: UsbBulkLink) -> None:
    """As soon as the kernel has made it."""

    async def is_open() -> bool:
        try:
            await link.open()
        except LinkLost:
            return False
        return True

    await wait_for(is_open, what="the device")


@pytest.mark.may_block("the kernel's devices are made in the loop")
async def test_another_hid_device_of_the_kernel_is_the_wrong_one() -> None:
    device = UhidDevice(HuaxuReports(IdCardReaderCore()), "1a86:e026")
    try:
        path = await wait_for(device.node, what="the node")
        assert path is not None
        await wait_for(lambda: os.path.exists(path))  # noqa: PTH110 - a poll
        with pytest.raises(WrongPeer, match="1a86:e026 is there"):
            await HidrawLink(NodeAddress.of("2b8b:2721", path)).open()
    finally:
        device.unplug()
