"""The driver over HID reports: our own link on a pair of sockets that keeps packets apart, as hidraw's descriptor does.

The kernel's own hidraw: tests/agent/links/test_kernel_devices.py, where the kernel has uhid.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent.devices.id_card_reader.driver import SdtIdCardReader
from agent.devices.profiles import load
from agent.errors import DeviceFault
from agent.links.base import LinkLost
from agent.links.hidraw import HidrawLink, HidSettings
from agent.links.node import NodeAddress
from kit.clock import SystemClock
from kit.supervise import spawn
from simulators.devices.hid_reports import HuaxuReports, MiaxisReports
from simulators.devices.id_card_reader import IdCardReaderCore, ReaderFault, SimulatedCard
from simulators.devices.transports import Core, LinkFault, PacketServer
from simulators.people import Paper, People
from support.owner import RecordingOwner
from support.sysfs import SimulatedNodes, Sysfs
from support.tree import ROOT
from support.waiting import wait_for
from wire.faults import Fault
from wire.profile import DeviceProfile

READERS: dict[str, tuple[str, Callable[[Core], Core]]] = {
    "huaxu-hid_2721": ("2b8b:2721", HuaxuReports),
    "miaxis-hid_0007": ("10c4:0007", MiaxisReports),
}
PROFILES = {name: load(ROOT / f"firmware_profiles/devices/{name}.yaml", DeviceProfile) for name in READERS}


class Reading:
    def __init__(self, server: PacketServer, core: IdCardReaderCore, driver: SdtIdCardReader) -> None:
        self.server, self.core, self.driver = server, core, driver


@asynccontextmanager
async def reading(model: str, tmp_path: Path, **quick: float) -> AsyncIterator[Reading]:
    usb_id, wrapped = READERS[model]
    core = IdCardReaderCore()
    sysfs = Sysfs(tmp_path / "sys")
    sysfs.plug("1-2", usb_id, classes="03")
    sysfs.node("1-2", "hidraw", "hidraw0")
    known = PROFILES[model]
    known = known.model_copy(update={"quirks": {**known.quirks, "find_s": 0.02, **quick}})
    async with PacketServer(wrapped(core)) as server:
        nodes = SimulatedNodes(usb_id, server.host_end)
        where = NodeAddress.of(known.match["usb"], None, sys=sysfs.root)
        link = HidrawLink(where, HidSettings.of(known.link), nodes)
        await link.open()
        assert nodes.opened == ["/dev/hidraw0"]
        driver = SdtIdCardReader(link, known, RecordingOwner(), SystemClock())
        await driver.start()
        try:
            yield Reading(server, core, driver)
        finally:
            await link.close()


@pytest.mark.parametrize("model", READERS)
@pytest.mark.parametrize("paper", list(Paper))
async def test_every_document_over_reports(model: str, paper: Paper, tmp_path: Path) -> None:
    person = People(9).person(paper)
    async with reading(model, tmp_path) as reader, asyncio.TaskGroup() as group:
        reader.core.put(SimulatedCard(person))
        running = spawn(group, reader.driver.run(), "driver")
        document = await reader.driver.read_document(timeout_s=3.0)
        running.cancel()
    assert document is not None
    assert (document.name, document.number, len(document.photo)) == (person.name, person.number, 1_024)


@pytest.mark.parametrize("model", READERS)
async def test_pulled_in_the_middle_of_an_answer(model: str, tmp_path: Path) -> None:
    async with reading(model, tmp_path) as reader:
        reader.core.put(SimulatedCard(People(3).person()))
        reader.server.faults.script(LinkFault.UNPLUG, value=20, after=3)
        with pytest.raises(LinkLost):
            await reader.driver.run()


@pytest.mark.parametrize("model", READERS)
@pytest.mark.parametrize(
    ("fault", "said"), [(ReaderFault.SILENCE, Fault.NOT_RESPONDING), (ReaderFault.BAD_CHECKSUM, Fault.PROTOCOL_ERROR)]
)
async def test_what_goes_wrong_is_named(model: str, fault: ReaderFault, said: Fault, tmp_path: Path) -> None:
    async with reading(model, tmp_path, answer_s=0.1) as reader:
        reader.core.script(fault, times=1_000)
        with pytest.raises(DeviceFault) as raised:
            await reader.driver.run()
        assert raised.value.fault is said


async def test_a_late_report_of_an_earlier_answer_is_dropped(tmp_path: Path) -> None:
    async with reading("miaxis-hid_0007", tmp_path) as reader, asyncio.TaskGroup() as group:
        running = spawn(group, reader.driver.run(), "driver")
        reader.core.script(ReaderFault.STALE_FRAME, times=1_000)
        reader.core.put(SimulatedCard(People(4).person()))
        await wait_for(lambda: reader.driver.is_card_present)
        assert await reader.driver.read_document(timeout_s=3.0) is not None
        running.cancel()
