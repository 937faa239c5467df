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
    NOBODY = "nobody"
    """The roster had a gap: nobody was on duty, and the next step was told at once."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """A clock of the contract passed a share of its target, and the work order is not done."""

    order: str
    name: str
    """`WO-2026-000123`."""
    clock: str
    """`response` or `repair`."""
    percent: int
    target_s: float


@dataclass(frozen=True, slots=True)
class OrderNews:
    """A line of the work orders' feed; most are nothing to page about."""

    seq: int
    at: datetime
    incident: str | None = None
    forecast: Forecast | None = None


@dataclass(frozen=True, slots=True)
class PagingCase:
    """One occasion to page: an incident that opened, worsened or came back, or whose repair threatens to be late."""

    incident: str
    occasion: int
    """The number of the event in the feed of incidents; below 0 in that of work orders."""
    severity: Severity
    began_at: datetime
    state: CaseState = CaseState.PAGING
    snoozed_until: datetime | None = None
    forecast: Forecast | None = None


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
    person: str | None = None
    """Who is on duty and reached by the target; None for a target that a ladder names itself."""


@dataclass(frozen=True, slots=True)
class Addressee:
    """Somebody, or a group, with the targets that reach them."""

    person: str | None
    ways: tuple[str, ...]


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
    acknowledge: str | None = None
    """A page where the receiver takes it without signing in; the link is worth that once."""
    forecast: Forecast | None = None
    is_test: bool = False


@dataclass(frozen=True, slots=True)
class AckLink:
    """Lets whoever received one message say, once, that he or she has it. Only a digest of its token is kept."""

    digest: str
    incident: str
    delivery: str
    by: str
    """The account of the person on duty, or the target it was sent to."""
    is_person: bool
    expires_at: datetime
    used_at: datetime | None = None


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
    person: str | None


class AckTokenForm(BaseModel):
    """The one-time token of a message's link."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    token: str = Field(max_length=64, pattern=r"^[A-Za-z0-9_-]+$")


class AckView(BaseModel):
    """What a link is about, for somebody who is not signed in."""

    name: str
    """`INC-000123`."""
    title_zh: str
    title_en: str
    where: str
    severity: Severity
    since: datetime
    is_over: bool
    acknowledged_by: str | None
    acknowledged_at: datetime | None
    by: str
    """Who acknowledges with this link."""
    is_used: bool


class AlertingHealth(BaseModel):
    """For how long alerting had no turn, in seconds; None: never. What a watch from outside asks for."""

    incidents_idle_s: float | None
    paging_idle_s: float | None


class TrialForm(BaseModel):
    """Send a marked test page."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    target: str = Field(max_length=64, pattern=r"^[a-z0-9_-]+$")
