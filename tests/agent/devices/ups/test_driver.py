"""The driver against the simulated UPS over TCP, and against Debian's upsd."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.devices.ups.driver import NutUps
from agent.devices.ups.types import PowerSource
from agent.errors import DeviceFault
from agent.links.base import LinkLost
from agent.links.tcp import TcpLink
from kit.clock import SystemClock
from simulators.devices.transports import TcpServer
from simulators.devices.ups import UpsCore, UpsFault
from support.owner import RecordingOwner
from support.upsd import UpsService
from support.waiting import wait_for
from wire.faults import Fault
from wire.profile import Capability, DeviceProfile, LinkKind, LinkProfile


def _profile(name: str = "ups") -> DeviceProfile:
    return DeviceProfile(
        vendor="Simulated",
        model="UPS",
        capability=Capability.UPS,
        link=LinkProfile(kind=LinkKind.NUT),
        dialect="nut",
        quirks={"ups": name, "poll_s": 0.05, "answer_s": 0.5},
    )


@pytest.fixture
def owner() -> RecordingOwner:
    return RecordingOwner()


@pytest.fixture
def core() -> UpsCore:
    return UpsCore()


@pytest.fixture
async def link(core: UpsCore) -> AsyncIterator[TcpLink]:
    async with TcpServer(core) as server:
        way = TcpLink("127.0.0.1", server.port)
        await way.open()
        yield way
        await way.close()


@pytest.fixture
def ups(link: TcpLink, owner: RecordingOwner) -> NutUps:
    return NutUps(link, _profile(), owner, SystemClock())


async def test_start_tells_what_it_is(ups: NutUps, owner: RecordingOwner) -> None:
    facts = await ups.start()
    assert (facts.model, facts.firmware, facts.serial) == ('Simulated UPS "1000"', "1.0", "SIM0001")
    assert owner.last.values == {
        "power": "mains", "battery_percent": 100, "runtime_s": 1800, "load_percent": 21, "input_v": 229.5,
    }  # fmt: skip
    assert owner.faults == set()


@pytest.mark.parametrize(
    ("scripted", "faults", "must_shut_down"),
    [
        ({UpsFault.MAINS_LOST}, {Fault.ON_BATTERY}, False),
        ({UpsFault.MAINS_LOST, UpsFault.BATTERY_LOW}, {Fault.ON_BATTERY, Fault.BATTERY_LOW}, True),
        ({UpsFault.BATTERY_LOW}, set(), False),
        ({UpsFault.FORCED_SHUTDOWN}, {Fault.BATTERY_LOW}, True),
        ({UpsFault.BATTERY_WORN}, {Fault.BATTERY_WORN}, False),
        ({UpsFault.OVERLOAD}, {Fault.DEVICE_ERROR}, False),
    ],
)
async def test_flags_are_faults(
    ups: NutUps, core: UpsCore, owner: RecordingOwner, scripted: set[UpsFault], faults: set[Fault], must_shut_down: bool
) -> None:
    core.script(*scripted)
    await ups.start()
    assert owner.faults == faults
    assert ups.power.must_shut_down is must_shut_down


@pytest.mark.parametrize(("charge", "runtime_s"), [(15, 1_800), (90, 60)])
async def test_numbers_alone_can_mean_a_low_battery(
    ups: NutUps, core: UpsCore, owner: RecordingOwner, charge: int, runtime_s: int
) -> None:
    core.charge, core.runtime_s = charge, runtime_s
    await ups.start()
    assert owner.faults == set(), "charging after an outage is no emergency"
    core.script(UpsFault.MAINS_LOST)
    await ups.start()
    assert owner.faults == {Fault.ON_BATTERY, Fault.BATTERY_LOW}


@pytest.mark.parametrize("scripted", [UpsFault.STALE, UpsFault.DRIVER_GONE])
async def test_silence_is_unknown_and_no_recovery(
    ups: NutUps, core: UpsCore, owner: RecordingOwner, scripted: UpsFault
) -> None:
    core.script(UpsFault.MAINS_LOST)
    await ups.start()
    core.script(scripted)
    await ups.start()
    assert owner.faults == {Fault.ON_BATTERY, Fault.NOT_RESPONDING}
    assert owner.last.values == {"power": "unknown"}
    assert ups.power.source is PowerSource.UNKNOWN
    core.repair()
    await ups.start()
    assert owner.faults == set()


@pytest.mark.parametrize(
    ("scripted", "fault"),
    [
        (UpsFault.SILENT, Fault.NOT_RESPONDING),
        (UpsFault.HALF_ANSWER, Fault.NOT_RESPONDING),
        (UpsFault.GARBAGE, Fault.PROTOCOL_ERROR),
    ],
)
async def test_no_answer_and_nonsense(ups: NutUps, core: UpsCore, scripted: UpsFault, fault: Fault) -> None:
    core.script(scripted)
    with pytest.raises(DeviceFault) as caught:
        await ups.start()
    assert caught.value.fault is fault


async def test_another_name_is_the_wrong_device(link: TcpLink, owner: RecordingOwner) -> None:
    with pytest.raises(DeviceFault) as caught:
        await NutUps(link, _profile("other"), owner, SystemClock()).start()
    assert caught.value.fault is Fault.WRONG_DEVICE


async def test_the_watch_tells_of_edges_and_of_a_service_that_ends(owner: RecordingOwner, core: UpsCore) -> None:
    async def watch(ups: NutUps) -> None:
        with pytest.raises(LinkLost):
            await ups.run()

    async with asyncio.TaskGroup() as group, TcpServer(core) as server:
        link = TcpLink("127.0.0.1", server.port)
        await link.open()
        ups = NutUps(link, _profile(), owner, SystemClock())
        await ups.start()
        group.create_task(watch(ups))
        core.script(UpsFault.MAINS_LOST)
        await wait_for(lambda: owner.faults == {Fault.ON_BATTERY}, what="the power cut")
        core.repair()
        await wait_for(lambda: owner.faults == set(), what="the power")
    await link.close()
    powers = [fields["power"] for name, fields in owner.events if name == "Ups.PowerChanged"]
    assert powers == ["mains", "battery", "mains"]


@pytest.mark.timeout(60)
async def test_a_real_upsd(service_dir: Path, owner: RecordingOwner) -> None:
    async with UpsService(service_dir, max_age_s=3) as service:
        link = TcpLink("127.0.0.1", service.port)
        await link.open()
        ups = NutUps(link, _profile("k"), owner, SystemClock())

        async def look() -> set[Fault]:
            await ups.start()
            return owner.faults

        async def sees(power: PowerSource, faults: set[Fault]) -> bool:
            return await look() == faults and ups.power.source is power

        await wait_for(lambda: sees(PowerSource.MAINS, set()), timeout_s=10, what="mains")
        service.says("OB DISCHRG LB", battery_charge="12")
        both = {Fault.ON_BATTERY, Fault.BATTERY_LOW}
        await wait_for(lambda: sees(PowerSource.BATTERY, both), timeout_s=10, what="the battery")
        service.says("OL RB")
        await wait_for(lambda: sees(PowerSource.MAINS, {Fault.BATTERY_WORN}), timeout_s=10, what="mains again")
        service.freeze()
        stale = {Fault.BATTERY_WORN, Fault.NOT_RESPONDING}
        await wait_for(lambda: sees(PowerSource.UNKNOWN, stale), timeout_s=15, what="stale data")
        service.thaw()
        await wait_for(lambda: sees(PowerSource.MAINS, {Fault.BATTERY_WORN}), timeout_s=10, what="fresh data")
        service.driver.close()
        await wait_for(lambda: sees(PowerSource.UNKNOWN, stale), timeout_s=10, what="no driver")
        await link.close()
