"""The driver against ippeveprinter, the IPP Everywhere printer of CUPS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.devices.report_printer.driver import IppReportPrinter
from agent.devices.report_printer.types import Evidence, PrintState, ReportJob, ReportOutcome
from agent.links.ipp import IppAddress, IppLink
from kit.clock import SystemClock
from support.ippeve import BOTH_EMPTY, BOTH_FULL, BOTH_LOW, IppEvePrinter
from support.owner import RecordingOwner
from support.pdf import pdf
from support.waiting import wait_for
from wire.faults import Fault
from wire.profile import Capability, DeviceProfile, LinkKind, LinkProfile

pytestmark = [pytest.mark.timeout(60)]

PROFILE = DeviceProfile(
    vendor="CUPS",
    model="ippeveprinter",
    capability=Capability.REPORT_PRINTER,
    link=LinkProfile(kind=LinkKind.IPP),
    dialect="ipp",
    quirks={"job_poll_s": 0.1, "poll_s": 0.1, "wait_s": 20},
)


@pytest.fixture
async def real(tmp_path: Path) -> AsyncIterator[IppEvePrinter]:
    async with IppEvePrinter(tmp_path, pages=3) as printer:
        yield printer


async def test_print_then_paper_and_toner(real: IppEvePrinter) -> None:
    link, owner = IppLink(IppAddress("127.0.0.1", real.port)), RecordingOwner()
    await link.open()
    printer = IppReportPrinter(link, PROFILE, owner, SystemClock())
    try:
        await printer.start()
        document = pdf(3)
        outcome = await printer.print_report(ReportJob("report-1", document))
        assert outcome == ReportOutcome(PrintState.PRINTED, Evidence.PAGES, was_sent=True, pages=3, impressions=3)
        await wait_for(lambda: len(real.printed) == 1, what="the document")
        assert real.printed[0].read_bytes() == document
        for form, fault in ((BOTH_LOW, Fault.PAPER_LOW), (BOTH_EMPTY, Fault.PAPER_OUT)):
            await real.media(form)
            await printer.start()
            assert owner.faults == {fault}
        refused = await printer.print_report(ReportJob("report-2", document))
        assert (refused.fault, refused.was_sent) == (Fault.PAPER_OUT, False)
        await real.media(BOTH_FULL)
        await real.supplies("supply0=1&supply1=3")
        await printer.start()
        assert owner.faults == {Fault.TONER_LOW}
        assert (await printer.find_outcome("report-1", pages=3)).state is PrintState.PRINTED
    finally:
        await link.close()


async def test_an_empty_tray_waits_for_the_refill(real: IppEvePrinter) -> None:
    link, owner = IppLink(IppAddress("127.0.0.1", real.port)), RecordingOwner()
    await link.open()
    printer = IppReportPrinter(link, PROFILE, owner, SystemClock())
    try:
        await printer.start()
        await real.media(BOTH_EMPTY)
        async with asyncio.TaskGroup() as group:
            # Sent past the driver's own look at the tray, as when the last sheet goes between the look and the job.
            taken = await printer._dialogue.print_job(
                "report-3", pdf(3), media="iso_a4_210x297mm", sides="one-sided", timeout_s=10.0
            )
            assert taken.number is not None
            following = group.create_task(printer._follow(taken.number, 3))
            await wait_for(lambda: Fault.PAPER_OUT in owner.faults, what="the empty tray")
            await real.media(BOTH_FULL)
        assert following.result().state is PrintState.PRINTED
    finally:
        await link.close()
