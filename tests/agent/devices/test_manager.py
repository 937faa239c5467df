"""Devices side by side on real pseudo-terminals: unplugged, plugged in again, failing, busy."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, cast

import pytest
import yaml

from agent.devices.id_card_reader.driver import SdtIdCardReader
from agent.devices.id_card_reader.types import IdDocument
from agent.devices.machine import DeviceState
from agent.devices.manager import DeviceManager, NotUsable, Seen, fitted
from agent.devices.profiles import load_kiosk
from agent.devices.registry import MakeLink
from agent.devices.types import DeviceFacts, Driver
from agent.errors import DeviceFault
from agent.links.base import ByteLink, LinkLost, LinkTimeout
from kit.clock import SystemClock
from kit.supervise import spawn
from simulators.devices.id_card_reader import IdCardReaderCore, ReaderFault, SimulatedCard
from simulators.devices.transports import PtyServer
from simulators.people import People
from support.waiting import wait_for
from wire.envelope import Scalar
from wire.faults import Fault

DEVICE = {
    "vendor": "Test",
    "model": "Reader",
    "capability": "id_card_reader",
    "link": {"kind": "serial"},
    "dialect": "sdt",
    "quirks": {"find_s": 0.02, "answer_s": 0.1, "read_s": 0.3},
}


class Sink:
    def __init__(self) -> None:
        self.latest: dict[str, Seen] = {}
        self.events: list[tuple[str, str]] = []

    async def changed(self, seen: Seen) -> None:
        self.latest[seen.component] = seen

    async def happened(self, component: str, name: str, fields: Mapping[str, Scalar]) -> None:
        self.events.append((component, name))

    def alive(self, seen: Seen) -> None:
        pass


@dataclass
class Bench:
    manager: DeviceManager
    sink: Sink
    cores: dict[str, IdCardReaderCore]
    ports: dict[str, PtyServer]

    async def until(self, component: str, state: DeviceState, fault: Fault | None = None) -> None:
        def is_so() -> bool:
            seen = self.sink.latest.get(component)
            return seen is not None and (seen.state, seen.fault) == (state, fault)

        await wait_for(is_so, what=f"{component} {state}", timeout_s=8.0)


def _profiles(folder: Path) -> Path:
    (folder / "devices").mkdir()
    (folder / "kiosks").mkdir()
    (folder / "devices" / "test-reader.yaml").write_text(yaml.safe_dump(DEVICE))
    places = [{"component": name, "device": "test-reader"} for name in ("left", "right")]
    kiosk = folder / "kiosks" / "k1.yaml"
    kiosk.write_text(yaml.safe_dump({"model": "K1", "title_zh": "一", "title_en": "One", "devices": places}))
    return kiosk


@asynccontextmanager
async def _running(folder: Path, kiosk: Path) -> AsyncIterator[Bench]:
    places = await asyncio.to_thread(load_kiosk, kiosk, {name: str(folder / name) for name in ("left", "right")})
    sink = Sink()
    manager = DeviceManager(fitted(places), sink, SystemClock(), cap_s=0.05)
    cores = {name: IdCardReaderCore() for name in ("left", "right")}
    ports = {name: PtyServer(core, folder / name) for name, core in cores.items()}
    async with ports["left"], ports["right"], asyncio.TaskGroup() as group:
        running = spawn(group, manager.run(), "manager")
        yield Bench(manager, sink, cores, ports)
        running.cancel()


@pytest.fixture
def kiosk(tmp_path: Path) -> Path:
    return _profiles(tmp_path)


async def _read(driver: Driver) -> IdDocument | None:
    assert isinstance(driver, SdtIdCardReader)
    return await driver.read_document(timeout_s=5.0)


async def test_unplugged_and_plugged_in_again(tmp_path: Path, kiosk: Path) -> None:
    async with _running(tmp_path, kiosk) as bench:
        await bench.until("left", DeviceState.READY)
        for _ in range(3):
            bench.ports["left"].unplug()
            await bench.until("left", DeviceState.ABSENT, Fault.UNPLUGGED)
            await bench.ports["left"].plug()
            await bench.until("left", DeviceState.READY)
        assert bench.sink.latest["left"].facts.serial is not None


async def test_back_under_another_number_by_the_name_that_stays(tmp_path: Path, kiosk: Path) -> None:
    """What ttyUSB0 turning into ttyUSB1 is: the port's number is taken when the device comes back, its name is not."""
    async with _running(tmp_path, kiosk) as bench:
        await bench.until("left", DeviceState.READY)
        first = bench.ports["left"].path.readlink()
        bench.ports["left"].unplug()
        await bench.until("left", DeviceState.ABSENT, Fault.UNPLUGGED)
        await wait_for(lambda: not bench.ports["left"].path.is_symlink())
        taken = [os.openpty() for _ in range(3)]
        await bench.ports["left"].plug()
        assert bench.ports["left"].path.readlink() != first
        await bench.until("left", DeviceState.READY)
        bench.cores["left"].put(SimulatedCard(People(3).person()))
        assert await bench.manager.use("left", _read) is not None
        for fd in (fd for pair in taken for fd in pair):
            os.close(fd)


async def test_a_failing_device_leaves_the_other_alone(tmp_path: Path, kiosk: Path) -> None:
    async with _running(tmp_path, kiosk) as bench:
        await bench.until("left", DeviceState.READY)
        await bench.until("right", DeviceState.READY)
        bench.cores["left"].script(ReaderFault.STATUS, value=0x60, times=1_000_000)
        await wait_for(lambda: bench.sink.latest["left"].fault is Fault.SAM_FAILED)
        bench.cores["right"].put(SimulatedCard(People(3).person()))
        assert await bench.manager.use("right", _read) is not None
        assert bench.sink.latest["right"].fault is None
        with pytest.raises(DeviceFault, match="sam_failed"):
            await bench.manager.use("left", _read)
        bench.cores["left"].repair()
        await bench.until("left", DeviceState.READY)


async def test_busy_and_cancelled(tmp_path: Path, kiosk: Path) -> None:
    async with _running(tmp_path, kiosk) as bench:
        await bench.until("left", DeviceState.READY)
        async with asyncio.TaskGroup() as group:
            first = spawn(group, bench.manager.use("left", _read), "first")
            await bench.until("left", DeviceState.BUSY)
            with pytest.raises(DeviceFault, match="device_busy"):
                await bench.manager.use("left", _read)
            first.cancel()
        await bench.until("left", DeviceState.READY)
        bench.cores["left"].put(SimulatedCard(People(3).person()))
        assert await bench.manager.use("left", _read) is not None


async def test_unplugged_under_the_work(tmp_path: Path, kiosk: Path) -> None:
    async with _running(tmp_path, kiosk) as bench:
        await bench.until("left", DeviceState.READY)

        async def pull() -> None:
            await bench.until("left", DeviceState.BUSY)
            bench.ports["left"].unplug()

        async with asyncio.TaskGroup() as group:
            pulling = spawn(group, pull(), "pull")
            with pytest.raises((DeviceFault, LinkLost)):
                await bench.manager.use("left", _read)
            await pulling
        await bench.until("left", DeviceState.ABSENT, Fault.UNPLUGGED)


async def test_events_travel(tmp_path: Path, kiosk: Path) -> None:
    async with _running(tmp_path, kiosk) as bench:
        await bench.until("left", DeviceState.READY)
        bench.cores["left"].put(SimulatedCard(People(3).person()))
        await wait_for(lambda: ("left", "CardReader.MediaInsertedEvent") in bench.sink.events)


async def _say_hello(make_link: MakeLink) -> bytes:
    """Who is on the line, asked without any driver: the reader's own reset command."""
    link = cast("ByteLink", make_link())
    await link.open()
    try:
        await link.write(RESET, timeout_s=1.0)
        return await link.read(timeout_s=1.0)
    finally:
        await link.close()


RESET = bytes.fromhex("aaaaaa9669000310ffec")


async def test_somebody_has_a_device_to_himself(tmp_path: Path, kiosk: Path) -> None:
    async with _running(tmp_path, kiosk) as bench:
        await bench.until("left", DeviceState.READY)
        held, go_on = asyncio.Event(), asyncio.Event()

        async def work(make_link: MakeLink) -> bytes:
            answer = await _say_hello(make_link)
            held.set()
            await go_on.wait()
            return answer

        async with asyncio.TaskGroup() as group:
            first = spawn(group, bench.manager.exclusive("left", work), "first")
            await held.wait()
            await bench.until("left", DeviceState.UPDATING)
            for other in (bench.manager.use("left", _read), bench.manager.exclusive("left", work)):
                with pytest.raises(NotUsable, match="device_busy"):
                    await other
            assert bench.sink.latest["right"].state is DeviceState.READY
            go_on.set()
        assert first.result().startswith(b"\xaa\xaa\xaa\x96\x69")
        await bench.until("left", DeviceState.READY)
        bench.cores["left"].put(SimulatedCard(People(3).person()))
        assert await bench.manager.use("left", _read) is not None


async def test_a_device_in_use_is_not_taken_away(tmp_path: Path, kiosk: Path) -> None:
    async with _running(tmp_path, kiosk) as bench:
        await bench.until("left", DeviceState.READY)
        async with asyncio.TaskGroup() as group:
            reading = spawn(group, bench.manager.use("left", _read), "reading")
            await bench.until("left", DeviceState.BUSY)
            with pytest.raises(NotUsable, match="device_busy"):
                await bench.manager.exclusive("left", _say_hello)
            reading.cancel()
        await bench.until("left", DeviceState.READY)


async def test_a_device_that_is_not_there_can_be_taken(tmp_path: Path, kiosk: Path) -> None:
    """What a boot loader looks like: its driver never gets through."""
    async with _running(tmp_path, kiosk) as bench:
        await bench.until("left", DeviceState.READY)
        bench.cores["left"].script(ReaderFault.SILENCE, times=1_000_000)
        await wait_for(lambda: bench.sink.latest["left"].fault is not None)
        with pytest.raises(LinkTimeout):
            await bench.manager.exclusive("left", _say_hello)
        bench.ports["left"].unplug()
        await wait_for(lambda: bench.sink.latest["left"].fault is Fault.UNPLUGGED)
        with pytest.raises(LinkLost):
            await bench.manager.exclusive("left", _say_hello)
        bench.cores["left"].repair()
        await bench.ports["left"].plug()
        await bench.until("left", DeviceState.READY)


async def test_who_changes_his_mind_gives_the_device_back(tmp_path: Path, kiosk: Path) -> None:
    async with _running(tmp_path, kiosk) as bench:
        await bench.until("left", DeviceState.READY)

        async def never(_: MakeLink) -> None:
            await asyncio.Event().wait()

        for turns in range(8):  # cancelled at each of the first steps of taking it
            async with asyncio.TaskGroup() as group:
                taking = spawn(group, bench.manager.exclusive("left", never), "taking")
                for _ in range(turns):
                    await asyncio.sleep(0)
                taking.cancel()
            await bench.until("left", DeviceState.READY)


async def test_a_mark_is_a_fault_until_it_is_taken_back(tmp_path: Path, kiosk: Path) -> None:
    async with _running(tmp_path, kiosk) as bench:
        await bench.until("left", DeviceState.READY)
        bench.manager.mark("left", Fault.FIRMWARE_INTERRUPTED, "1.1")
        seen = await bench.manager.until("left", lambda seen: Fault.FIRMWARE_INTERRUPTED in seen.faults)
        assert (seen.state, seen.fault) == (DeviceState.READY, None)
        bench.manager.mark("left", Fault.FIRMWARE_INTERRUPTED, None)
        assert not bench.manager.look("left").faults


class _Buggy:
    """Fails like a bug does, in one of its steps, as often as it was told."""

    bugs: ClassVar[dict[str, int]] = {}

    def __init__(self, driver: Driver) -> None:
        self._err("make")
        self._driver = driver

    def _err(self, step: str) -> None:
        if self.bugs.get(step):
            self.bugs[step] -= 1
            raise ZeroDivisionError

    async def start(self) -> DeviceFacts:
        self._err("start")
        return await self._driver.start()

    async def run(self) -> None:
        self._err("run")
        await self._driver.run()

    async def stop(self) -> None:
        await self._driver.stop()


@pytest.mark.parametrize("step", ["make", "start", "run"])
async def test_a_bug_in_a_driver_is_a_fault_of_its_device_alone(tmp_path: Path, kiosk: Path, step: str) -> None:
    places = await asyncio.to_thread(load_kiosk, kiosk, {name: str(tmp_path / name) for name in ("left", "right")})
    left, right = fitted(places)
    made = left.make_driver
    buggy = replace(left, make_driver=lambda link, owner, clock: _Buggy(made(link, owner, clock)))
    sink = Sink()
    _Buggy.bugs[step] = 2
    manager = DeviceManager([buggy, right], sink, SystemClock(), cap_s=0.05)
    ports = [PtyServer(IdCardReaderCore(), tmp_path / name) for name in ("left", "right")]
    async with ports[0], ports[1], asyncio.TaskGroup() as group:
        running = spawn(group, manager.run(), "manager")
        await wait_for(lambda: manager.look("left").fault is Fault.DEVICE_ERROR, what="the fault")
        assert manager.look("left").state in {DeviceState.FAULTED, DeviceState.RECOVERING, DeviceState.STARTING}
        with pytest.raises(NotUsable):
            await manager.use("left", _read)
        await wait_for(lambda: manager.look("left").fault is None, what="the left one after its bugs", timeout_s=8.0)
        await wait_for(lambda: manager.look("right").state is DeviceState.READY, what="the right one")
        running.cancel()
    assert _Buggy.bugs[step] == 0
