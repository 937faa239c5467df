"""Presence: records inside, models at the API's edge."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from fleet_server.registry.model import PresenceState
from wire.presence import Activity

Asked = Annotated[AwareDatetime, Field(ge=datetime(1970, 1, 1, tzinfo=UTC), le=datetime(9000, 1, 1, tzinfo=UTC))]
"""A moment a client may ask about: with a zone, and in years that can be moved to any zone."""


@dataclass(frozen=True, slots=True)
class Status:
    """What is known of one kiosk right now."""

    kid: str
    state: PresenceState
    since: datetime
    reason: str
    session: int = 0
    boot: str | None = None
    last_seen_at: datetime | None = None
    agent_version: str | None = None
    activity: Activity = Activity.UNKNOWN
    clock_offset_s: float | None = None
    queue_rows: int = 0
    birth: dict[str, Any] | None = None
    offline_alarm: bool = False
    unstable_alarm: bool = False
    change_seq: int = 0


@dataclass(frozen=True, slots=True)
class EdgeRecord:
    """One change of state: when the evidence says it happened, and when it was noticed."""

    kid: str
    state: PresenceState
    since: datetime
    detected_at: datetime
    reason: str


class PresenceQuery(BaseModel):
    """Which part of the timeline."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    since: Asked | None = Field(default=None, alias="from")
    until: Asked | None = Field(default=None, alias="to")


class PresenceSpan(BaseModel):
    """A stretch of the timeline in one state; the last one has no end."""

    presence: PresenceState
    since: datetime
    until: datetime | None
    reason: str
    detected_at: datetime | None


class PresenceTimeline(BaseModel):
    """A kiosk's states over a span, oldest first."""

    edges: list[PresenceSpan]


class ComponentView(BaseModel):
    """One part of a kiosk as its birth described it, with its open alarm."""

    name: str
    kind: str
    model: str | None
    firmware: str | None
    serial: str | None
    state: str
    fault: str | None
    since: datetime | None


class ComponentsView(BaseModel):
    """What a kiosk is made of."""

    components: list[ComponentView]
    agent_version: str | None
    boot: str | None
    started_at: datetime | None
    profile: str | None
    os: str | None
    kernel: str | None
    hostname: str | None
    addresses: list[str]
    certificate_expires_at: datetime | None
