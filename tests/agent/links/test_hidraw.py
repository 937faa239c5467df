"""The hidraw link on a descriptor of the same shape."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.links.base import LinkLost, LinkTimeout, WrongPeer
from agent.links.hidraw import HidrawLink, HidSettings
from agent.links.node import NodeAddress
from simulators.devices.transports import PacketServer, Send
from support.sysfs import SimulatedNodes, Sysfs
from support.waiting import wait_for
from wire.profile import LinkKind, LinkProfile

USB_ID = "2b8b:2721"
REPORT = bytes(range(64))


class Echo:
    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.send: Send = lambda _data: None

    def connected(self, send: Send) -> None:
        self.send = send

    def received(self, data: bytes) -> None:
        self.got.append(data)
        self.send(data[1:])


@pytest.fixture
async def server() -> AsyncIterator[PacketServer]:
    async with PacketServer(Echo()) as plugged:
        yield plugged


def _link(server: PacketServer, usb_id: str = USB_ID, **settings: int) -> HidrawLink:
    where = NodeAddress.of(USB_ID, "/dev/null")  # a path: nothing is looked up
    return HidrawLink(where, HidSettings(**settings), SimulatedNodes(usb_id, server.host_end))


async def test_reports_stay_apart_and_are_numbered(server: PacketServer) -> None:
    link = _link(server, report_number=2)
    await link.open()
    await link.write(REPORT + REPORT[::-1], timeout_s=2.0)
    assert isinstance(server.core, Echo)
    echo = server.core
    await wait_for(lambda: len(echo.got) == 2)
    assert echo.got == [b"\2" + REPORT, b"\2" + REPORT[::-1]]
    assert [await link.read(timeout_s=2.0) for _ in range(2)] == [REPORT, REPORT[::-1]]
    with pytest.raises(LinkTimeout):
        await link.read(timeout_s=0.02)
    await link.close()


async def test_everything_that_waits_is_discarded(server: PacketServer) -> None:
    link = _link(server)
    await link.open()
    assert isinstance(server.core, Echo)
    for _ in range(5):
        server.core.send(REPORT)
    assert link.discard() == 5 * 64
    server.core.send(REPORT[::-1])
    assert await link.read(timeout_s=2.0) == REPORT[::-1]
    await link.close()


async def test_what_came_before_the_unplugging_is_handed_over(server: PacketServer) -> None:
    link = _link(server)
    await link.open()
    assert isinstance(server.core, Echo)
    server.core.send(REPORT)
    server.core.send(REPORT)
    server.unplug()
    assert [await link.read(timeout_s=2.0) for _ in range(2)] == [REPORT, REPORT]
    with pytest.raises(LinkLost):
        await link.read(timeout_s=2.0)
    with pytest.raises(LinkLost):
        await link.write(REPORT, timeout_s=1.0)
    with pytest.raises(LinkLost, match="No such device"):
        await link.open()
    await server.plug()
    await link.open()
    await link.write(REPORT, timeout_s=2.0)
    assert await link.read(timeout_s=2.0) == REPORT
    await link.close()


async def test_another_device_in_its_place_gets_no_byte(server: PacketServer) -> None:
    link = _link(server, usb_id="1a86:7523")
    with pytest.raises(WrongPeer, match="1a86:7523 is there, not 2b8b:2721"):
        await link.open()
    assert not link.is_open
    assert isinstance(server.core, Echo)
    assert server.core.got == []


async def test_a_device_that_takes_no_report_is_a_timeout(server: PacketServer) -> None:
    link = _link(server)
    await link.open()
    server.stall()
    with pytest.raises(LinkTimeout):
        await link.write(REPORT * 10_000, timeout_s=1.0)
    assert link.is_open
    await link.close()


def test_the_node_is_looked_up_by_ids_or_place(tmp_path: Path) -> None:
    sysfs = Sysfs(tmp_path)
    for place, number in (("1-1.4", 3), ("1-1.5", 4)):
        sysfs.plug(place, USB_ID, classes="03 03")
        sysfs.node(place, "hidraw", f"hidraw{number}", interface=1)
    by_ids = NodeAddress.of(USB_ID, None, sys=tmp_path)
    by_place = NodeAddress.of(USB_ID, "1-1.5", sys=tmp_path)
    opened: list[str] = []

    class Port(SimulatedNodes):
        def open(self, path: str) -> int:
            opened.append(path)
            return os.open(os.devnull, os.O_RDWR)

    async def look(where: NodeAddress, interface: int | None) -> None:
        link = HidrawLink(where, HidSettings(interface=interface), Port(USB_ID, lambda: -1))
        fd = await link._node.opened()
        os.close(fd)

    asyncio.run(look(by_place, None))
    asyncio.run(look(by_place, 1))
    assert opened == ["/dev/hidraw4"] * 2
    with pytest.raises(LinkLost, match="2 devices match"):
        asyncio.run(look(by_ids, None))
    with pytest.raises(LinkLost, match="0 devices match"):
        asyncio.run(look(by_place, 0))


@pytest.mark.parametrize(
    ("options", "why"),
    [({"report_bytes": 0}, "report_bytes"), ({"reports": 1}, "options.reports"), ({"report_number": True}, "number")],
)
def test_options_that_are_none(options: dict[str, int], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        HidSettings.of(LinkProfile(kind=LinkKind.HID, options=dict(options)))


@pytest.mark.parametrize(
    ("usb_id", "port"), [(None, None), ("2b8b", None), (USB_ID, "usb1"), (USB_ID, "1-1;x"), (USB_ID, "../hidraw0")]
)
def test_addresses_that_are_none(usb_id: str | None, port: str | None) -> None:
    with pytest.raises(ValueError, match=r"vvvv:pppp|place"):
        NodeAddress.of(usb_id, port)
