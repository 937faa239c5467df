"""The driver behind a queue of a real cupsd, in front of our simulated printer: a queue is not taken at its word."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from agent.devices.report_printer.driver import IppReportPrinter
from agent.devices.report_printer.types import Evidence, PrintState, ReportJob, ReportOutcome
from agent.links.ipp import IppAddress, IppLink
from kit.clock import SystemClock
from kit.supervise import spawn
from simulators.devices.report_printer import PrinterFault, ReportPrinterCore
from simulators.devices.report_printer_server import ReportPrinterServer
from support.cupsd import QUEUE, CupsQueue
from support.owner import RecordingOwner
from support.pdf import pdf
from support.waiting import wait_for
from wire.faults import Fault
from wire.profile import Capability, DeviceProfile, LinkKind, LinkProfile

pytestmark = [pytest.mark.timeout(60)]

PRINTED = ReportOutcome(PrintState.PRINTED, Evidence.STATE, was_sent=True, pages=3, impressions=None)


def _profile(**more: float) -> DeviceProfile:
    return DeviceProfile(
        vendor="CUPS",
        model="queue",
        capability=Capability.REPORT_PRINTER,
        link=LinkProfile(kind=LinkKind.IPP),
        dialect="ipp",
        quirks={"job_poll_s": 0.05, "poll_s": 0.2, "wait_s": 20, "stall_s": 20, "contact_s": 4, **more},
    )


@dataclass
class Rig:
    """A printer, the queue before it, and the driver before both."""

    core: ReportPrinterCore
    server: ReportPrinterServer
    queue: CupsQueue
    driver: IppReportPrinter
    owner: RecordingOwner
    group: asyncio.TaskGroup

    async def print(self, name: str = "1-1") -> ReportOutcome:
        """A report of three pages."""
        return await self.driver.print_report(ReportJob(name, pdf(3)))

    def begin(self, name: str = "1-1") -> asyncio.Task[ReportOutcome]:
        """The same, under way."""
        return spawn(self.group, self.print(name), "report")

    @property
    def came_out(self) -> list[int]:
        """Pages of each document that reached the printer."""
        return [job.printed for job in self.core.jobs.values()]


@asynccontextmanager
async def _rig(page_s: float = 0.02, **more: float) -> AsyncIterator[Rig]:
    core = ReportPrinterCore(page_s=page_s)
    async with ReportPrinterServer(core, time.monotonic) as server:
        uri = f"ipp://127.0.0.1:{server.port}/ipp/print"
        async with CupsQueue(uri) as queue, asyncio.TaskGroup() as group:
            link, owner = IppLink(IppAddress("127.0.0.1", queue.port, f"/printers/{QUEUE}")), RecordingOwner()
            await link.open()
            driver = IppReportPrinter(link, _profile(**more), owner, SystemClock())
            try:
                await driver.start()
                yield Rig(core, server, queue, driver, owner, group)
            finally:
                await link.close()


async def test_print_then_an_empty_tray_and_a_refill() -> None:
    async with _rig() as rig:
        assert await rig.print() == PRINTED
        rig.core.script(PrinterFault.MEDIA_EMPTY, after=1)
        waiting = rig.begin("2-1")
        await wait_for(lambda: Fault.PAPER_OUT in rig.owner.faults, what="the empty tray", timeout_s=10.0)
        assert not waiting.done()
        rig.core.repair()
        assert await waiting == PRINTED
        await rig.driver.start()
        assert rig.owner.faults == set()
        assert rig.came_out == [3, 3]


async def test_the_count_of_a_queue_is_not_believed() -> None:
    """It counted three pages as made ready while one came out: neither printed nor `3 impressions`."""
    async with _rig(wait_s=1.0) as rig:
        rig.core.script(PrinterFault.JAM, after=1)
        outcome = await rig.print()
        assert (outcome.state, outcome.fault, outcome.impressions) == (PrintState.FAILED, Fault.PAPER_JAM, None)
        assert rig.came_out == [1]


async def _given_up(rig: Rig) -> None:
    """A report that met an empty tray and was called off, then a refill."""
    rig.core.script(PrinterFault.MEDIA_EMPTY, after=1)
    waiting = rig.begin()
    await wait_for(lambda: Fault.PAPER_OUT in rig.owner.faults, what="the empty tray", timeout_s=10.0)
    assert await rig.driver.cancel("1-1")
    assert (await waiting).state is PrintState.FAILED
    rig.core.repair()


async def test_what_an_idle_queue_repeats_is_forgotten() -> None:
    """It says `media empty` for ever after a job that was given up because of it, refilled or not."""
    async with _rig(doubt_s=1.5) as rig:
        await _given_up(rig)
        looking = spawn(rig.group, rig.driver.run(), "driver")
        await wait_for(_is_idle(rig), what="an empty queue", timeout_s=10.0)
        assert rig.owner.faults == {Fault.PAPER_OUT}
        await wait_for(lambda: rig.owner.faults == set(), what="the doubt to end", timeout_s=10.0)
        assert [reason.keyword for reason in (await rig.driver._dialogue.printer()).reasons] == ["media-empty"]
        looking.cancel()
        assert await rig.print("2-1") == PRINTED


@pytest.mark.slow
async def test_an_engineers_test_print_ends_it_at_once() -> None:
    async with _rig() as rig:
        await _given_up(rig)
        assert await rig.print("2-1") == PRINTED
        await rig.driver.start()
        assert rig.owner.faults == set()


@pytest.mark.slow
async def test_a_printer_that_gives_up() -> None:
    async with _rig() as rig:
        rig.core.script(PrinterFault.ABORT, after=1)
        outcome = await rig.print()
        assert (outcome.state, outcome.was_sent, outcome.impressions) == (PrintState.FAILED, True, None)
        assert rig.came_out == [1]


@pytest.mark.slow
async def test_a_queue_that_somebody_stopped() -> None:
    async with _rig() as rig:
        await rig.queue.disable()
        outcome = await rig.print()
        assert (outcome.state, outcome.was_sent, outcome.fault) == (PrintState.FAILED, False, Fault.DEVICE_ERROR)
        await rig.queue.enable()
        assert await rig.print("1-2") == PRINTED
        assert rig.came_out == [3]


@pytest.mark.slow
async def test_a_printer_that_is_off() -> None:
    """The queue takes the report all the same; it is cancelled before the next patient could find it."""
    async with _rig(wait_s=2.0, stall_s=4.0, page_s=0.1) as rig:
        port = rig.server.port
        await rig.server.close()
        outcome = await rig.print()
        assert outcome.state is PrintState.FAILED
        assert outcome.was_sent
        await rig.server.open(port)
        await wait_for(_is_idle(rig), what="an empty queue", timeout_s=20.0)
        assert rig.came_out == []
        assert await rig.print("2-1") == PRINTED


@pytest.mark.slow
async def test_a_report_is_called_off() -> None:
    async with _rig(page_s=1.0) as rig:
        printing = rig.begin()
        await wait_for(lambda: sum(rig.came_out) > 0, what="the first page", timeout_s=10.0)
        assert await rig.driver.cancel("1-1")
        outcome = await printing
        assert (outcome.state, outcome.detail) == (PrintState.FAILED, "cancelled by request")
        assert rig.came_out[0] < 3


@pytest.mark.slow
async def test_cupsd_killed_and_started_again() -> None:
    """It sends the job of its disk once more, on top of what the printer has: nobody knows what came out."""
    async with _rig(page_s=0.3, contact_s=20.0) as rig:
        printing = rig.begin()
        await wait_for(lambda: sum(rig.came_out) > 0, what="the first page", timeout_s=10.0)
        await rig.queue.kill()
        await rig.queue.restart()
        outcome = await printing
        assert (outcome.state, outcome.fault) == (PrintState.UNKNOWN, Fault.PRINT_UNKNOWN)


@pytest.mark.slow
async def test_cupsd_gone_for_good_and_back_later() -> None:
    """The outcome is unknown; what the queue holds is not sent again, what the printer has nobody gets back."""
    async with _rig(contact_s=0.5) as rig:
        rig.core.script(PrinterFault.MEDIA_EMPTY, after=1)
        printing = rig.begin()
        await wait_for(lambda: Fault.PAPER_OUT in rig.owner.faults, what="the empty tray", timeout_s=10.0)
        await rig.queue.kill()
        assert (await printing).state is PrintState.UNKNOWN
        await rig.queue.restart()
        await rig.driver.start()
        looking = spawn(rig.group, rig.driver.run(), "driver")
        await wait_for(_is_idle(rig), what="an empty queue", timeout_s=20.0)
        looking.cancel()
        rig.core.repair()
        assert await rig.print("2-1") == PRINTED
        assert len(rig.came_out) == 2, "one that the printer had already, one after it; the queue sent none again"


def _is_idle(rig: Rig):  # type: ignore[no-untyped-def] # noqa: ANN202 - a condition
    async def look() -> bool:
        return not await rig.driver._open_jobs()

    return look
