"""Incidents: records inside, models at the API's edge. Times are server time (UTC)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from wire.envelope import Scalar
from wire.faults import Severity


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
