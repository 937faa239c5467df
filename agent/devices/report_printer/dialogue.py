"""The questions a report printer is asked over IPP, each with a deadline, and their answers as facts."""

from __future__ import annotations

import itertools
from socket import gethostname
from typing import Protocol

from agent.devices.report_printer.attributes import (
    ENDED,
    JobReport,
    PrinterReport,
    job_report,
    printer_report,
)
from agent.devices.report_printer.frames import (
    Attribute,
    Group,
    IppError,
    Operation,
    Reply,
    StatusCode,
    Tag,
    decode_reply,
    encode_request,
)

USER = f"kiosk-{gethostname()}"
"""Whose jobs ours are: several kiosks may share a printer, and none touches another's job."""
_PDF = "application/pdf"
_HISTORY = 100
_PRINTER_WANTED = (
    "printer-state",
    "printer-state-reasons",
    "printer-is-accepting-jobs",
    "printer-make-and-model",
    "printer-firmware-string-version",
    "printer-device-id",
    "printer-impressions-completed",
    "printer-supply",
    "marker-types",
    "marker-levels",
    "marker-low-levels",
    "document-format-supported",
    "sides-supported",
    "cups-version",
    "device-uri",
)
_OWNER = "job-originating-user-name"
_JOB_WANTED = ("job-id", "job-name", "job-state", "job-state-reasons", "job-impressions-completed")


class IppExchange(Protocol):
    """What is needed of a link: `agent.links.ipp.IppLink`."""

    @property
    def uri(self) -> str:
        """The printer-uri."""

    async def exchange(self, request: bytes, document: bytes = b"", *, timeout_s: float) -> bytes:
        """Send a request and return the reply. Raises: LinkError."""


class IppRefused(Exception):
    """The printer answered that it did not do it; `status` is its code."""

    def __init__(self, status: int) -> None:
        super().__init__(f"ipp status 0x{status:04x}")
        self.status = status

    @property
    def is_busy(self) -> bool:
        """Whether the same request may work later."""
        return self.status in {StatusCode.BUSY, StatusCode.NOT_ACCEPTING}


class Dialogue:
    """Asks one printer; every method raises LinkError, IppError and IppRefused as they come."""

    def __init__(self, link: IppExchange, *, answer_s: float) -> None:
        self._link = link
        self._answer_s = answer_s
        self._numbers = itertools.count(1)

    async def printer(self) -> PrinterReport:
        """How the printer is."""
        wanted = Attribute(Tag.KEYWORD, "requested-attributes", _PRINTER_WANTED)
        reply = await self._ask(Operation.GET_PRINTER_ATTRIBUTES, (wanted,))
        return printer_report(reply.first(Group.PRINTER))

    async def job(self, number: int) -> JobReport | None:
        """How a job is; None when the printer does not know it any more."""
        wanted = Attribute(Tag.KEYWORD, "requested-attributes", _JOB_WANTED)
        try:
            reply = await self._ask(
                Operation.GET_JOB_ATTRIBUTES, (Attribute(Tag.INTEGER, "job-id", (number,)), _user(), wanted)
            )
        except IppRefused as refused:
            if refused.status in {StatusCode.NOT_FOUND, StatusCode.GONE}:
                return None
            raise
        return job_report(reply.first(Group.JOB))

    async def job_named(self, name: str) -> JobReport | None:
        """The newest job of ours with this name, open ones first; None when the printer lists none."""
        for which in ("not-completed", "completed"):
            reply = await self._ask(
                Operation.GET_JOBS,
                (
                    _user(),
                    Attribute(Tag.INTEGER, "limit", (_HISTORY,)),
                    Attribute(Tag.KEYWORD, "requested-attributes", _JOB_WANTED),
                    Attribute(Tag.KEYWORD, "which-jobs", (which,)),
                ),
            )
            found = [job for job in map(job_report, reply.all(Group.JOB)) if job.name == name]
            numbered = [job for job in found if job.number is not None]
            if numbered:
                return max(numbered, key=lambda job: job.number or 0)
        return None

    async def open_jobs(self) -> frozenset[int]:
        """The numbers of our jobs that have not ended."""
        reply = await self._ask(
            Operation.GET_JOBS,
            (
                _user(),
                Attribute(Tag.INTEGER, "limit", (_HISTORY,)),
                Attribute(Tag.KEYWORD, "requested-attributes", (*_JOB_WANTED, _OWNER)),
                Attribute(Tag.KEYWORD, "which-jobs", ("not-completed",)),
                Attribute(Tag.BOOLEAN, "my-jobs", (True,)),
            ),
        )
        ours = [job_report(job) for job in reply.all(Group.JOB) if tuple(job.get(_OWNER, ())) == (USER,)]
        return frozenset(job.number for job in ours if job.number is not None and not has_ended(job))

    async def print_job(self, name: str, pdf: bytes, *, media: str, sides: str, timeout_s: float) -> JobReport:
        """Hand over a document; the job it became. Never repeated."""
        operation = (
            _user(),
            Attribute(Tag.NAME, "job-name", (name,)),
            Attribute(Tag.BOOLEAN, "ipp-attribute-fidelity", (False,)),
            Attribute(Tag.MIME_TYPE, "document-format", (_PDF,)),
        )
        template = (
            Attribute(Tag.INTEGER, "copies", (1,)),
            Attribute(Tag.KEYWORD, "media", (media,)),
            Attribute(Tag.KEYWORD, "sides", (sides,)),
        )
        reply = await self._ask(Operation.PRINT_JOB, operation, template, pdf, timeout_s=timeout_s)
        job = job_report(reply.first(Group.JOB))
        if job.number is None:
            raise IppError("a job without a number")
        return job

    async def cancel(self, number: int) -> bool:
        """Ask the printer to give a job up; False when it says that it cannot (any more)."""
        try:
            await self._ask(Operation.CANCEL_JOB, (Attribute(Tag.INTEGER, "job-id", (number,)), _user()))
        except IppRefused:
            return False
        return True

    async def _ask(
        self,
        operation: Operation,
        attributes: tuple[Attribute, ...],
        template: tuple[Attribute, ...] = (),
        document: bytes = b"",
        *,
        timeout_s: float | None = None,
    ) -> Reply:
        number = next(self._numbers)
        target = Attribute(Tag.URI, "printer-uri", (self._link.uri,))
        request = encode_request(operation, number, (target, *attributes), template)
        limit_s = self._answer_s if timeout_s is None else timeout_s
        reply = decode_reply(await self._link.exchange(request, document, timeout_s=limit_s))
        if reply.request_id != number:
            raise IppError("the answer to another request")
        if not reply.is_successful:
            raise IppRefused(reply.status)
        return reply


def _user() -> Attribute:
    return Attribute(Tag.NAME, "requesting-user-name", (USER,))


def has_ended(job: JobReport) -> bool:
    """Whether nothing more will happen to it."""
    return job.state in ENDED
