"""The driver against the simulated printer, over a real connection; every fault the simulator knows."""

from __future__ import annotations

import asyncio

import pytest

from agent.devices.report_printer.driver import IppReportPrinter
from agent.devices.report_printer.types import Evidence, PrintState, ReportJob, ReportOutcome
from agent.errors import DeviceFault
from agent.links.base import LinkError
from agent.links.ipp import IppLink
from kit.clock import SystemClock
from simulators.devices.report_printer import JobState, PrinterFault, ReportPrinterCore
from simulators.devices.report_printer_server import ReportPrinterServer
from support.owner import RecordingOwner
from support.pdf import pdf
from support.waiting import wait_for
from wire.faults import Fault
from wire.profile import Capability, DeviceProfile, LinkKind, LinkProfile

THREE = ReportJob("job-3", pdf(3))


def _profile_of(printer: IppReportPrinter, **more: float | bool | str) -> DeviceProfile:
    quirks = printer._options.model_dump(exclude_unset=True) | more
    return DeviceProfile(
        vendor="Simulated",
        model="A4",
        capability=Capability.REPORT_PRINTER,
        link=LinkProfile(kind=LinkKind.IPP),
        dialect="ipp",
        quirks=quirks,
    )


@pytest.fixture
def core(server: ReportPrinterServer) -> ReportPrinterCore:
    return server.core


async def test_start_tells_what_it_is(printer: IppReportPrinter, owner: RecordingOwner) -> None:
    facts = await printer.start()
    assert (facts.model, facts.firmware, facts.serial) == ("Simulated A4", "1.0", "SIM0001")
    assert owner.last.values == {"paper": "full", "toner": "full", "toner_percent": 80, "impressions_total": 0}
    assert owner.faults == set()


async def test_a_report_is_printed_when_all_pages_were_counted(
    printer: IppReportPrinter, core: ReportPrinterCore
) -> None:
    outcome = await printer.print_report(THREE)
    assert outcome == ReportOutcome(PrintState.PRINTED, Evidence.PAGES, was_sent=True, pages=3, impressions=3)
    assert core.taken == ["job-3"]


async def test_duplex_only_where_both_can(printer: IppReportPrinter, core: ReportPrinterCore) -> None:
    await printer.start()
    await printer.print_report(ReportJob("one", pdf(2)))
    await printer.print_report(ReportJob("two", pdf(2), duplex=True))
    core.duplex = False
    await printer.start()
    await printer.print_report(ReportJob("three", pdf(2), duplex=True))
    assert [job.sides for job in core.jobs.values()] == ["one-sided", "two-sided-long-edge", "one-sided"]


async def test_an_empty_tray_waits_and_goes_on_after_the_refill(
    printer: IppReportPrinter, core: ReportPrinterCore, owner: RecordingOwner
) -> None:
    core.script(PrinterFault.MEDIA_EMPTY, after=1)
    async with asyncio.TaskGroup() as group:
        printing = group.create_task(printer.print_report(THREE))
        await wait_for(lambda: Fault.PAPER_OUT in owner.faults, what="the tray to be empty")
        assert core.jobs[1].state is JobState.STOPPED
        assert owner.last.values["paper"] == "out"
        core.repair(PrinterFault.MEDIA_EMPTY)
    assert printing.result().state is PrintState.PRINTED
    assert core.taken == ["job-3"]
    assert owner.faults == set()


@pytest.mark.parametrize(
    ("scripted", "fault"),
    [
        (PrinterFault.MEDIA_EMPTY, Fault.PAPER_OUT),
        (PrinterFault.JAM, Fault.PAPER_JAM),
        (PrinterFault.DOOR_OPEN, Fault.COVER_OPEN),
        (PrinterFault.TONER_EMPTY, Fault.TONER_EMPTY),
        (PrinterFault.OUTPUT_FULL, Fault.OUTPUT_FULL),
    ],
)
async def test_nobody_repairs_it_so_the_job_is_cancelled(
    printer: IppReportPrinter, core: ReportPrinterCore, scripted: PrinterFault, fault: Fault
) -> None:
    core.script(scripted, after=1)
    outcome = await printer.print_report(THREE)
    assert (outcome.state, outcome.fault, outcome.impressions) == (PrintState.FAILED, fault, 1)
    assert core.jobs[1].state is JobState.CANCELED
    core.repair()
    assert core.pages_total == 1, "nothing comes out after the repair"
    assert core.taken == ["job-3"]


@pytest.mark.parametrize(
    ("scripted", "fault"),
    [
        (PrinterFault.MEDIA_EMPTY, Fault.PAPER_OUT),
        (PrinterFault.JAM, Fault.PAPER_JAM),
        (PrinterFault.BUSY, Fault.DEVICE_BUSY),
        (PrinterFault.HTTP_ERROR, Fault.UNPLUGGED),
    ],
)
async def test_what_is_known_before_sends_nothing(
    printer: IppReportPrinter, core: ReportPrinterCore, scripted: PrinterFault, fault: Fault
) -> None:
    core.script(scripted)
    outcome = await printer.print_report(THREE)
    assert (outcome.state, outcome.evidence, outcome.fault) == (PrintState.FAILED, Evidence.REFUSED, fault)
    assert not outcome.was_sent
    assert core.taken == []


@pytest.mark.parametrize("scripted", [PrinterFault.MEDIA_LOW, PrinterFault.TONER_LOW])
async def test_warnings_do_not_stop_a_report(
    printer: IppReportPrinter, core: ReportPrinterCore, owner: RecordingOwner, scripted: PrinterFault
) -> None:
    core.script(scripted)
    assert (await printer.print_report(THREE)).state is PrintState.PRINTED
    assert len(owner.faults) == 1


async def test_toner_is_read_from_printer_supply_too(
    printer: IppReportPrinter, core: ReportPrinterCore, owner: RecordingOwner
) -> None:
    core.uses_markers, core.toner_percent = False, 7
    await printer.start()
    assert owner.last.faults == {Fault.TONER_LOW: "toner 7 %"}


async def test_an_aborted_job_failed(printer: IppReportPrinter, core: ReportPrinterCore) -> None:
    core.script(PrinterFault.ABORT, after=2)
    outcome = await printer.print_report(THREE)
    assert (outcome.state, outcome.fault, outcome.impressions) == (PrintState.FAILED, Fault.DEVICE_ERROR, 2)


@pytest.mark.parametrize("scripted", [PrinterFault.COUNT_SHORT, PrinterFault.COUNT_NOTHING])
async def test_completed_without_the_pages_is_unknown(
    printer: IppReportPrinter, core: ReportPrinterCore, scripted: PrinterFault
) -> None:
    core.script(scripted)
    outcome = await printer.print_report(THREE)
    assert (outcome.state, outcome.fault) == (PrintState.UNKNOWN, Fault.PRINT_UNKNOWN)


async def test_a_model_that_does_not_count_has_weaker_evidence(
    link: IppLink, core: ReportPrinterCore, owner: RecordingOwner, printer: IppReportPrinter
) -> None:
    core.script(PrinterFault.COUNT_NOTHING)
    plain = IppReportPrinter(link, _profile_of(printer, impressions=False), owner, SystemClock())
    outcome = await plain.print_report(THREE)
    assert (outcome.state, outcome.evidence) == (PrintState.PRINTED, Evidence.STATE)


async def test_a_jam_with_the_last_sheet_leaves_the_outcome_unknown(
    printer: IppReportPrinter, core: ReportPrinterCore
) -> None:
    core.script(PrinterFault.JAM, after=3)
    outcome = await printer.print_report(THREE)
    assert (outcome.state, outcome.detail) == (PrintState.UNKNOWN, "completed with media-jam")


async def test_the_last_sheet_of_the_tray_is_still_printed(
    printer: IppReportPrinter, core: ReportPrinterCore, owner: RecordingOwner
) -> None:
    core.script(PrinterFault.MEDIA_EMPTY, after=3)
    assert (await printer.print_report(THREE)).state is PrintState.PRINTED
    assert owner.faults == {Fault.PAPER_OUT}


async def test_a_broken_connection_after_the_document_is_looked_up_not_repeated(
    printer: IppReportPrinter, core: ReportPrinterCore
) -> None:
    core.script(PrinterFault.DROP_AFTER_DOCUMENT)
    outcome = await printer.print_report(THREE)
    assert (outcome.state, outcome.impressions) == (PrintState.PRINTED, 3)
    assert core.taken == ["job-3"]


async def test_a_broken_connection_inside_the_document_is_unknown(
    printer: IppReportPrinter, core: ReportPrinterCore
) -> None:
    core.script(PrinterFault.DROP_IN_DOCUMENT)
    outcome = await printer.print_report(ReportJob("job", pdf(1, padding=500_000)))
    assert (outcome.state, outcome.was_sent) == (PrintState.UNKNOWN, True)
    assert core.taken == [], "and it was not sent again"


@pytest.mark.parametrize("scripted", [PrinterFault.GARBAGE, PrinterFault.CUT_REPLY, PrinterFault.HTTP_ERROR])
async def test_nonsense_while_it_prints_is_asked_again(
    printer: IppReportPrinter, core: ReportPrinterCore, scripted: PrinterFault
) -> None:
    core.script(scripted, after=2, times=3)
    outcome = await printer.print_report(THREE)
    assert outcome.state is PrintState.PRINTED
    assert core.taken == ["job-3"]


async def test_silence_while_it_prints_is_unknown(printer: IppReportPrinter, core: ReportPrinterCore) -> None:
    core.script(PrinterFault.SILENT, after=2, times=100)
    outcome = await printer.print_report(THREE)
    assert (outcome.state, outcome.detail) == (PrintState.UNKNOWN, "the printer fell silent while it printed")


async def test_a_pulled_cable_while_it_prints_is_unknown(
    printer: IppReportPrinter, server: ReportPrinterServer
) -> None:
    server.core.page_s = 0.2
    async with asyncio.TaskGroup() as group:
        printing = group.create_task(printer.print_report(THREE))
        await wait_for(lambda: server.core.pages_total >= 1, what="a page")
        await server.close()
    assert printing.result().state is PrintState.UNKNOWN


async def test_a_job_that_makes_no_progress_is_cancelled(printer: IppReportPrinter, core: ReportPrinterCore) -> None:
    core.script(PrinterFault.STUCK)
    outcome = await printer.print_report(THREE)
    assert (outcome.state, outcome.detail) == (PrintState.FAILED, "no progress")


async def test_a_forgotten_job_is_unknown(printer: IppReportPrinter, core: ReportPrinterCore) -> None:
    core.script(PrinterFault.FORGET, after=3)
    outcome = await printer.print_report(THREE)
    assert (outcome.state, outcome.detail) == (PrintState.UNKNOWN, "the printer forgot the job")


async def test_cancel_stops_what_prints_and_only_that(printer: IppReportPrinter, core: ReportPrinterCore) -> None:
    core.page_s = 5.0
    async with asyncio.TaskGroup() as group:
        printing = group.create_task(printer.print_report(THREE))
        await wait_for(lambda: core.taken, what="the job")
        assert not await printer.cancel("another")
        assert await printer.cancel("job-3")
    outcome = printing.result()
    assert (outcome.state, outcome.detail, outcome.impressions) == (PrintState.FAILED, "cancelled by request", 0)
    assert not await printer.cancel("job-3")


async def test_the_outcome_of_an_earlier_report_can_be_asked(
    printer: IppReportPrinter, core: ReportPrinterCore
) -> None:
    await printer.print_report(THREE)
    found = await printer.find_outcome("job-3", pages=3)
    assert (found.state, found.evidence) == (PrintState.PRINTED, Evidence.PAGES)
    assert (await printer.find_outcome("never", pages=1)).state is PrintState.UNKNOWN
    assert core.taken == ["job-3"]


@pytest.mark.parametrize("document", [b"", pdf(200), pdf(1)[:-50]], ids=["empty", "too-long", "cut"])
async def test_documents_nobody_should_print_never_leave(
    printer: IppReportPrinter, core: ReportPrinterCore, document: bytes
) -> None:
    outcome = await printer.print_report(ReportJob("bad", document))
    assert (outcome.state, outcome.was_sent) == (PrintState.FAILED, False)
    assert core.messages == 0


async def test_a_silent_printer_is_asked_twice(printer: IppReportPrinter, core: ReportPrinterCore) -> None:
    core.script(PrinterFault.SILENT)
    await printer.start()
    core.script(PrinterFault.SILENT, times=2)
    with pytest.raises(DeviceFault) as caught:
        await printer.start()
    assert caught.value.fault is Fault.NOT_RESPONDING


async def test_nonsense_and_the_wrong_model_are_named(
    printer: IppReportPrinter, link: IppLink, core: ReportPrinterCore, owner: RecordingOwner
) -> None:
    core.script(PrinterFault.GARBAGE)
    with pytest.raises(DeviceFault) as caught:
        await printer.start()
    assert caught.value.fault is Fault.PROTOCOL_ERROR
    other = IppReportPrinter(link, _profile_of(printer, model_answer="Lexmark"), owner, SystemClock())
    with pytest.raises(DeviceFault) as caught:
        await other.start()
    assert caught.value.fault is Fault.WRONG_DEVICE


async def test_the_watch_tells_of_changes_and_of_a_pulled_cable(
    printer: IppReportPrinter, server: ReportPrinterServer, owner: RecordingOwner
) -> None:
    await printer.start()

    async def watch() -> None:
        with pytest.raises(LinkError):
            await printer.run()

    async with asyncio.TaskGroup() as group:
        group.create_task(watch())
        server.core.script(PrinterFault.DOOR_OPEN)
        await wait_for(lambda: owner.faults == {Fault.COVER_OPEN}, what="the open door")
        server.core.repair()
        await wait_for(lambda: owner.faults == set(), what="the closed door")
        await server.close()


def test_a_report_does_not_show_itself() -> None:
    assert "PDF" not in repr(ReportJob("job", b"%PDF-secret"))
