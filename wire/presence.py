"""Who is there: presence with will, self-description at birth, heartbeat, and the server's own state."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from wire.consumables import ConsumableStatus
from wire.envelope import ComponentName, Moment, Scalar, ShortText, Text, WireMessage, WireModel
from wire.functions import FunctionStatus

SESSION_LIMIT = 2**63 - 1
KEEPALIVE_S = 20
HEARTBEAT_S = 15.0
WILL_DELAY_S = 5


class PresenceReason(StrEnum):
    """Why a presence message says what it says; a planned stop is no fault."""

    CONNECTED = "connected"
    CONNECTION_LOST = "connection_lost"
    SHUTDOWN = "shutdown"
    REBOOT = "reboot"
    UPDATE = "update"
    MAINTENANCE = "maintenance"


class Presence(WireMessage):
    """`up/presence`: retained, and registered as the will with reason `connection_lost`.

    `session` is a counter kept on the kiosk's disk, raised at every connect: a late will of an older
    session is ignored.
    """

    session: int = Field(ge=1, le=SESSION_LIMIT)
    online: bool
    reason: PresenceReason
    at: Moment
    boot: ShortText


class Component(WireModel):
    """One device or part of the kiosk and what it can do."""

    name: ComponentName
    kind: ShortText
    model: ShortText | None = None
    firmware: ShortText | None = None
    serial: ShortText | None = None
    capabilities: dict[ShortText, Scalar] = Field(default_factory=dict, max_length=64)


class HostFacts(WireModel):
    """The machine under the agent; `fingerprint` is a digest of hardware ids, the same across reinstalls."""

    hostname: ShortText
    fingerprint: ShortText
    os: ShortText | None = None
    kernel: ShortText | None = None
    cpu_model: Annotated[str, Field(max_length=128)] | None = None
    cpu_count: int | None = Field(default=None, ge=1)
    memory_bytes: int | None = Field(default=None, ge=0)
    addresses: list[ShortText] = Field(default_factory=list, max_length=16)
    usb: list[Text] = Field(default_factory=list, max_length=64)


class Birth(WireMessage):
    """`up/birth`: retained self-description, sent after every connect."""

    session: int = Field(ge=1, le=SESSION_LIMIT)
    boot: ShortText
    at: Moment
    agent_version: ShortText
    epoch: ShortText
    profile: ShortText | None = None
    serial: ShortText | None = None
    host: HostFacts
    components: list[Component] = Field(default_factory=list, max_length=64)
    twin_version: int = Field(default=0, ge=0)
    certificate_expires_at: Moment | None = None
    started_at: Moment | None = None
    functions: list[FunctionStatus] = Field(default_factory=list, max_length=32)
    """As they stood at `at`; what changed since is in the uplink's records."""
    consumables: list[ConsumableStatus] = Field(default_factory=list, max_length=32)


class Activity(StrEnum):
    """What the kiosk is doing with patients right now."""

    IDLE = "idle"
    IN_SESSION = "in_session"
    PAYING = "paying"
    UNKNOWN = "unknown"


class QueueDepth(WireModel):
    """Records waiting in the outbox, by class."""

    p0: int = Field(default=0, ge=0)
    p1: int = Field(default=0, ge=0)
    p2: int = Field(default=0, ge=0)
    bytes: int = Field(default=0, ge=0)
    oldest_age_s: float = Field(default=0.0, ge=0.0)


class Live(WireMessage):
    """`up/live`: the heartbeat every 15 s, QoS 0; `sample` only while somebody watches."""

    session: int = Field(ge=1, le=SESSION_LIMIT)
    boot: ShortText
    at: Moment
    uptime_s: float = Field(default=0.0, ge=0.0)
    activity: Activity = Activity.UNKNOWN
    queue: QueueDepth = Field(default_factory=QueueDepth)
    clock_offset_s: float | None = None
    sample: dict[ShortText, float] | None = Field(default=None, max_length=64)


class ServerState(WireMessage):
    """`server/state`: retained and the server's will.

    Only a copy that arrives without the retain flag may be used to compare clocks.
    """

    online: bool
    epoch: ShortText
    utc: Moment
    backfill_per_s: float | None = Field(default=None, gt=0.0, le=10_000.0)
