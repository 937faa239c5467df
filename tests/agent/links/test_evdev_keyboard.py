"""The keyboard link on a descriptor of the same shape."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent.devices.profiles import load
from agent.devices.qr_scanner.driver import SerialQrScanner
from agent.links.base import LinkError, LinkLost, WrongPeer
from agent.links.evdev_keyboard import KeyboardLink, KeyboardSettings
from agent.links.keymap import AltCodes
from agent.links.node import NodeAddress
from kit.clock import SystemClock
from kit.supervise import spawn
from simulators.devices.keyboard_scanner import AltMode, KeyboardScannerCore
from simulators.devices.transports import PacketServer
from support.owner import RecordingOwner
from support.sysfs import SimulatedNodes, Sysfs
from support.tree import ROOT
from support.waiting import wait_for
from wire.profile import DeviceProfile, LinkKind, LinkProfile

PROFILE = load(ROOT / "firmware_profiles/devices/generic-keyboard_scanner.yaml", DeviceProfile)
USB_ID = "0c2e:0b61"


@asynccontextmanager
async def linked(core: KeyboardScannerCore, usb_id: str = USB_ID) -> AsyncIterator[tuple[PacketServer, KeyboardLink]]:
    async with PacketServer(core) as server:
        settings = KeyboardSettings(AltCodes(core.alt_mode.value))
        link = KeyboardLink(
            NodeAddress.of(USB_ID, "/dev/input/event3"), settings, SimulatedNodes(usb_id, server.host_end)
        )
        await link.open()
        yield server, link
        await link.close()


async def _line(link: KeyboardLink) -> bytes:
    found = b""
    while not found.endswith(b"\r"):
        found += await link.read(timeout_s=2.0)
    return found


async def test_what_is_typed_comes_as_bytes() -> None:
    core = KeyboardScannerCore()
    async with linked(core) as (_, link):
        core.scan("134567890123456789")
        assert await _line(link) == b"134567890123456789\r"
        with pytest.raises(LinkError, match="takes no bytes"):
            await link.write(b"x", timeout_s=1.0)
        assert link.is_open


async def test_unplugged_and_back() -> None:
    core = KeyboardScannerCore()
    async with linked(core) as (server, link):
        server.unplug()
        with pytest.raises(LinkLost):
            await link.read(timeout_s=2.0)
        with pytest.raises(LinkLost):
            await link.open()
        await server.plug()
        await link.open()
        core.scan("A1")
        assert await _line(link) == b"A1\r"


async def test_another_keyboard_in_its_place_is_let_go() -> None:
    with pytest.raises(WrongPeer):
        async with linked(KeyboardScannerCore(), usb_id="046d:c31c"):
            pass


@pytest.mark.parametrize("mode", list(AltMode))
async def test_a_screen_gets_its_code_and_nobody_else_does(mode: AltMode) -> None:
    core = KeyboardScannerCore(mode)
    async with linked(core) as (_, link), asyncio.TaskGroup() as group:
        owner = RecordingOwner()
        driver = SerialQrScanner(link, PROFILE, owner, SystemClock())
        await driver.start()
        running = spawn(group, driver.run(), "driver")
        core.scan("nobody waits")
        await wait_for(lambda: driver._dropped == 1)
        reading = spawn(group, driver.read_code((), wait_s=5.0), "read")
        await wait_for(lambda: driver._waiting is not None)
        core.scan("就诊卡:张䶮-0042")
        scan = await reading
        running.cancel()
    assert scan is not None
    assert scan.code.take() == "就诊卡:张䶮-0042"


def test_the_node_is_that_of_the_keyboard_interface(tmp_path: Path) -> None:
    sysfs = Sysfs(tmp_path)
    sysfs.plug("3-2", USB_ID, classes="03 03")
    sysfs.node("3-2", "input", "event7", interface=0, below="0003:0C2E:0B61.0003/input/input9")
    sysfs.node("3-2", "input", "event8", interface=1, below="0003:0C2E:0B61.0004/input/input10")
    opened: list[str] = []

    class Port(SimulatedNodes):
        def open(self, path: str) -> int:
            opened.append(path)
            raise FileNotFoundError(2, "No such file or directory")

    link = KeyboardLink(
        NodeAddress.of(USB_ID, "3-2", sys=tmp_path), KeyboardSettings(interface=1), Port(USB_ID, lambda: -1)
    )
    with pytest.raises(LinkLost, match="No such file"):
        asyncio.run(link.open())
    assert opened == ["/dev/input/event8"]


@pytest.mark.parametrize(
    ("options", "why"),
    [({"alt_codes": "utf-16"}, "utf-16"), ({"layout": "de"}, "options.layout"), ({"interface": 32}, "interface")],
)
def test_options_that_are_none(options: dict[str, str | int], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        KeyboardSettings.of(LinkProfile(kind=LinkKind.KEYBOARD, options=dict(options)))
