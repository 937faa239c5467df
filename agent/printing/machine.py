"""The life of a print job. What was sent and not confirmed is `unknown`; nothing is ever printed again by itself."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class JobState(StrEnum):
    """Where a job is; it is written before what it says happens."""

    QUEUED = "queued"
    PRINTING = "printing"
    PRINTED = "printed"
    FAILED = "failed"
    UNKNOWN = "unknown"
    CANCELLED = "cancelled"


class JobEvent(StrEnum):
    """What moves a job."""

    BEGIN = "begin"
    CONFIRMED = "confirmed"
    FAILED = "failed"
    LOST = "lost"
    """Something was sent, and the printer did not say what became of it; or we died meanwhile."""
    RETURNED = "returned"
    """The printer was not ready and nothing was sent."""
    EXPIRED = "expired"
    CANCEL = "cancel"
    SEEN = "seen"
    """A person found the paper of an unknown job."""
    MISSED = "missed"
    """A person looked and found none."""


_S, _E = JobState, JobEvent
TABLE: Final[Mapping[tuple[JobState, JobEvent], JobState]] = MappingProxyType(
    {
        (_S.QUEUED, _E.BEGIN): _S.PRINTING,
        (_S.QUEUED, _E.CANCEL): _S.CANCELLED,
        (_S.QUEUED, _E.EXPIRED): _S.FAILED,
        (_S.PRINTING, _E.CONFIRMED): _S.PRINTED,
        (_S.PRINTING, _E.FAILED): _S.FAILED,
        (_S.PRINTING, _E.LOST): _S.UNKNOWN,
        (_S.PRINTING, _E.RETURNED): _S.QUEUED,
        (_S.UNKNOWN, _E.SEEN): _S.PRINTED,
        (_S.UNKNOWN, _E.MISSED): _S.FAILED,
    }
)
OPEN: Final = frozenset({JobState.QUEUED, JobState.PRINTING})
"""A job that is not over yet."""
