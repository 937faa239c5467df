"""Same port, other device: what answers there is not what the profile says, and back again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from agent.devices.machine import DeviceState
from agent.devices.manager import DeviceManager, Fitted, Seen, fitted
from agent.devices.profiles import Place, load
from agent.devices.registry import driver_of
from agent.links.hidraw import HidrawLink, HidSettings
from agent.links.node import NodeAddress
from kit.clock import SystemClock
from kit.supervise import spawn
from simulators.devices.hid_reports import HuaxuReports
from simulators.devices.id_card_reader import IdCardReaderCore
from simulators.devices.io_board import IoBoardCore
from simulators.devices.qr_scanner import QrScannerCore, Speech
from simulators.devices.receipt_printer import LiveReceiptPrinter, ReceiptPrinterCore
from simulators.devices.transports import Core, PacketServer, PtyServer, TcpServer
from simulators.devices.ups import UpsCore
from simulators.lab.device import Swap
from simulators.lab.devices.id_card_reader import IdCardReader
from support.receipt_rig import CUSTOM, EPSON
from support.sysfs import SimulatedNodes, Sysfs
from support.tree import ROOT
from support.waiting import wait_for
from wire.envelope import Scalar
from wire.faults import Fault
from wire.profile import DeviceProfile, KioskDevice, LinkKind


class Sink:
    def __init__(self) -> None:
        self.seen: Seen | None = None

    async def changed(self, seen: Seen) -> None:
        self.seen = seen

    async def happened(self, component: str, name: str, fields: Mapping[str, Scalar]) -> None:
        pass

    def alive(self, seen: Seen) -> None:
        pass

    async def until(self, state: DeviceState, fault: Fault | None) -> Seen:
        def found() -> Seen | None:
            return self.seen if self.seen and (self.seen.state, self.seen.fault) == (state, fault) else None

        seen = await wait_for(found, what=f"{state} {fault}")
        assert seen is not None
        return seen


@dataclass(frozen=True)
class Case:
    profile: str
    quirks: Mapping[str, Scalar]
    right: Callable[[], Core]
    other: Callable[[], Core]
    model: str | None = None


def _printer(answer: str) -> Core:
    information = {number: f"_{answer}\0".encode() for number in (65, 67, 68)}
    return LiveReceiptPrinter(ReceiptPrinterCore(replace(EPSON, information=information)))


CASES = {
    "id_reader": Case(
        "generic-sdt-serial",
        {"licence_prefix": "05.01"},
        IdCardReaderCore,
        lambda: IdCardReaderCore(licence=bytes(16)),
    ),
    "ups": Case(
        "apc-bx650",
        {"poll_s": 0.05},
        lambda: UpsCore(maker="American Power Conversion", model="Back-UPS BX650"),
        lambda: UpsCore(maker="SANTAK", model="TG-BOX 850"),
        "American Power Conversion Back-UPS BX650",
    ),
    "scanner": Case(
        "zebra-se4500",
        {"model_answer": "PAABLS"},
        lambda: QrScannerCore(Speech.SSI),
        lambda: QrScannerCore(Speech.SSI, revision="NBRPUAAM"),
    ),
    "io_board": Case(
        "waveshare-modbus_rtu_io8",
        {"model_answer": "RTU-IO8"},
        lambda: IoBoardCore(identity=("Example", "RTU-IO8", "V2.1")),
        lambda: IoBoardCore(identity=("Example", "RTU-RELAY", "V1.0")),
        "Example RTU-IO8",
    ),
    "io_board that does not name itself": Case(
        "generic-modbus_tcp_io16",
        {"model_answer": "IO16"},
        lambda: IoBoardCore(framing="tcp", identity=("Example", "IO16")),
        lambda: IoBoardCore(framing="tcp"),
        "Example IO16",
    ),
    "receipt_printer of another family": Case(
        "custom-kpm150h",
        {"answer_s": 0.1, "poll_s": 0.1},
        lambda: LiveReceiptPrinter(ReceiptPrinterCore(CUSTOM)),
        lambda: _printer("TM-T88VI"),
    ),
    "receipt_printer": Case(
        "epson-tm-t88vi", {"poll_s": 0.1}, lambda: _printer("TM-T88VI"), lambda: _printer("TM-U220"), "TM-T88VI"
    ),
}


@asynccontextmanager
async def _running(case: Case, folder: Path) -> AsyncIterator[tuple[PtyServer | TcpServer, Sink]]:
    known = await asyncio.to_thread(load, ROOT / f"firmware_profiles/devices/{case.profile}.yaml", DeviceProfile)
    profile = known.model_copy(update={"quirks": {**known.quirks, **case.quirks}})
    is_serial = profile.link.kind is LinkKind.SERIAL
    line = PtyServer(case.right(), folder / "tty") if is_serial else TcpServer(case.right())
    async with line, asyncio.TaskGroup() as group:
        port = str(line.path) if isinstance(line, PtyServer) else f"{line.host}:{line.port}"
        place = Place(KioskDevice(component="it", device=case.profile), profile, port)
        sink = Sink()
        manager = DeviceManager(fitted([place]), sink, SystemClock(), cap_s=0.05)
        running = spawn(group, manager.run(), "manager")
        yield line, sink
        running.cancel()


async def _swap(line: PtyServer | TcpServer, core: Core) -> None:
    line.unplug()
    line.core = core
    await line.plug()


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_another_device_on_the_same_port(case: Case, tmp_path: Path) -> None:
    async with _running(case, tmp_path) as (line, sink):
        seen = await sink.until(DeviceState.READY, None)
        assert case.model is None or seen.facts.model == case.model
        for _ in range(2):
            await _swap(line, case.other())
            await wait_for(
                lambda: sink.seen is not None and sink.seen.fault is Fault.WRONG_DEVICE, what="the wrong one"
            )
            await _swap(line, case.right())
            await sink.until(DeviceState.READY, None)


async def test_another_device_behind_a_service_that_stays(tmp_path: Path) -> None:
    """The UPS is changed behind upsd: the connection never breaks."""
    core = UpsCore(maker="American Power Conversion", model="Back-UPS BX650")
    case = Case("apc-bx650", {"poll_s": 0.05}, lambda: core, lambda: core)
    async with _running(case, tmp_path) as (_, sink):
        await sink.until(DeviceState.READY, None)
        core.maker, core.model = "SANTAK", "TG-BOX 850"
        await wait_for(lambda: sink.seen is not None and sink.seen.fault is Fault.WRONG_DEVICE, what="the wrong one")
        core.maker = core.model = ""
        await sink.until(DeviceState.READY, None)  # one that says nothing is believed


async def test_lights_of_another_board_are_not_touched(tmp_path: Path) -> None:
    other = IoBoardCore(identity=("Example", "RTU-RELAY"), lights=[True] * 16)
    async with _running(replace(CASES["io_board"], right=lambda: other), tmp_path) as (_, sink):
        await wait_for(lambda: sink.seen is not None and sink.seen.fault is Fault.WRONG_DEVICE, what="the wrong one")
        assert other.lights == [True] * 16


async def test_the_labs_own_swap_is_noticed(tmp_path: Path) -> None:
    case = CASES["id_reader"]
    async with _running(case, tmp_path) as (line, sink):
        device = IdCardReader("id_reader", "generic-sdt-serial", line)
        await device.swap(Swap(model="generic-sdt-serial"))
        await sink.until(DeviceState.READY, None)
        await device.swap(Swap(model="generic-sdt-usbserial"))
        await wait_for(lambda: sink.seen is not None and sink.seen.fault is Fault.WRONG_DEVICE, what="the wrong one")
        await device.swap(Swap(model="generic-sdt-serial"))
        await sink.until(DeviceState.READY, None)


async def test_another_hid_device_in_the_same_socket(tmp_path: Path) -> None:
    sysfs = Sysfs(tmp_path)
    sysfs.plug("1-2", "2b8b:2721", classes="03")
    sysfs.node("1-2", "hidraw", "hidraw0")
    known = await asyncio.to_thread(load, ROOT / "firmware_profiles/devices/huaxu-hid_2721.yaml", DeviceProfile)
    core, sink = IdCardReaderCore(), Sink()
    async with PacketServer(HuaxuReports(core)) as server, asyncio.TaskGroup() as group:
        nodes = SimulatedNodes("2b8b:2721", server.host_end)
        where = NodeAddress.of("2b8b:2721", "1-2", sys=tmp_path)
        device = Fitted(
            "it", known.capability, lambda: HidrawLink(where, HidSettings.of(known.link), nodes), driver_of(known)
        )
        running = spawn(group, DeviceManager([device], sink, SystemClock(), cap_s=0.05).run(), "manager")
        await sink.until(DeviceState.READY, None)
        asked = core.request_count
        nodes.ids = "10c4:0007"
        server.unplug()
        await server.plug()
        seen = await sink.until(DeviceState.FAULTED, Fault.WRONG_DEVICE)
        assert seen.detail == "usb 1-2 2b8b:2721: 10c4:0007 is there, not 2b8b:2721"
        assert core.request_count <= asked + 1
        nodes.ids = "2b8b:2721"
        await sink.until(DeviceState.READY, None)
        running.cancel()
