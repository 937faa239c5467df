"""The hidraw and keyboard links on devices of the kernel's own: uhid and uinput; skipped, with the reason, without."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

import pytest

from agent.devices.id_card_reader.driver import SdtIdCardReader
from agent.devices.profiles import load
from agent.links.base import LinkLost, LinkTimeout, WrongPeer
from agent.links.evdev_keyboard import KeyboardLink
from agent.links.hidraw import HidrawLink, HidSettings
from agent.links.node import NodeAddress
from kit.clock import SystemClock
from kit.supervise import spawn
from simulators.devices.hid_reports import HuaxuReports, MiaxisReports
from simulators.devices.id_card_reader import IdCardReaderCore, SimulatedCard
from simulators.devices.keyboard_scanner import KeyboardScannerCore
from simulators.devices.transports import Core
from simulators.people import People
from support.kernel_devices import UhidDevice, UinputKeyboard
from support.owner import RecordingOwner
from support.tree import ROOT
from support.waiting import wait_for
from wire.profile import DeviceProfile

SCANNER = "0c2e:0b61"
READERS: dict[str, tuple[str, Callable[[Core], Core]]] = {
    "huaxu-hid_2721": ("2b8b:2721", HuaxuReports),
    "miaxis-hid_0007": ("10c4:0007", MiaxisReports),
}
PROFILES = {name: load(ROOT / f"firmware_profiles/devices/{name}.yaml", DeviceProfile) for name in READERS}


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
