"""A plug pulled at each of 64 places in a device's answer: a mapped fault every time, and the next try is whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from agent.devices.id_card_reader.types import IdCardReader
from agent.devices.profiles import load
from agent.devices.qr_scanner.types import QrScanner
from agent.devices.receipt_printer.types import PrintState, ReceiptJob, ReceiptPrinter, Text
from agent.devices.registry import driver_of, link_of
from agent.devices.types import Driver
from agent.errors import DeviceFault
from agent.links.base import LinkError
from kit.clock import SystemClock
from kit.supervise import TaskGroup, spawn
from simulators.devices.id_card_reader import IdCardReaderCore, SimulatedCard
from simulators.devices.io_board import IoBoardCore
from simulators.devices.pin_pad import PinPadCore
from simulators.devices.qr_scanner import QrScannerCore, Speech
from simulators.devices.receipt_printer import LiveReceiptPrinter, Model, ReceiptPrinterCore
from simulators.devices.transports import Core, LinkFault, PtyServer, TcpServer
from simulators.devices.ups import UpsCore
from simulators.people import People
from support.owner import RecordingOwner
from support.receipt_rig import EPSON_ANSWERS
from support.tree import ROOT
from wire.envelope import Scalar
from wire.profile import DeviceProfile

OFFSETS = range(64)
PERSON = People(11).person()
LONG_CODE = "https://hospital.test/visit?number=0123456789&day=20261123&desk=17&room=402"
QUICK: dict[str, Scalar] = {"answer_s": 0.3}
READER: dict[str, Scalar] = {"find_s": 0.01, "status_s": 5.0, "read_s": 0.3}


@dataclass(frozen=True)
class Case:
    profile: str
    core: Callable[[], Core]
    work: Callable[[Driver], Awaitable[None]]
    is_tcp: bool = False
    quirks: Mapping[str, Scalar] = field(default_factory=dict)


async def _read(driver: Driver) -> None:
    document = await cast("IdCardReader", driver).read_document(timeout_s=2.0)
    assert document is not None
    assert (document.name, document.number) == (PERSON.name, PERSON.number), "half a document"


async def _print(driver: Driver) -> None:
    done = await cast("ReceiptPrinter", driver).print_receipt(ReceiptJob("one", (Text("收费票据"),)))
    if done.state is not PrintState.PRINTED:
        assert done.fault is not None, "a receipt that is not printed has a fault"
        raise DeviceFault(done.fault, done.state)


class _ShownTo(QrScannerCore):
    """Somebody holds a code before it as soon as it is lit."""

    def received(self, data: bytes) -> None:
        super().received(data)
        self.show(LONG_CODE)


async def _scan(driver: Driver) -> None:
    scan = await cast("QrScanner", driver).read_code((), wait_s=2.0)
    assert scan is not None
    assert scan.code.take() == LONG_CODE, "half a code"


async def _nothing(_driver: Driver) -> None:
    await asyncio.sleep(0)


def _lay_card(core: Core) -> None:
    """A card that was found once answers no other search until it is laid there again."""
    if isinstance(core, IdCardReaderCore):
        core.put(SimulatedCard(PERSON))


def _printer() -> Core:
    return LiveReceiptPrinter(ReceiptPrinterCore(Model(information=EPSON_ANSWERS)))


CASES = {
    "id_card_reader": Case("generic-sdt-serial", IdCardReaderCore, _read, quirks=READER),
    "qr_scanner": Case("zebra-se4500", lambda: _ShownTo(Speech.SSI), _scan),
    "receipt_printer": Case("epson-tm-t88vi", _printer, _print, is_tcp=True),
    "pin_pad": Case("generic-gz_b_epp", PinPadCore, _nothing),
    "io_board": Case("generic-modbus_tcp_io16", lambda: IoBoardCore(framing="tcp"), _nothing, is_tcp=True),
    "ups": Case("apc-bx650", lambda: UpsCore(maker="American Power Conversion"), _nothing, is_tcp=True),
}


def _profile(case: Case) -> DeviceProfile:
    found = load(ROOT / "firmware_profiles" / "devices" / f"{case.profile}.yaml", DeviceProfile)
    return found.model_copy(update={"quirks": {**found.quirks, **QUICK, **case.quirks}})


PROFILES = {case.profile: _profile(case) for case in CASES.values()}


@asynccontextmanager
async def _plugged(case: Case, folder: Path) -> AsyncIterator[tuple[PtyServer | TcpServer, str]]:
    core = case.core()
    line = TcpServer(core) if case.is_tcp else PtyServer(core, folder / "tty")
    async with line:
        yield line, f"{line.host}:{line.port}" if isinstance(line, TcpServer) else str(line.path)
    if isinstance(core, LiveReceiptPrinter):
        core.close()


async def _once(case: Case, port: str) -> None:
    """Open, start, use and close as the manager does. Raises what the device's life ends with."""
    profile = PROFILES[case.profile]
    link = link_of(profile, port)()
    driver = driver_of(profile)(link, RecordingOwner(), SystemClock())
    ended: list[DeviceFault | LinkError] = []

    async def noted(work: Awaitable[None]) -> None:
        try:
            await work
        except (DeviceFault, LinkError) as error:
            ended.append(error)

    await link.open()
    try:
        await driver.start()
        async with TaskGroup() as group:
            tasks = [spawn(group, noted(driver.run()), "driver"), spawn(group, noted(case.work(driver)), "work")]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
    finally:
        await link.close()
    if ended:
        raise ended[0]


async def _sweep(case: Case, folder: Path, offsets: range) -> int:
    """Pull the plug at each place; how often it cost the command."""
    failed = 0
    async with _plugged(case, folder) as (line, port):
        for offset in offsets:
            _lay_card(line.core)
            line.faults.script(LinkFault.UNPLUG, value=offset, after=offset % 3)
            try:
                async with asyncio.timeout(15.0):
                    await _once(case, port)
            except (DeviceFault, LinkError):
                failed += 1
            line.faults.clear()
            await line.plug()
            _lay_card(line.core)
            async with asyncio.timeout(15.0):
                await _once(case, port)
    return failed


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", CASES)
async def test_at_some_places(name: str, tmp_path: Path) -> None:
    assert await _sweep(CASES[name], tmp_path, range(0, 64, 9)) > 0


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", CASES)
async def test_at_every_place(name: str, tmp_path: Path) -> None:
    assert await _sweep(CASES[name], tmp_path, OFFSETS) >= len(OFFSETS) // 4
