"""A fault is recorded from one simulator and played to a fresh driver, which comes to the same fault."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, cast

import pytest

from agent.devices.machine import DeviceState
from agent.devices.pin_pad.types import PinRequest
from agent.devices.receipt_printer.types import PrintOutcome, PrintState, ReceiptJob, Text
from agent.errors import DeviceFault
from agent.recorder.document import lines_of
from kit.supervise import spawn
from simulators.devices.id_card_reader import ReaderFault, SimulatedCard, reply_frame
from simulators.devices.pin_pad import PadFault
from simulators.devices.qr_scanner import ScannerFault
from simulators.devices.receipt_printer import PrinterFault
from simulators.devices.replay import ReplayCore, Story
from simulators.devices.replay_ipp import IppReplay
from simulators.devices.report_printer import PrinterFault as PageFault
from simulators.devices.transports import LinkFault, LinkFaults, PtyServer, TcpServer
from simulators.people import People
from support.recording_rig import Rig, managed, running
from support.waiting import wait_for
from wire.envelope import Scalar
from wire.faults import Fault
from wire.recording import Recording, decode_recording

QUICK: dict[str, dict[str, Scalar]] = {
    "id_reader": {"answer_s": 0.1, "read_s": 0.2},
    "pin_pad": {"answer_s": 0.1},
    "scanner": {"answer_s": 0.1},
    "receipt_printer": {},
    "report_printer": {},
}


async def recorded(rig: Rig, component: str, fault: Fault) -> Recording:
    """The recording that this fault makes."""
    await wait_for(
        lambda: any((kept.about.component, kept.fault) == (component, fault) for kept in rig.kept),
        what=f"a recording of {fault}",
        timeout_s=8.0,
    )
    kept = next(kept for kept in rig.kept if kept.fault == fault)
    return decode_recording(b"".join(lines_of(kept)))


@asynccontextmanager
async def replaying(recording: Recording, folder: Path) -> AsyncIterator[Rig]:
    """A fresh driver with the recording as its device."""
    name = recording.head.component
    async with AsyncExitStack() as stack:
        story = Story.of(recording)
        if recording.head.link == "ipp":
            server = await stack.enter_async_context(IppReplay(story))
            port = f"{server.host}:{server.port}"
        else:
            core = ReplayCore(story)
            stack.callback(core.close)
            is_tcp = recording.head.link == "tcp"
            line = TcpServer(core) if is_tcp else PtyServer(core, folder / "replay")
            await stack.enter_async_context(line)
            core.unplug = line.unplug
            port = f"{line.host}:{line.port}" if isinstance(line, TcpServer) else str(folder / "replay")
        yield await stack.enter_async_context(managed({name: port}, QUICK[name]))


def of(component: str, fault: Fault, rig: Rig) -> bool:
    seen = rig.sink.latest.get(component)
    return seen is not None and fault in seen.faults


@pytest.mark.parametrize(
    ("line", "reader", "fault"),
    [
        (None, ReaderFault.SILENCE, Fault.NOT_RESPONDING),
        (None, ReaderFault.BAD_CHECKSUM, Fault.PROTOCOL_ERROR),
        (None, ReaderFault.STATUS, Fault.SAM_FAILED),
        (LinkFault.NOISE, None, Fault.PROTOCOL_ERROR),
        (LinkFault.TRUNCATE, None, Fault.PROTOCOL_ERROR),
    ],
)
async def test_an_identity_card_reader_fails_again(
    tmp_path: Path, line: LinkFault | None, reader: ReaderFault | None, fault: Fault
) -> None:
    faults = LinkFaults()
    async with running(tmp_path, "id_reader", faults=faults, quirks=QUICK["id_reader"]) as rig:
        if line is LinkFault.NOISE:
            faults.script(LinkFault.DROP, value=5.0, times=100)
            faults.script(line, value=40.0, times=100)
        elif line is not None:
            faults.script(line, value=6.0, times=100)
        if reader is not None:
            rig.cores["id_reader"].script(reader, value=0x66, times=100)
        recording = await recorded(rig, "id_reader", fault)
    async with replaying(recording, tmp_path) as rig:
        await rig.until("id_reader", DeviceState.READY)
        assert (await recorded(rig, "id_reader", fault)).head.fault == fault


async def test_a_card_that_cannot_be_read_cannot_be_read_again(tmp_path: Path) -> None:
    person = People(31).person()

    def reading(rig: Rig) -> Awaitable[Any]:  # what a driver gives
        return rig.manager.use("id_reader", lambda driver: cast("Any", driver).read_document(timeout_s=3.0))

    async with running(tmp_path, "id_reader", quirks=QUICK["id_reader"]) as rig:
        core = rig.cores["id_reader"]
        core.put(SimulatedCard(person))
        await wait_for(lambda: rig.sink.latest["id_reader"].status.values.get("media") == "present")
        assert (await reading(rig)).number == person.number
        core.lift()
        await wait_for(lambda: rig.sink.latest["id_reader"].status.values.get("media") == "notPresent")
        core._base = lambda **_: reply_frame(0x41)
        core.put(SimulatedCard(person))
        with pytest.raises(DeviceFault) as failure:
            await reading(rig)
        assert failure.value.fault is Fault.CARD_UNREADABLE
        recording = await recorded(rig, "id_reader", Fault.CARD_UNREADABLE)
    async with replaying(recording, tmp_path) as rig:
        await rig.until("id_reader", DeviceState.READY)
        read = await reading(rig)
        assert read.number == "0" * 18  # a card of zeros in the place of the person's
        assert await _until_it_fails(rig, reading) is Fault.CARD_UNREADABLE


async def _until_it_fails(rig: Rig, reading: Callable[[Rig], Awaitable[Any]]) -> Fault:
    for _ in range(20):
        try:
            await reading(rig)
        except DeviceFault as error:
            return error.fault
    raise AssertionError("it never failed")


async def test_an_unplugged_device_is_unplugged_again(tmp_path: Path) -> None:
    async with running(tmp_path, "id_reader", quirks=QUICK["id_reader"]) as rig:
        line = rig.lines["id_reader"]
        asyncio.get_running_loop().call_later(0.1, line.unplug)
        recording = await recorded(rig, "id_reader", Fault.UNPLUGGED)
    async with replaying(recording, tmp_path) as rig:
        await rig.until("id_reader", DeviceState.READY)
        assert (await recorded(rig, "id_reader", Fault.UNPLUGGED)).head.fault == Fault.UNPLUGGED


async def printed(rig: Rig, lines: int) -> PrintOutcome:
    job = ReceiptJob("job", tuple(Text(f"第 {number} 行 {'一' * 12}") for number in range(lines)))
    outcome = await rig.manager.use("receipt_printer", lambda driver: cast("Any", driver).print_receipt(job))
    assert isinstance(outcome, PrintOutcome)
    return outcome


@pytest.mark.parametrize(
    ("simulated", "fault", "lines"),
    [
        (PrinterFault.PAPER_OUT, Fault.PAPER_OUT, 40),
        pytest.param(PrinterFault.PAPER_OUT, Fault.PAPER_OUT, 25, marks=pytest.mark.slow),
        pytest.param(PrinterFault.COVER_OPEN, Fault.COVER_OPEN, 40, marks=pytest.mark.slow),
        pytest.param(PrinterFault.CUTTER, Fault.CUTTER_ERROR, 60, marks=pytest.mark.slow),
    ],
)
async def test_a_receipt_fails_in_the_middle_again(
    tmp_path: Path, simulated: PrinterFault, fault: Fault, lines: int
) -> None:
    async with running(tmp_path, "receipt_printer") as rig:
        rig.cores["receipt_printer"].script(simulated, after=20)
        outcome = await printed(rig, 40)
        assert (outcome.state, outcome.fault) == (PrintState.FAILED, fault)
        recording = await recorded(rig, "receipt_printer", fault)
    async with replaying(recording, tmp_path) as rig:
        await rig.until("receipt_printer", DeviceState.READY)
        assert not of("receipt_printer", fault, rig)
        again = await printed(rig, lines)
        assert (again.state, again.fault) == (PrintState.FAILED, fault)
        await wait_for(lambda: of("receipt_printer", fault, rig))


async def test_a_receipt_that_was_printed_is_confirmed_again_by_its_own_mark(tmp_path: Path) -> None:
    async with running(tmp_path, "receipt_printer") as rig:
        assert (await printed(rig, 10)).state is PrintState.PRINTED
        recording = decode_recording(rig.frozen("receipt_printer"))
    async with replaying(recording, tmp_path) as rig:
        await rig.until("receipt_printer", DeviceState.READY)
        assert (await printed(rig, 10)).state is PrintState.PRINTED


async def test_a_pad_that_shows_a_digit_shows_one_again(tmp_path: Path) -> None:
    request = PinRequest(account="200123456789", timeout_s=3.0)

    async def entered(rig: Rig, press: Callable[[], None]) -> Fault:
        async with asyncio.TaskGroup() as group:

            async def enter() -> Fault | None:
                try:
                    await rig.manager.use("pin_pad", lambda driver: cast("Any", driver).enter(request))
                except DeviceFault as error:
                    return error.fault
                return None

            entering = spawn(group, enter(), "enter")
            press()
            await wait_for(entering.done, timeout_s=6.0)
        found = entering.result()
        assert found is not None
        return found

    async with running(tmp_path, "pin_pad", quirks=QUICK["pin_pad"]) as rig:
        core = rig.cores["pin_pad"]
        core.up.add(PadFault.CLEAR_DIGITS)
        loop = asyncio.get_running_loop()
        assert await entered(rig, lambda: cast("Any", loop.call_later(0.1, core.press, "739518"))) is Fault.TAMPERED
        recording = await recorded(rig, "pin_pad", Fault.TAMPERED)
    async with replaying(recording, tmp_path) as rig:
        await rig.until("pin_pad", DeviceState.READY)
        assert await entered(rig, lambda: None) is Fault.TAMPERED


async def test_a_scanner_falls_silent_again(tmp_path: Path) -> None:
    async def scanned(rig: Rig) -> None:
        with suppress(DeviceFault):
            await rig.manager.use("scanner", lambda driver: cast("Any", driver).read_code((), wait_s=1.0))

    async with running(tmp_path, "scanner", quirks=QUICK["scanner"]) as rig:
        rig.cores["scanner"].script(ScannerFault.SILENT, times=100)
        await scanned(rig)
        recording = await recorded(rig, "scanner", Fault.NOT_RESPONDING)
    async with replaying(recording, tmp_path) as rig:
        await rig.until("scanner", DeviceState.READY)
        await scanned(rig)
        assert (await recorded(rig, "scanner", Fault.NOT_RESPONDING)).head.fault == Fault.NOT_RESPONDING


async def test_a_report_printer_runs_out_of_paper_again(tmp_path: Path) -> None:
    async with running(tmp_path, "report_printer") as rig:
        rig.cores["report_printer"].script(PageFault.MEDIA_EMPTY)
        recording = await recorded(rig, "report_printer", Fault.PAPER_OUT)
    async with replaying(recording, tmp_path) as rig:
        await wait_for(lambda: of("report_printer", Fault.PAPER_OUT, rig), timeout_s=6.0)
