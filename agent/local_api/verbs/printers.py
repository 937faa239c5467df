"""Commands that print: a job is noted before it prints, goes on when its page is gone, and never comes twice."""

from __future__ import annotations

from base64 import b64decode, b64encode
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, Self, cast

from pydantic import AwareDatetime, Field, model_validator

from agent.devices.receipt_printer.types import ReceiptPrinter
from agent.devices.types import Driver
from agent.local_api.dialogue import Json, Progress, Refusal, Verb
from agent.local_api.feed import Feed
from agent.local_api.payload import Payload, Request
from agent.local_api.verbs.bench import Bench, DeviceRequest
from agent.printing.journal import JournalError, PrintRefused
from agent.printing.machine import OPEN, JobState
from agent.printing.model import KEY_LIMIT, Draft, Job, JobKind
from agent.printing.preview import PreviewFailed, preview
from agent.printing.receipt import Receipt
from agent.printing.spool import PrintSpool
from agent.printing.templates import AnyPaper
from agent.reporter import Reporter
from wire.device_api import CompletionCode
from wire.envelope import ComponentName
from wire.faults import FACTS
from wire.profile import Capability

LIMIT_S: Final = 600.0
EXPIRES_S: Final = 120.0
PREVIEW_COLUMNS: Final = 48
"""80 mm paper."""
EVENT: Final = "Printer.JobChangedEvent"
_PRINTER_OF: Final = {
    JobKind.RECEIPT: Capability.RECEIPT_PRINTER,
    JobKind.TICKET: Capability.RECEIPT_PRINTER,
    JobKind.REPORT: Capability.REPORT_PRINTER,
}
Pdf = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]+={0,2}$", description="base64")]
Key = Annotated[str, Field(min_length=1, max_length=KEY_LIMIT, description="names the job for ever")]


class JobView(Payload):
    """A print job as pages see it; nothing of its content."""

    no: int
    key: str
    component: ComponentName
    kind: JobKind
    state: JobState
    attempts: int
    copy_no: int = Field(description="0 for the first print; others carry the mark 补打")
    reprint_of: int | None = None
    fault: str | None = None
    patient_key: str | None = Field(default=None, description="the text to show to the patient")
    can_reprint: bool
    made_at: AwareDatetime
    ended_at: AwareDatetime | None = None


class JobDone(Payload):
    """How a job ended."""

    job: JobView


class Jobs(Payload):
    """The newest jobs first."""

    jobs: list[JobView]


class Print(DeviceRequest):
    """Print a receipt or ticket (`receipt` or `paper`), or a report (`pdf`); the same key again is the same job."""

    key: Key
    kind: JobKind
    receipt: Receipt | None = None
    paper: AnyPaper | None = Field(default=None, description="one of the hospital's papers, by its fields")
    pdf: Pdf | None = Field(default=None, repr=False)
    expires_s: float = Field(default=EXPIRES_S, gt=0.0, le=LIMIT_S, description="how long it may wait for its printer")

    @model_validator(mode="after")
    def _has_what_it_prints(self) -> Self:
        given = [name for name in ("receipt", "paper", "pdf") if getattr(self, name) is not None]
        if len(given) != 1 or (self.kind is JobKind.REPORT) != (given == ["pdf"]):
            raise ValueError("a report needs pdf, a receipt or ticket needs receipt or paper")
        return self


class Reprint(Request):
    """Print a job that is over once more."""

    no: int = Field(ge=1)
    key: Key


class OneJob(Request):
    """A job that waits."""

    no: int = Field(ge=1)


class Settle(Request):
    """What a person found out about a job whose outcome is unknown."""

    no: int = Field(ge=1)
    was_seen: bool


class Preview(DeviceRequest):
    """See a receipt or one of the hospital's papers as its printer would print it."""

    receipt: Receipt | None = None
    paper: AnyPaper | None = None

    @model_validator(mode="after")
    def _has_what_it_shows(self) -> Self:
        if (self.receipt is None) == (self.paper is None):
            raise ValueError("needs receipt or paper")
        return self


class Previewed(Payload):
    """A picture."""

    png: str = Field(description="base64")


class ListJobs(Request):
    """The newest jobs."""

    limit: int = Field(default=20, ge=1, le=200)


class Retracted(Payload):
    """What became of a ticket that was not taken."""

    is_empty: bool


class Printers:
    """Everything that prints."""

    def __init__(self, bench: Bench, spool: PrintSpool) -> None:
        """Print through this spool."""
        self._bench = bench
        self._spool = spool

    def verbs(self) -> dict[str, Verb]:
        """The commands, by name."""
        refused = ("printRefused", "journalDown")
        over = ("failed", "unknown", "cancelled")
        return {
            "Printer.Print": Verb(
                Print, self._print, LIMIT_S, "打印凭条、小票或报告 · Print, and wait for the outcome", JobDone,
                {"Printer.JobChanged": JobDone}, (*refused, *over, "noSuchComponent", "componentNeeded", "notBase64"),
            ),
            "Printer.Reprint": Verb(
                Reprint, self._reprint, LIMIT_S, "补打 · Print a job once more, marked 补打", JobDone,
                {"Printer.JobChanged": JobDone}, (*refused, *over),
            ),
            "Printer.CancelJob": Verb(
                OneJob, self._cancel, 30.0, "取消排队 · Take a job off the queue", JobDone, refusals=refused
            ),
            "Printer.Settle": Verb(
                Settle, self._settle, 30.0, "确认未知结果 · Say what became of an unknown job", JobDone,
                refusals=refused,
            ),
            "Printer.Jobs": Verb(ListJobs, self._jobs, 30.0, "打印任务 · The newest jobs", Jobs, refusals=refused),
            "Printer.Preview": Verb(
                Preview, self._preview, 30.0, "打印预览 · See a receipt before it is printed", Previewed,
                refusals=("previewFailed",),
            ),
            "Printer.RetractMedia": Verb(
                DeviceRequest, self._retract, 60.0, "回收未取走的单据 · Draw back what was not taken", Retracted,
                refusals=("noSuchComponent", "componentNeeded"),
            ),
        }  # fmt: skip

    async def _print(self, request: Print, progress: Progress) -> JobDone:
        component = self._bench.find(_PRINTER_OF[request.kind], request.component)
        draft = Draft(request.key, component, request.kind, _content(request), request.expires_s)
        try:
            job = await self._spool.submit(draft)
            return await self._followed(job, progress)
        except (PrintRefused, JournalError) as error:
            raise _refusal(error) from None

    async def _reprint(self, request: Reprint, progress: Progress) -> JobDone:
        try:
            return await self._followed(await self._spool.reprint(request.no, request.key), progress)
        except (PrintRefused, JournalError) as error:
            raise _refusal(error) from None

    async def _followed(self, job: Job, progress: Progress) -> JobDone:
        progress.event("Printer.JobChanged", _json(job))
        if job.state in OPEN:
            job = await self._spool.wait(job.no, timeout_s=LIMIT_S)
        if job.state is JobState.PRINTED:
            return JobDone(job=view(job))
        completion = CompletionCode.COMMAND_ERROR
        if job.fault is not None and FACTS[job.fault].patient_key == "paper_out":
            completion = CompletionCode.USER_ERROR
        raise Refusal(
            job.state.value, "" if job.fault is None else job.fault.value, completion=completion, payload=_json(job)
        )

    async def _cancel(self, request: OneJob, _progress: Progress) -> JobDone:
        try:
            return JobDone(job=view(await self._spool.cancel(request.no)))
        except (PrintRefused, JournalError) as error:
            raise _refusal(error) from None

    async def _settle(self, request: Settle, _progress: Progress) -> JobDone:
        try:
            return JobDone(job=view(await self._spool.settle(request.no, was_seen=request.was_seen)))
        except (PrintRefused, JournalError) as error:
            raise _refusal(error) from None

    async def _jobs(self, request: ListJobs, _progress: Progress) -> Jobs:
        try:
            return Jobs(jobs=[view(job) for job in await self._spool.recent(request.limit)])
        except JournalError as error:
            raise _refusal(error) from None

    async def _preview(self, request: Preview, _progress: Progress) -> Previewed:
        receipt = request.receipt if request.paper is None else request.paper.receipt()
        assert receipt is not None  # noqa: S101 - the request's own check
        try:
            picture = await preview(receipt, columns=PREVIEW_COLUMNS)
        except PreviewFailed as error:
            raise Refusal("previewFailed", str(error)) from None
        return Previewed(png=b64encode(picture).decode())

    async def _retract(self, request: DeviceRequest, _progress: Progress) -> Retracted:
        async def work(driver: Driver) -> bool:
            return await cast("ReceiptPrinter", driver).retract()

        component = self._bench.find(Capability.RECEIPT_PRINTER, request.component)
        return Retracted(is_empty=await self._bench.use(component, work))


class JobNews:
    """Tells pages and the fleet what becomes of print jobs."""

    def __init__(self, feed: Feed, reporter: Reporter) -> None:
        """Tell them."""
        self._feed = feed
        self._reporter = reporter

    async def changed(self, job: Job) -> None:
        """A job reached a state; the fleet hears of its end."""
        self._feed.event(EVENT, _json(job))
        if job.state in OPEN:
            return
        await self._reporter.event(
            job.component,
            "print.ended",
            {
                "no": job.no,
                "kind": job.kind.value,
                "state": job.state.value,
                "copy_no": job.copy_no,
                "fault": None if job.fault is None else job.fault.value,
            },
        )

    async def damaged(self, kept_as: Path) -> None:
        """The journal was damaged and put aside: jobs of before are not known any more."""
        await self._reporter.event("host", "print.journal_damaged", {"kept_as": kept_as.name})


def view(job: Job) -> JobView:
    """A job as pages see it."""
    return JobView(
        no=job.no,
        key=job.key,
        component=job.component,
        kind=job.kind,
        state=job.state,
        attempts=job.attempts,
        copy_no=job.copy_no,
        reprint_of=job.reprint_of,
        fault=None if job.fault is None else job.fault.value,
        patient_key=None if job.fault is None else FACTS[job.fault].patient_key,
        can_reprint=job.state not in OPEN and job.has_content,
        made_at=_moment(job.made_at_ms),
        ended_at=None if job.ended_at_ms is None else _moment(job.ended_at_ms),
    )


def _content(request: Print) -> bytes:
    receipt = request.receipt if request.paper is None else request.paper.receipt()
    if receipt is not None:
        return receipt.content()
    try:
        return b64decode(request.pdf or "", validate=True)
    except ValueError:
        raise Refusal("notBase64", completion=CompletionCode.INVALID_DATA) from None


def _json(job: Job) -> Json:
    return JobDone(job=view(job)).model_dump(mode="json", exclude_none=True)


def _moment(wall_ms: int) -> datetime:
    return datetime.fromtimestamp(wall_ms / 1_000, UTC)


def _refusal(error: PrintRefused | JournalError) -> Refusal:
    if isinstance(error, PrintRefused):
        return Refusal("printRefused", str(error))
    return Refusal("journalDown", completion=CompletionCode.INTERNAL_ERROR)
