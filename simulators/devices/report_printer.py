"""An A4 printer without the printer: jobs, trays, toner and everything that goes wrong with them, over IPP.

Written from RFC 8011 and PWG 5100.9, independent of any driver. The core is pure: a message and the time go in, a
message comes out. `simulators.devices.report_printer_server` gives it a port.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from simulators.devices import ipp_messages as ipp
from simulators.devices.ipp_messages import BadMessage, Item, Request, decode_request, encode_reply

_PAGE = re.compile(rb"/Type\s*/Page\b")
_IDLE, _PROCESSING, _STOPPED = 3, 4, 5
_OK, _OK_SUBSTITUTED = 0x0000, 0x0001
_BAD_REQUEST, _NOT_POSSIBLE, _NOT_FOUND, _FORMAT, _CHARSET = 0x0400, 0x0404, 0x0406, 0x040A, 0x040D
_NOT_SUPPORTED, _VERSION, _BUSY = 0x0501, 0x0503, 0x0507
_FORMATS = ("application/pdf", "application/octet-stream")


class JobState(IntEnum):
    """As `job-state` numbers them."""

    PENDING = 3
    PROCESSING = 5
    STOPPED = 6
    CANCELED = 7
    ABORTED = 8
    COMPLETED = 9


class PrinterFault(StrEnum):
    """What can be made to go wrong; `after` counts printed pages for what is mechanical, messages for the rest."""

    MEDIA_EMPTY = "media_empty"
    MEDIA_LOW = "media_low"
    JAM = "jam"
    DOOR_OPEN = "door_open"
    TONER_LOW = "toner_low"
    TONER_EMPTY = "toner_empty"
    OUTPUT_FULL = "output_full"
    ABORT = "abort"
    COUNT_SHORT = "count_short"
    COUNT_NOTHING = "count_nothing"
    DROP_IN_DOCUMENT = "drop_in_document"
    DROP_AFTER_DOCUMENT = "drop_after_document"
    SILENT = "silent"
    GARBAGE = "garbage"
    CUT_REPLY = "cut_reply"
    HTTP_ERROR = "http_error"
    BUSY = "busy"
    FORGET = "forget"
    STUCK = "stuck"


_REASON: Mapping[PrinterFault, str] = {
    PrinterFault.MEDIA_EMPTY: "media-empty-error",
    PrinterFault.MEDIA_LOW: "media-low-warning",
    PrinterFault.JAM: "media-jam-error",
    PrinterFault.DOOR_OPEN: "door-open-error",
    PrinterFault.TONER_LOW: "toner-low-warning",
    PrinterFault.TONER_EMPTY: "toner-empty-error",
    PrinterFault.OUTPUT_FULL: "output-area-full-error",
}
_STOPS = frozenset(fault for fault, reason in _REASON.items() if reason.endswith("-error"))
MECHANICAL = frozenset((*_REASON, PrinterFault.ABORT))


@dataclass(slots=True)
class Job:
    """One job of the printer."""

    number: int
    name: str
    user: str
    pages: int
    sides: str
    state: JobState = JobState.PENDING
    printed: int = 0
    next_s: float = 0.0

    @property
    def is_open(self) -> bool:
        """Whether it has not ended."""
        return self.state in {JobState.PENDING, JobState.PROCESSING, JobState.STOPPED}


@dataclass(slots=True)
class _Script:
    fault: PrinterFault
    at: int
    times: int


@dataclass(slots=True)
class ReportPrinterCore:
    """State of the printer; `uri` is what it calls itself."""

    uri: str = "ipp://localhost/ipp/print"
    model: str = "Simulated A4"
    page_s: float = 0.02
    duplex: bool = True
    uses_markers: bool = True
    toner_percent: int = 80
    jobs: dict[int, Job] = field(default_factory=dict)
    up: set[PrinterFault] = field(default_factory=set)
    pages_total: int = 0
    messages: int = 0
    taken: list[str] = field(default_factory=list)
    """Names of all jobs it ever took, in order."""
    _scripts: list[_Script] = field(default_factory=list)
    _next_number: int = 1

    def script(self, fault: PrinterFault, *, after: int = 0, times: int = 1) -> None:
        """Let something go wrong after so many more pages (mechanical) or messages (the rest)."""
        base = self.pages_total if fault in MECHANICAL else self.messages
        self._scripts.append(_Script(fault, base + after, times))

    @property
    def scripted(self) -> tuple[PrinterFault, ...]:
        """What is still to happen."""
        return tuple(script.fault for script in self._scripts if script.times > 0)

    def repair(self, *faults: PrinterFault) -> None:
        """Refill, close, clear: these conditions are over (all of them when none is named), jobs go on."""
        self.up -= set(faults) or set(self.up)

    def forget_scripts(self) -> None:
        """Nothing more will go wrong by itself."""
        self._scripts.clear()

    def due(self, fault: PrinterFault) -> bool:
        """Whether a fault of the exchange strikes now; each call that says so uses one of its `times` up."""
        for script in self._scripts:
            if script.fault is fault and self.messages >= script.at and script.times > 0:
                script.times -= 1
                return True
        return False

    # --- time --------------------------------------------------------------------------------------------

    def advance(self, now_s: float) -> None:
        """Print what was to be printed by now."""
        for job in list(self.jobs.values()):
            if not job.is_open:
                continue
            if job.state is JobState.PENDING:
                job.state, job.next_s = JobState.PROCESSING, now_s + self.page_s
            self._strike(job)
            self._run(job, now_s)
            if self.jobs[job.number].is_open:
                job.state = JobState.STOPPED if self._is_stopped() else JobState.PROCESSING
                if self._is_stopped():
                    job.next_s = now_s + self.page_s
            return  # one job at a time

    def _run(self, job: Job, now_s: float) -> None:
        while job.is_open and not self._is_stopped() and job.next_s <= now_s:
            self._print_page(job)

    def _print_page(self, job: Job) -> None:
        if any(script.fault is PrinterFault.STUCK and script.times > 0 for script in self._scripts):
            job.next_s = float("inf")
            return
        job.printed += 1
        self.pages_total += 1
        job.next_s += self.page_s
        if job.printed >= job.pages:
            job.state = JobState.COMPLETED
        self._strike(job)

    def _strike(self, job: Job) -> None:
        for script in self._scripts:
            if script.fault in MECHANICAL and script.times > 0 and self.pages_total >= script.at:
                script.times -= 1
                if script.fault is not PrinterFault.ABORT:
                    self.up.add(script.fault)
                elif job.is_open:
                    job.state = JobState.ABORTED

    def _is_stopped(self) -> bool:
        return bool(self.up & _STOPS)

    # --- messages ----------------------------------------------------------------------------------------

    def handle(self, data: bytes, now_s: float) -> bytes:
        """Answer one request, its document behind it."""
        self.messages += 1
        for script in self._scripts:  # conditions that are up before anything prints
            if script.fault in _REASON and script.times > 0 and self.pages_total >= script.at:
                script.times -= 1
                self.up.add(script.fault)
        self.advance(now_s)
        try:
            request = decode_request(data)
        except BadMessage:
            return encode_reply(((1, 1), 1), _BAD_REQUEST)
        about = (request.version if request.version[0] in {1, 2} else (2, 0), request.number)
        status = self._complaint(request)
        if status is not None:
            return encode_reply(about, status)
        answer: Callable[[Request, bytes, float], tuple[int, list[tuple[int, list[Item]]]]] | None = {
            0x0002: self._print_job,
            0x0004: self._validate_job,
            0x0008: self._cancel_job,
            0x0009: self._get_job,
            0x000A: self._get_jobs,
            0x000B: self._get_printer,
        }.get(request.operation)
        if answer is None:
            return encode_reply(about, _NOT_SUPPORTED)
        return encode_reply(about, *answer(request, data[request.size :], now_s))

    @staticmethod
    def _complaint(request: Request) -> int | None:
        if request.version[0] not in {1, 2}:
            return _VERSION
        if request.number == 0 or request.order()[:2] != ["attributes-charset", "attributes-natural-language"]:
            return _BAD_REQUEST
        if request.text("attributes-charset") not in {"utf-8", "us-ascii"}:
            return _CHARSET
        if request.text("printer-uri") is None and request.text("job-uri") is None:
            return _BAD_REQUEST
        return None

    def _takes(self, request: Request) -> int:
        shown = request.text("document-format")
        if shown is not None and shown not in _FORMATS:
            return _FORMAT
        busy = self.due(PrinterFault.BUSY) or any(job.is_open for job in self.jobs.values())
        return _BUSY if busy else _OK

    def _validate_job(self, request: Request, _: bytes, __: float) -> tuple[int, list[tuple[int, list[Item]]]]:
        status = self._takes(request)
        return (_OK if status == _BUSY else status), []

    def _print_job(self, request: Request, document: bytes, now_s: float) -> tuple[int, list[tuple[int, list[Item]]]]:
        status = self._takes(request)
        if status != _OK:
            return status, []
        name = request.text("job-name") or "untitled"
        job = Job(
            self._next_number,
            name,
            request.text("requesting-user-name") or "anonymous",
            max(1, len(_PAGE.findall(document))),
            request.template("sides") or "one-sided",
        )
        self._next_number += 1
        self.jobs[job.number] = job
        self.taken.append(name)
        self.advance(now_s)
        return _OK, [(ipp.JOB, self._job_items(job, ()))]

    def _job(self, request: Request) -> Job | None:
        number = request.integer("job-id")
        if number is None:
            tail = (request.text("job-uri") or "").rpartition("/")[2]
            number = int(tail) if tail.isdigit() else None
        return self.jobs.get(number) if number is not None else None

    def _cancel_job(self, request: Request, _: bytes, now_s: float) -> tuple[int, list[tuple[int, list[Item]]]]:
        job = self._job(request)
        if job is None:
            return _NOT_FOUND, []
        if not job.is_open:
            return _NOT_POSSIBLE, []
        job.state = JobState.CANCELED
        self.advance(now_s)
        return _OK, []

    def _get_job(self, request: Request, _: bytes, __: float) -> tuple[int, list[tuple[int, list[Item]]]]:
        if self.due(PrinterFault.FORGET):
            self.jobs.clear()
        job = self._job(request)
        if job is None:
            return _NOT_FOUND, []
        return _OK, [(ipp.JOB, self._job_items(job, request.texts("requested-attributes")))]

    def _get_jobs(self, request: Request, _: bytes, __: float) -> tuple[int, list[tuple[int, list[Item]]]]:
        which = request.text("which-jobs") or "not-completed"
        jobs = [job for job in self.jobs.values() if job.is_open == (which != "completed")]
        if request.order().count("my-jobs") and request.text("my-jobs") == "\x01":
            jobs = [job for job in jobs if job.user == request.text("requesting-user-name")]
        jobs = jobs[: request.integer("limit") or len(jobs)]
        wanted = request.texts("requested-attributes") or ("job-id", "job-uri")
        return _OK, [(ipp.JOB, self._job_items(job, wanted)) for job in jobs]

    def _get_printer(self, request: Request, _: bytes, now_s: float) -> tuple[int, list[tuple[int, list[Item]]]]:
        return _OK, [(ipp.PRINTER, _wanted(self._printer_items(now_s), request.texts("requested-attributes")))]

    # --- attributes --------------------------------------------------------------------------------------

    def reasons(self) -> tuple[str, ...]:
        """`printer-state-reasons`."""
        return tuple(sorted(_REASON[fault] for fault in self.up)) or ("none",)

    def _job_items(self, job: Job, wanted: tuple[str, ...]) -> list[Item]:
        items = [
            Item(ipp.INTEGER, "job-id", (job.number,)),
            Item(ipp.URI, "job-uri", (f"{self.uri}/{job.number}",)),
            Item(ipp.ENUM, "job-state", (int(job.state),)),
            Item(ipp.KEYWORD, "job-state-reasons", (self._job_reason(job),)),
            Item(ipp.NAME, "job-name", (job.name,)),
            Item(ipp.NAME, "job-originating-user-name", (job.user,)),
            Item(ipp.URI, "job-printer-uri", (self.uri,)),
            Item(ipp.INTEGER, "job-printer-up-time", (1,)),
            Item(ipp.INTEGER, "time-at-creation", (1,)),
            Item(ipp.INTEGER, "time-at-processing", (1,)),
            Item(ipp.INTEGER, "time-at-completed", (1,)) if not job.is_open else _none("time-at-completed"),
            Item(ipp.CHARSET, "attributes-charset", ("utf-8",)),
            Item(ipp.LANGUAGE, "attributes-natural-language", ("en",)),
        ]
        short = any(script.fault is PrinterFault.COUNT_SHORT and script.times > 0 for script in self._scripts)
        if not any(script.fault is PrinterFault.COUNT_NOTHING and script.times > 0 for script in self._scripts):
            counted = max(0, job.printed - 1) if short else job.printed
            items.append(Item(ipp.INTEGER, "job-impressions-completed", (counted,)))
        return _wanted(items, wanted)

    def _job_reason(self, job: Job) -> str:
        return {
            JobState.PENDING: "none",
            JobState.PROCESSING: "job-printing",
            JobState.STOPPED: "printer-stopped",
            JobState.CANCELED: "job-canceled-by-user",
            JobState.ABORTED: "aborted-by-system",
            JobState.COMPLETED: "job-completed-successfully",
        }[job.state]

    def _printer_items(self, now_s: float) -> list[Item]:
        is_busy = any(job.is_open for job in self.jobs.values())
        state = _STOPPED if self._is_stopped() else _PROCESSING if is_busy else _IDLE
        toner = 0 if PrinterFault.TONER_EMPTY in self.up else 5 if PrinterFault.TONER_LOW in self.up else None
        level = self.toner_percent if toner is None else toner
        sides = ("one-sided", "two-sided-long-edge") if self.duplex else ("one-sided",)
        return [
            Item(ipp.ENUM, "printer-state", (state,)),
            Item(ipp.KEYWORD, "printer-state-reasons", self.reasons()),
            Item(ipp.BOOLEAN, "printer-is-accepting-jobs", (True,)),
            Item(ipp.INTEGER, "printer-impressions-completed", (self.pages_total,)),
            Item(ipp.TEXT, "printer-firmware-string-version", ("1.0",)),
            Item(ipp.TEXT, "printer-device-id", (f"MFG:Sim;MDL:{self.model};SN:SIM0001;",)),
            Item(ipp.KEYWORD, "sides-supported", sides),
            *_supply_items(level, uses_markers=self.uses_markers),
            *_description(self.uri, self.model, max(1, int(now_s))),
        ]


def _supply_items(level: int, *, uses_markers: bool) -> list[Item]:
    if uses_markers:
        return [
            Item(ipp.KEYWORD, "marker-types", ("toner", "waste-toner")),
            Item(ipp.INTEGER, "marker-levels", (level, 95)),
            Item(ipp.INTEGER, "marker-low-levels", (10, 0)),
        ]
    row = (
        f"index=1;class=supplyThatIsConsumed;type=toner;unit=percent;maxcapacity=100;level={level};colorantname=black;"
    )
    return [Item(ipp.OCTETS, "printer-supply", (row.encode(),))]


def _description(uri: str, model: str, up_s: int) -> list[Item]:
    return [
        Item(ipp.URI, "printer-uri-supported", (uri,)),
        Item(ipp.KEYWORD, "uri-security-supported", ("none",)),
        Item(ipp.KEYWORD, "uri-authentication-supported", ("none",)),
        Item(ipp.NAME, "printer-name", ("simulated",)),
        Item(ipp.TEXT, "printer-make-and-model", (model,)),
        Item(ipp.KEYWORD, "ipp-versions-supported", ("1.1", "2.0")),
        Item(ipp.ENUM, "operations-supported", (0x02, 0x04, 0x08, 0x09, 0x0A, 0x0B)),
        Item(ipp.CHARSET, "charset-configured", ("utf-8",)),
        Item(ipp.CHARSET, "charset-supported", ("us-ascii", "utf-8")),
        Item(ipp.LANGUAGE, "natural-language-configured", ("en",)),
        Item(ipp.LANGUAGE, "generated-natural-language-supported", ("en",)),
        Item(ipp.MIME, "document-format-default", (_FORMATS[0],)),
        Item(ipp.MIME, "document-format-supported", _FORMATS),
        Item(ipp.INTEGER, "queued-job-count", (0,)),
        Item(ipp.KEYWORD, "pdl-override-supported", ("not-attempted",)),
        Item(ipp.INTEGER, "printer-up-time", (up_s,)),
        Item(ipp.KEYWORD, "compression-supported", ("none",)),
        Item(ipp.KEYWORD, "media-supported", ("iso_a4_210x297mm",)),
        Item(ipp.KEYWORD, "media-default", ("iso_a4_210x297mm",)),
        Item(ipp.RANGE, "copies-supported", ((1, 1),)),
        Item(ipp.INTEGER, "copies-default", (1,)),
        Item(ipp.KEYWORD, "sides-default", ("one-sided",)),
    ]


def _none(name: str) -> Item:
    return Item(ipp.NO_VALUE, name, (None,))


def _wanted(items: list[Item], names: tuple[str, ...]) -> list[Item]:
    """What was asked for; group names (`all`, `job-template`, …) mean everything here."""
    groups = {"all", "printer-description", "job-description", "job-template"}
    return items if not names or groups & set(names) else [item for item in items if item.name in names]
