"""Paging: records inside, models at the API's edge. Times are server time (UTC)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from wire.faults import Severity


class CaseState(StrEnum):
    """Whether somebody still has to be told."""

    PAGING = "paging"
    ENDED = "ended"
    """Acknowledged, recovered or closed."""


class DeliveryState(StrEnum):
    """How far one message to one target is."""

    DUE = "due"
    SENDING = "sending"
    """Written down before the call; who finds it like this after a crash sends it again with the same id."""
    HANDED_OVER = "handed_over"
    """The channel took it."""
    FAILED = "failed"
    """Given up after the last try."""
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class PagingCase:
    """One occasion to page: an incident that opened, worsened or came back."""

    incident: str
    occasion: int
    """The number of the event in the feed."""
    severity: Severity
    began_at: datetime
    state: CaseState = CaseState.PAGING
    snoozed_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message to one target."""

    id: str
    """Also the key by which the receiver knows a repeated message."""
    incident: str
    occasion: int
    step: int
    turn: int
    """0, then one more with each repetition."""
    target: str
    state: DeliveryState
    due_at: datetime
    """When it is sent, or tried again."""
    attempts: int = 0
    touched_at: datetime | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One rung of a ladder."""

    after_s: float
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ladder:
    """Who is told, in which order, of incidents of one severity."""

    steps: tuple[Step, ...]
    repeat_s: float
    """After the last step everybody is told again this often until somebody acknowledges."""


@dataclass(frozen=True, slots=True)
class Page:
    """What is said."""

    id: str
    name: str
    """`INC-000123`; empty for a test."""
    title_zh: str
    title_en: str
    where: str
    severity: Severity
    since: datetime
    members: int
    remedy_zh: str
    link: str | None
    is_test: bool = False


class DeliveryQuery(BaseModel):
    """Which deliveries to show."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    incident: str | None = Field(default=None, max_length=26)
    limit: int = Field(default=100, ge=1, le=1_000)


class DeliveryView(BaseModel):
    """One message to one target, as people see it."""

    id: str
    incident: str
    step: int
    turn: int
    target: str
    state: DeliveryState
    due_at: datetime
    attempts: int
    touched_at: datetime | None
    note: str


class TrialForm(BaseModel):
    """Send a marked test page."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    target: str = Field(max_length=64, pattern=r"^[a-z0-9_-]+$")
