"""What a print job is."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from agent.printing.machine import JobState
from wire.faults import Fault

CONTENT_LIMIT = 16 * 1_048_576
KEY_LIMIT = 64


class JobKind(StrEnum):
    """What is printed; it decides which printer may take it."""

    RECEIPT = "receipt"
    TICKET = "ticket"
    REPORT = "report"


@dataclass(frozen=True, slots=True)
class Draft:
    """A job somebody wants printed.

    `key` names it for ever: the same key with the same content is the same job, however often it is asked for.
    `content` is what the printer's renderer takes: a receipt as JSON, a report as PDF.
    """

    key: str
    component: str
    kind: JobKind
    content: bytes = field(repr=False)
    expires_s: float = 120.0
    """How long it may wait for a printer that is not ready; a patient waits no longer."""


@dataclass(frozen=True, slots=True)
class Job:
    """A job in the journal; its content is kept apart and only as long as it may be needed."""

    no: int
    key: str
    component: str
    kind: JobKind
    digest: str
    state: JobState
    made_at_ms: int
    """Wall clock of the kiosk, milliseconds since 1970 UTC: for people, never for decisions."""
    expires_s: float
    attempts: int = 0
    """How often it was begun."""
    reprint_of: int | None = None
    copy_no: int = 0
    """0 for the first; others carry the mark 补打 with this number."""
    fault: Fault | None = None
    ended_at_ms: int | None = None
    has_content: bool = True


@dataclass(frozen=True, slots=True)
class PrintEnd:
    """How a printer says an attempt ended: printed, failed or unknown."""

    state: JobState
    fault: Fault | None = None

    def __post_init__(self) -> None:
        """An attempt ends in one of three ways."""
        assert self.state in {JobState.PRINTED, JobState.FAILED, JobState.UNKNOWN}  # noqa: S101 - a bug of the driver
