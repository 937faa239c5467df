"""The parts of the fleet server's API that belong to telemetry, presence, alarms and staff, as the pages use them."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field

from fleet_server.registry.ports import PresenceState


class PresenceEdgeView(BaseModel):
    presence: PresenceState
    since: datetime
    until: datetime | None
    reason: str | None


class PresenceTimeline(BaseModel):
    edges: list[PresenceEdgeView]


class ComponentView(BaseModel):
    name: str
    kind: str
    model: str | None
    firmware: str | None
    serial: str | None
    state: str
    fault: str | None
    since: datetime | None


class ComponentsView(BaseModel):
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


class KiosksQuery(BaseModel):
    area: str | None = None
    floor: str | None = None
    presence: PresenceState | None = None
    q: str | None = None
    limit: int = Field(default=200, ge=1, le=1000)
    cursor: str | None = None


class PresenceQuery(BaseModel):
    from_: datetime = Field(alias="from")
    to: datetime
