"""What a report printer does for the rest of the agent. A report is a patient's: no part of it shows in `repr`."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from wire.faults import Fault


class PrintState(StrEnum):
    """What became of a report."""

    PRINTED = "printed"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Evidence(StrEnum):
    """What an outcome rests on, best first.

    `pages`: the printer completed the job and counted at least as many impressions as the report has pages.
    `state`: it completed the job and does not count. `refused`: it never took the job.
    """

    PAGES = "pages"
    STATE = "state"
    REFUSED = "refused"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class ReportJob:
    """One report. `job_id` names it in logs and on the printer, and says nothing of the patient.

    `pages` is what the maker of the document says, where it does; it must not contradict the document.
    """

    job_id: str
    pdf: bytes = field(repr=False)
    pages: int | None = None
    duplex: bool = False


@dataclass(frozen=True, slots=True)
class ReportOutcome:
    """How printing ended.

    `was_sent` tells whether the printer may have got any of it: what was sent is never sent again without a person's
    or a journal's decision. `impressions` is what the printer counted, None when it said nothing.
    """

    state: PrintState
    evidence: Evidence
    was_sent: bool
    fault: Fault | None = None
    detail: str = ""
    pages: int | None = None
    impressions: int | None = None


class ReportPrinter(Protocol):
    """Prints reports, one at a time."""

    async def print_report(self, job: ReportJob) -> ReportOutcome:
        """Print it and say what became of it; never raises for what a printer can do."""

    async def cancel(self, job_id: str) -> bool:
        """Stop the report that is printing; whether it was that one. Its outcome says what came out."""

    async def find_outcome(self, job_id: str, *, pages: int) -> ReportOutcome:
        """What became of a report sent earlier, perhaps before a power cut; nothing is printed."""
