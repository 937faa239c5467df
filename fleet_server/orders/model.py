"""Work orders: records inside. Times are server time (UTC) of the evidence, where there is any, and not of a click."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from wire.envelope import Scalar
from wire.faults import Severity


class OrderState(StrEnum):
    """How far a work order is."""

    NEW = "new"
    ASSIGNED = "assigned"
    RESPONDED = "responded"
    """A named person has it."""
    ON_SITE = "on_site"
    REPAIRED = "repaired"
    """Said to be repaired; the kiosk's own word is still missing."""
    VERIFIED = "verified"
    """The kiosk proved it, or a waiver took the place of that; on probation with patients."""
    CLOSED = "closed"
    PAUSED = "paused"
    """The clocks stand still for a reason that is proved."""
    CANCELLED = "cancelled"


class OrderEvent(StrEnum):
    """What moves a work order on."""

    ASSIGN = "assign"
    RESPOND = "respond"
    CHECK_IN = "check_in"
    CLAIM = "claim"
    """The engineer says that it is repaired."""
    PROVE = "prove"
    WAIVE = "waive"
    PASS = "pass"  # noqa: S105 - probation is over
    RELAPSE = "relapse"
    PAUSE = "pause"
    RESUME_NEW = "resume_new"
    RESUME_ASSIGNED = "resume_assigned"
    RESUME_RESPONDED = "resume_responded"
    RESUME_ON_SITE = "resume_on_site"
    RESUME_REPAIRED = "resume_repaired"
    CANCEL = "cancel"


class OrderKind(StrEnum):
    """Where an order comes from."""

    INCIDENT = "incident"
    MANUAL = "manual"
    HELP = "help"
    """Somebody at a kiosk called."""
    GUIDE = "guide"
    """A guide of the hospital asked (导诊)."""
    PREVENTIVE = "preventive"


SERVICE: Final = frozenset({OrderKind.HELP, OrderKind.GUIDE, OrderKind.PREVENTIVE})
"""Orders without a fault: nothing is broken, so no clock of the contract runs and no self-test could prove anything."""


class PauseReason(StrEnum):
    """Why the clocks may stand still; the list is closed, and the contract's."""

    HOSPITAL_POWER = "hospital_power"
    HOSPITAL_NETWORK = "hospital_network"
    HOSPITAL_SYSTEM = "hospital_system"
    OUTSIDE_SYSTEM = "outside_system"
    AREA_LOCKED = "area_locked"
    HOSPITAL_REQUEST = "hospital_request"
    FORCE_MAJEURE = "force_majeure"


class EvidenceKind(StrEnum):
    """What proves a pause."""

    ALARM = "alarm"
    INCIDENT = "incident"
    UPS = "ups"
    PROBE = "probe"
    PHOTO = "photo"
    DOCUMENT = "document"


class Clock(StrEnum):
    """The two clocks of an order."""

    RESPONSE = "response"
    REPAIR = "repair"


class NewsKind(StrEnum):
    """What happened to an order: its own feed, from which SLA and paging live."""

    OPENED = "opened"
    REDATED = "redated"
    """Late evidence says that it began earlier."""
    ASSIGNED = "assigned"
    RESPONDED = "responded"
    CHECKED_IN = "checked_in"
    CLAIMED = "claimed"
    PROVED = "proved"
    WAIVER_ASKED = "waiver_asked"
    WAIVED = "waived"
    PAUSE_ASKED = "pause_asked"
    PAUSED = "paused"
    RESUMED = "resumed"
    RELAPSED = "relapsed"
    CLOSED = "closed"
    CANCELLED = "cancelled"
    NOTED = "noted"
    PART_USED = "part_used"
    PHOTO_ADDED = "photo_added"
    FORECAST = "forecast"
    """A clock passed so many percent of its target."""


@dataclass(frozen=True, slots=True)
class Target:
    """What has to be put right."""

    kid: str
    component: str
    code: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Stop:
    """Where a clock stopped, and what says so."""

    at: datetime
    by: str | None
    """The person; None when the kiosk itself says so."""
    evidence: str
    """`incident:<seq>`, `record:<no>`, `checkin:<nonce>`, `waiver`."""


@dataclass(frozen=True, slots=True)
class Pause:
    """A stretch in which the clocks stand still; it counts once nobody has to approve it any more."""

    id: str
    order: str
    reason: PauseReason
    evidence_kind: EvidenceKind
    evidence: str
    since: datetime
    until: datetime | None
    by: str
    approved_by: str | None
    counts: bool


@dataclass(frozen=True, slots=True)
class Order:
    """One work order."""

    id: str
    number: str
    kind: OrderKind
    state: OrderState
    cause: str
    place: str
    severity: Severity
    incident: str | None
    since: datetime
    opened_at: datetime
    text: str = ""
    assignee: str | None = None
    response: Stop | None = None
    on_site: Stop | None = None
    claimed_at: datetime | None = None
    claimed_by: str | None = None
    repair: Stop | None = None
    waiver_by: str | None = None
    """Who asks for a waiver."""
    waiver_reason: str | None = None
    probation_until: datetime | None = None
    fault_at: datetime | None = None
    """The last edge that said the fault is there; proof must be later."""
    closed_at: datetime | None = None
    relapses: int = 0
    response_level: int = 0
    repair_level: int = 0
    version: int = 0


@dataclass(frozen=True, slots=True)
class News:
    """One line of the feed."""

    kind: NewsKind
    at: datetime
    by: str | None = None
    fields: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the feed as it was written."""

    seq: int
    order: str
    written_at: datetime
    news: News


@dataclass(frozen=True, slots=True)
class PartUse:
    """A part that was changed."""

    id: str
    order: str
    kid: str
    component: str
    part: str
    serial_out: str
    serial_in: str
    at: datetime
    by: str
    warranty_until: datetime | None


@dataclass(frozen=True, slots=True)
class Photo:
    """A picture in the data folder, under its digest."""

    id: str
    order: str
    digest: str
    media_type: str
    size: int
    at: datetime
    by: str


@dataclass(frozen=True, slots=True)
class SelfTest:
    """One result of a device's own test, as it came over the uplink."""

    no: int
    kid: str
    component: str
    test: str
    at: datetime
    is_passed: bool
    by: str


@dataclass(frozen=True, slots=True)
class FaultStatus:
    """The last that is known of a target's alarm."""

    is_open: bool
    last_raised_at: datetime | None
    cleared_at: datetime | None
