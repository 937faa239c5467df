"""Incidents: records inside, models at the API's edge. Times are server time (UTC)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from wire.envelope import Scalar
from wire.faults import FACTS, Fault, Severity

_TEXT = r"^[^\x00-\x1f\x7f]*$"
Note = Annotated[str, Field(max_length=500, pattern=_TEXT)]


class IncidentState(StrEnum):
    """How far an incident is."""

    FORMING = "forming"
    """Its members are still being gathered; nobody is told yet."""
    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    """A named person has it."""
    RECOVERED = "recovered"
    """Every member is cleared; it may come back for a while."""
    CLOSED = "closed"


class Scope(StrEnum):
    """How far a cause reaches, the narrowest first."""

    COMPONENT = "component"
    KIOSK = "kiosk"
    POWER_FEED = "power_feed"
    SWITCH = "switch"
    AREA = "area"
    FLOOR = "floor"
    SITE = "site"
    SERVER = "server"
    """The fleet server's own side: broker, store, certificates."""
    OUTSIDE = "outside"
    """A system that is not ours: HIS, a payment channel."""


class Part(StrEnum):
    """What an alarm is to its incident."""

    CAUSE = "cause"
    CHILD = "child"
    """Follows from the cause: nobody is paged for it."""


class EventKind(StrEnum):
    """What happened to an incident."""

    OPENED = "opened"
    """Gathered: people may be told now."""
    WORSENED = "worsened"
    """More severe or wider than when it was acknowledged."""
    ACKNOWLEDGED = "acknowledged"
    SNOOZED = "snoozed"
    NOTED = "noted"
    JOINED = "joined"
    LEFT = "left"
    RECOVERED = "recovered"
    RELAPSED = "relapsed"
    """Recovered, and up again within the time in which that is the same case."""
    MUTED = "muted"
    """Inside a maintenance window: evidence is kept, nobody is paged."""
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Incident:
    """One cause."""

    id: str
    number: int
    """What people say aloud; shown as `INC-000123`."""
    state: IncidentState
    cause: str
    """A code of `wire.faults`; one of a newer release stays as it came."""
    scope: Scope
    scope_name: str
    """The kiosk, switch, area … it reaches; `kid/component` for a component."""
    severity: Severity
    since: datetime
    """When the evidence says it began."""
    detected_at: datetime
    gathers_until: datetime | None = None
    """While it forms: when its members are taken to be complete."""
    opened_at: datetime | None = None
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None
    recovered_at: datetime | None = None
    """When the evidence says that the last member was well again."""
    closed_at: datetime | None = None
    flaps: int = 0
    snoozed_until: datetime | None = None
    window: str | None = None
    """The maintenance window it began in."""
    is_hist: bool = False
    """Only of late evidence: it never pages anyone."""
    version: int = 0
    change_seq: int = 0


@dataclass(frozen=True, slots=True)
class Member:
    """One alarm of an incident."""

    incident: str
    kid: str
    component: str
    code: str
    part: Part
    severity: Severity
    since: datetime
    cleared_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """Planned work: what happens in its scope meanwhile pages nobody."""

    id: str
    scope: Scope
    scope_name: str
    """Empty for the whole fleet (scope `site`)."""
    starts_at: datetime
    ends_at: datetime
    reason: str
    created_by: str


@dataclass(frozen=True, slots=True)
class NewEvent:
    """A line of the feed that has no number yet."""

    incident: str
    kind: EventKind
    at: datetime
    by: str | None = None
    fields: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class IncidentEvent:
    """One line of the feed from which paging, orders and SLA live."""

    seq: int
    incident: str
    kind: EventKind
    at: datetime
    """Server time of the evidence or of the act."""
    written_at: datetime
    by: str | None = None
    """The person or the token; None for the server itself."""
    fields: Mapping[str, Scalar] = field(default_factory=dict)


class Form(BaseModel):
    """What a client sends: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class AcknowledgeForm(Form):
    """I have it."""

    note: Note = ""


class NoteForm(Form):
    """A line for the timeline."""

    note: Annotated[Note, Field(min_length=1)]


class SnoozeForm(Form):
    """Page nobody until then."""

    until: AwareDatetime
    note: Note = ""


class WindowForm(Form):
    """Planned work; scope `site` without a name is the whole fleet."""

    scope: Scope
    scope_name: Annotated[str, Field(max_length=128, pattern=_TEXT)] = ""
    starts_at: AwareDatetime
    ends_at: AwareDatetime
    reason: Annotated[str, Field(min_length=1, max_length=200, pattern=_TEXT)]


class IncidentQuery(Form):
    """Which incidents to show."""

    state: str = Field(default="open", pattern="^(open|recovered|closed|all)$")
    kid: str | None = Field(default=None, max_length=40)
    limit: int = Field(default=100, ge=1, le=1_000)
    cursor: int | None = Field(default=None, ge=1, le=2**63 - 1)
    """Only incidents before this number."""


class IncidentView(BaseModel):
    """An incident as people see it, in both languages."""

    id: str
    number: int
    name: str
    """What people say: `INC-000123`."""
    state: IncidentState
    cause: str
    title_zh: str
    title_en: str
    scope: Scope
    scope_name: str
    severity: Severity
    since: datetime
    detected_at: datetime
    opened_at: datetime | None
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    recovered_at: datetime | None
    closed_at: datetime | None
    flaps: int
    snoozed_until: datetime | None
    window: str | None
    is_hist: bool


class MemberView(BaseModel):
    """An alarm of an incident."""

    kid: str
    component: str
    code: str
    part: Part
    severity: Severity
    since: datetime
    cleared_at: datetime | None


class IncidentEventView(BaseModel):
    """A line of an incident's timeline."""

    seq: int
    kind: EventKind
    at: datetime
    written_at: datetime
    by: str | None
    fields: dict[str, Scalar]


class IncidentDetail(IncidentView):
    """An incident, whole."""

    remedy_zh: str
    remedy_en: str
    runbook: str
    spare_part: str | None
    members: list[MemberView]
    timeline: list[IncidentEventView]


class WindowView(BaseModel):
    """Planned work."""

    id: str
    scope: Scope
    scope_name: str
    starts_at: datetime
    ends_at: datetime
    reason: str
    created_by: str


_FAULTS = {fault.value: fault for fault in Fault}


def name_of(number: int) -> str:
    """What people call an incident."""
    return f"INC-{number:06d}"


def view(incident: Incident) -> IncidentView:
    """The incident with its texts; a cause this release does not know is shown by itself."""
    facts = FACTS.get(_FAULTS[incident.cause]) if incident.cause in _FAULTS else None
    given = {name: getattr(incident, name) for name in IncidentView.model_fields if hasattr(incident, name)}
    return IncidentView(
        **given,
        name=name_of(incident.number),
        title_zh=facts.zh if facts else incident.cause,
        title_en=facts.en if facts else incident.cause,
    )
