"""A4 printers that speak IPP (RFC 8011), directly or behind CUPS.

A report is sent once. It is `printed` when the printer calls the job completed, counted as many impressions as the
report has pages and reports nothing that spoils them. A job that stops for want of paper waits and goes on after the
refill; one that waits too long is cancelled, so that it cannot come out in front of the next patient. When the
connection breaks while a report is sent, the printer's own list of jobs is asked, and whatever it does not answer is
`unknown`; a job that nobody follows any more is cancelled. What a queue of CUPS counts is what it made ready, so
behind one the word of the printer, passed on while a job runs, is all there is. Never seen on hardware.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace

from agent.devices.report_printer.attributes import (
    BLOCKING,
    JobReport,
    JobState,
    PrinterReport,
    PrinterState,
    fault_of,
    faults_of,
    spoils,
    words_of,
)
from agent.devices.report_printer.dialogue import Dialogue, IppExchange, IppRefused, has_ended
from agent.devices.report_printer.frames import IppError
from agent.devices.report_printer.options import Options
from agent.devices.report_printer.pages import PdfRefused, agreed_pages
from agent.devices.report_printer.types import Evidence, PrintState, ReportJob, ReportOutcome
from agent.devices.types import DeviceFacts, DeviceStatus, Owner
from agent.errors import DeviceFault
from agent.links.base import LinkError, LinkLost, LinkTimeout
from kit.blocking import CallTimeout, DeviceThread
from kit.clock import Clock
from kit.logs import get_logger
from wire.consumables import CONSUMABLE_USED
from wire.faults import Fault
from wire.profile import DeviceProfile

_PDF = "application/pdf"
_COUNT_S = 10.0
_log = get_logger(__name__)


@dataclass(slots=True)
class _Watch:
    """Since when a job does what it does, in monotonic seconds."""

    heard_s: float
    progress_s: float
    seen: tuple[JobState, int | None] = (JobState.UNKNOWN, None)
    blocked_s: float | None = None
    blocked_by: Fault | None = None
    completed_s: float | None = None
    cancelled_s: float | None = None
    given_up: tuple[Fault | None, str] = (None, "")
    was_lost: bool = False
    """The connection broke or was refused meanwhile."""


class IppReportPrinter:
    """A `Driver` and a `ReportPrinter`."""

    def __init__(self, link: IppExchange, profile: DeviceProfile, owner: Owner, clock: Clock) -> None:
        self._options = Options.of(profile)
        self._dialogue = Dialogue(link, answer_s=self._options.answer_s)
        self._owner = owner
        self._clock = clock
        self._lock = asyncio.Lock()
        self._running: str | None = None
        self._cancel = False
        self._sides: frozenset[str] = frozenset()
        self._counts = self._options.impressions
        self._idle_since_s: float | None = None
        self._strays: frozenset[int] = frozenset()
        """Our jobs that were open at the last look although none is followed."""

    async def start(self) -> DeviceFacts:
        """See `Driver`."""
        report = await self._ask_printer()
        expected = self._options.model_answer
        if expected is not None and expected not in (report.model or ""):
            raise DeviceFault(Fault.WRONG_DEVICE, "another model answers")
        if report.formats and _PDF not in report.formats:
            raise DeviceFault(Fault.WRONG_DEVICE, "takes no PDF")
        self._sides = report.sides
        self._counts = self._options.impressions and not report.is_queue
        self._tell(report)
        return DeviceFacts(report.model, report.firmware, report.serial)

    async def run(self) -> None:
        """See `Driver`."""
        while True:
            await asyncio.sleep(self._options.poll_s)
            if self._running is None:  # a running job asks by itself, and more often
                report = await self._ask_printer()
                self._tell(report)
                await self._look_for_strays(report)

    async def stop(self) -> None:
        """See `Driver`: a job that runs is the printer's, and its outcome can be asked later."""

    async def print_report(self, job: ReportJob) -> ReportOutcome:
        """See `ReportPrinter`."""
        async with self._lock:
            self._running, self._cancel = job.job_id, False
            try:
                outcome = await self._print(job)
            finally:
                self._running = None
        if outcome.state is not PrintState.FAILED and (sides := outcome.impressions or outcome.pages):
            self._owner.event(CONSUMABLE_USED, {"paper": (sides + 1) // 2 if job.duplex else sides})
        _log.info(
            "report.ended",
            job_id=job.job_id,
            state=outcome.state,
            evidence=outcome.evidence,
            fault=outcome.fault,
            pages=outcome.pages,
            impressions=outcome.impressions,
        )
        return outcome

    async def cancel(self, job_id: str) -> bool:
        """See `ReportPrinter`."""
        if self._running != job_id:
            return False
        self._cancel = True
        return True

    async def find_outcome(self, job_id: str, *, pages: int) -> ReportOutcome:
        """See `ReportPrinter`."""
        async with self._lock:
            self._running, self._cancel = job_id, False
            try:
                return await self._recover(job_id, pages, "the printer does not know the job")
            finally:
                self._running = None

    # --- jobs that nobody follows ------------------------------------------------------------------------

    async def _look_for_strays(self, report: PrinterReport) -> None:
        """Cancel a job of ours that nobody follows any more, and that is still there at the second look.

        Its patient has gone: it must not come out in front of the next one. A queue of CUPS keeps jobs for ever.
        """
        strays = frozenset[int]() if report.state is PrinterState.IDLE else await self._open_jobs()
        await self._drop(strays & self._strays)
        self._strays = strays

    async def _open_jobs(self) -> frozenset[int]:
        try:
            return await self._dialogue.open_jobs()
        except (LinkError, IppError, IppRefused):
            return frozenset()

    async def _drop(self, numbers: frozenset[int]) -> None:
        for number in sorted(numbers):
            _log.warning("report.stray_cancelled", number=number)
            with suppress(LinkError, IppError):
                await self._dialogue.cancel(number)

    # --- before a report ---------------------------------------------------------------------------------

    async def _ask_printer(self) -> PrinterReport:
        """How the printer is, asked twice when the first answer does not come."""
        try:
            try:
                report = await self._dialogue.printer()
            except LinkTimeout:
                report = await self._dialogue.printer()
        except LinkTimeout as late:
            raise DeviceFault(Fault.NOT_RESPONDING, "no answer to a question about its state") from late
        except IppError as error:
            raise DeviceFault(Fault.PROTOCOL_ERROR, str(error)) from error
        except IppRefused as refused:
            raise DeviceFault(Fault.WRONG_DEVICE, str(refused)) from refused
        self._owner.alive()
        return report

    def _tell(self, report: PrinterReport) -> dict[Fault, str]:
        report = self._believed(report)
        faults = faults_of(report, toner_low_percent=self._options.toner_low_percent)
        self._owner.status(DeviceStatus(faults, words_of(report, faults)))
        return faults

    def _believed(self, report: PrinterReport) -> PrinterReport:
        """An idle queue repeats for ever what its printer said during the last job: after a while it is forgotten.

        The next report then finds out; or the test print of an engineer, at once.
        """
        if not report.is_queue or report.state is not PrinterState.IDLE:
            self._idle_since_s = None
            return report
        now_s = self._clock.monotonic()
        if self._idle_since_s is None:
            self._idle_since_s = now_s
        return replace(report, reasons=()) if now_s - self._idle_since_s >= self._options.doubt_s else report

    async def _count(self, job: ReportJob) -> int:
        thread = DeviceThread("report-pages")
        try:
            return await thread.call(agreed_pages, job.pdf, job.pages, self._options.limits(), timeout_s=_COUNT_S)
        except CallTimeout as late:
            raise PdfRefused("its pages take too long to count") from late
        finally:
            thread.close(timeout_s=0)

    async def _make_ready(self) -> None:
        """Raise unless the printer can begin right now."""
        report = await self._ask_printer()
        faults = self._tell(report)
        is_hearsay = report.is_queue and report.state is PrinterState.IDLE
        for fault in faults:
            if fault in BLOCKING and not is_hearsay:
                raise DeviceFault(fault, faults[fault])
        if report.state is not PrinterState.IDLE and (strays := await self._open_jobs()):
            await self._drop(strays)
            raise DeviceFault(Fault.DEVICE_BUSY, "an earlier report is still on its way")
        if report.accepts_jobs is False or report.state is PrinterState.PROCESSING:
            raise DeviceFault(Fault.DEVICE_BUSY, "busy with another job or accepts none")

    # --- printing ----------------------------------------------------------------------------------------

    async def _print(self, job: ReportJob) -> ReportOutcome:
        try:
            pages = await self._count(job)
            await self._make_ready()
        except PdfRefused as refused:
            return _not_sent(refused.fault, str(refused))
        except DeviceFault as error:
            return _not_sent(error.fault, error.detail)
        except LinkError:
            return _not_sent(Fault.UNPLUGGED, "not reachable before the report was sent")
        duplex = job.duplex and self._options.duplex and (not self._sides or "two-sided-long-edge" in self._sides)
        try:
            taken = await self._dialogue.print_job(
                job.job_id,
                job.pdf,
                media=self._options.media,
                sides="two-sided-long-edge" if duplex else "one-sided",
                timeout_s=self._options.send_s,
            )
        except IppRefused as refused:
            return _not_sent(Fault.DEVICE_BUSY if refused.is_busy else Fault.DEVICE_ERROR, str(refused))
        except (LinkError, IppError):
            return await self._recover(job.job_id, pages, "the connection broke while the report was sent")
        assert taken.number is not None  # noqa: S101 - print_job refuses a job without one
        return await self._follow(taken.number, pages)

    async def _recover(self, name: str, pages: int, why: str) -> ReportOutcome:
        """Find a job of which no answer came in the printer's own list; nothing is sent again."""
        until_s = self._clock.monotonic() + self._options.contact_s
        while True:
            try:
                found = await self._dialogue.job_named(name)
            except (LinkError, IppError, IppRefused):
                if self._clock.monotonic() >= until_s:
                    return _unknown(pages, None, why)
                await asyncio.sleep(self._options.job_poll_s)
                continue
            if found is None or found.number is None:
                return _unknown(pages, None, why)
            return await self._follow(found.number, pages)

    async def _follow(self, number: int, pages: int) -> ReportOutcome:
        """Ask after a job until it ended, or until nothing more can be learned of it."""
        now_s = self._clock.monotonic()
        watch = _Watch(heard_s=now_s, progress_s=now_s)
        while True:
            try:
                job = await self._dialogue.job(number)
                printer = await self._dialogue.printer()
            except (LinkError, IppError, IppRefused) as error:
                watch.was_lost |= isinstance(error, LinkLost)
                if self._clock.monotonic() - watch.heard_s >= self._options.contact_s:
                    return _unknown(pages, self._said(watch.seen[1]), "the printer fell silent while it printed")
                await asyncio.sleep(self._options.job_poll_s)
                continue
            watch.heard_s = self._clock.monotonic()
            self._owner.alive()
            faults = self._tell(printer)
            if job is None:
                return _unknown(pages, self._said(watch.seen[1]), "the printer forgot the job")
            if has_ended(job):
                outcome = self._judge(job, printer, pages, watch)
                if outcome is not None:
                    return outcome
            elif (outcome := await self._keep_watch(number, pages, job, faults, watch)) is not None:
                return outcome
            await asyncio.sleep(self._options.job_poll_s)

    async def _keep_watch(
        self, number: int, pages: int, job: JobReport, faults: dict[Fault, str], watch: _Watch
    ) -> ReportOutcome | None:
        """Decide about a job that has not ended: wait on, cancel it, or give up on it."""
        now_s = watch.heard_s
        if watch.cancelled_s is not None:
            if now_s - watch.cancelled_s >= self._options.cancel_s:
                return _unknown(pages, self._said(job.impressions), "the printer does not end a cancelled job")
            return None
        reason = self._reason_to_cancel(job, faults, watch, pages)
        if reason is not None:
            watch.cancelled_s, watch.given_up = now_s, reason
            try:
                await self._dialogue.cancel(number)
            except (LinkError, IppError):
                return None  # asked after like any other; an open job ends as unknown
        return None

    def _reason_to_cancel(
        self, job: JobReport, faults: dict[Fault, str], watch: _Watch, pages: int
    ) -> tuple[Fault | None, str] | None:
        now_s = watch.heard_s
        if self._cancel:
            return None, "cancelled by request"
        blocked_by = next((fault for fault in faults if fault in BLOCKING), None)
        if blocked_by is None and job.state is JobState.STOPPED:
            blocked_by = next((fault for reason in job.reasons if (fault := fault_of(reason))), Fault.DEVICE_ERROR)
        if (job.state, job.impressions) != watch.seen:
            watch.seen, watch.progress_s = (job.state, job.impressions), now_s
        if blocked_by is None:
            if watch.blocked_by is not None:
                watch.blocked_by, watch.blocked_s, watch.progress_s = None, None, now_s
            patience_s = self._options.stall_s + (0.0 if self._counts else pages * self._options.page_s)
            stalled = now_s - watch.progress_s >= patience_s
            return (Fault.DEVICE_ERROR, "no progress") if stalled else None
        if watch.blocked_s is None:
            watch.blocked_s = now_s
        watch.blocked_by = blocked_by
        too_long = now_s - watch.blocked_s >= self._options.wait_s
        return (blocked_by, "waited too long") if too_long else None

    def _said(self, impressions: int | None) -> int | None:
        """A count that means something."""
        return impressions if self._counts else None

    def _judge(self, job: JobReport, printer: PrinterReport, pages: int, watch: _Watch) -> ReportOutcome | None:
        """The outcome of a job that ended; None to look once more."""
        if job.state is JobState.COMPLETED:
            return self._judge_completed(job, printer, pages, watch)
        fault, detail = watch.given_up
        if job.state is JobState.ABORTED or (fault is None and not detail):
            faults = faults_of(printer, toner_low_percent=0)
            fault = fault or next((found for found in faults if found in BLOCKING), Fault.DEVICE_ERROR)
            detail = detail or f"the printer {job.state.name.lower()} it"
        return ReportOutcome(
            PrintState.FAILED, Evidence.STATE, was_sent=True, fault=fault, detail=detail, pages=pages,
            impressions=self._said(job.impressions),
        )  # fmt: skip

    def _judge_completed(
        self, job: JobReport, printer: PrinterReport, pages: int, watch: _Watch
    ) -> ReportOutcome | None:
        if (spoiled := spoils(job, printer)) is not None:
            return _unknown(pages, self._said(job.impressions), f"completed with {spoiled}")
        if watch.was_lost and printer.is_queue:  # a queue that was started anew sends what it had begun once more
            return _unknown(pages, None, "the queue was gone meanwhile: it may have come out twice")
        if not printer.asks_printer:
            return _unknown(pages, None, "the queue has handed it over, and hears nothing of its printer")
        evidence = Evidence.STATE
        if self._counts:
            if job.impressions is None or job.impressions < pages:
                if watch.completed_s is None:
                    watch.completed_s = watch.heard_s
                if watch.heard_s - watch.completed_s < self._options.settle_s:
                    return None  # some count after they completed
                counted = "nothing" if job.impressions is None else str(job.impressions)
                return _unknown(pages, self._said(job.impressions), f"completed, counted {counted} of {pages}")
            evidence = Evidence.PAGES
        return ReportOutcome(
            PrintState.PRINTED, evidence, was_sent=True, pages=pages, impressions=self._said(job.impressions)
        )


def _not_sent(fault: Fault, detail: str) -> ReportOutcome:
    return ReportOutcome(PrintState.FAILED, Evidence.REFUSED, was_sent=False, fault=fault, detail=detail)


def _unknown(pages: int, impressions: int | None, detail: str) -> ReportOutcome:
    return ReportOutcome(
        PrintState.UNKNOWN, Evidence.NONE, was_sent=True, fault=Fault.PRINT_UNKNOWN, detail=detail, pages=pages,
        impressions=impressions,
    )  # fmt: skip
