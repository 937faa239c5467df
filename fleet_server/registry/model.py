"""What the registry knows: records inside, models at the API's edge."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from wire.consumables import ConsumableStatus
from wire.enrolment import EnrolmentState, PairingCode
from wire.faults import Severity
from wire.functions import FunctionStatus
from wire.identity import KioskId
from wire.presence import Activity

AssetNo = Annotated[str, Field(min_length=3, max_length=40)]
Reason = Annotated[str, Field(min_length=1, max_length=200)]


class KioskState(StrEnum):
    """Where a kiosk stands; only an `enrolled` one is listened to."""

    PLANNED = "planned"
    ENROLLED = "enrolled"
    QUARANTINED = "quarantined"
    REVOKED = "revoked"
    RETIRED = "retired"


class KioskEvent(StrEnum):
    """What moves a kiosk on."""

    ENROL = "enrol"
    """An engineer confirmed a key; on an enrolled kiosk this replaces the old one."""
    QUARANTINE = "quarantine"
    RELEASE = "release"
    REVOKE = "revoke"
    RETIRE = "retire"


class QuarantineReason(StrEnum):
    """Why a kiosk is not listened to."""

    CLONED = "cloned"
    FLOODING = "flooding"
    MANUAL = "manual"


class PresenceState(StrEnum):
    """Whether a kiosk is there, as the server judges it."""

    NEVER = "never"
    ONLINE = "online"
    UNSTABLE = "unstable"
    OFFLINE = "offline"
    PLANNED = "planned"
    """It said goodbye: reboot, update, maintenance, shutdown."""
    UNKNOWN = "unknown"
    """The server itself cannot see: it just started or lost the broker."""


@dataclass(frozen=True, slots=True)
class Asset:
    """One line of the hospital's asset list."""

    asset_no: str
    kid: str
    serial: str | None
    place: str
    area: str
    floor: str
    x: float | None
    y: float | None
    profile: str
    site: str | None = None
    """What kiosks share when many fail at once. None: the list has no such column, and what is known stays."""
    switch: str | None = None
    power_feed: str | None = None


@dataclass(frozen=True, slots=True)
class Kiosk:
    """One kiosk of the registry; `no` is its number in tables with many rows."""

    no: int
    kid: str
    asset_no: str
    serial: str | None
    place: str
    area: str
    floor: str
    x: float | None
    y: float | None
    profile: str
    state: KioskState
    state_since: datetime
    state_reason: str | None
    quarantine: QuarantineReason | None
    change_seq: int
    """Rises with every change of any kiosk."""
    site: str = ""
    switch: str = ""
    """The network switch it hangs on."""
    power_feed: str = ""
    """The distribution board that feeds it."""


class CertificateState(StrEnum):
    """Whether a certificate opens doors."""

    ACTIVE = "active"
    SUPERSEDED = "superseded"
    """A newer one was issued but not seen in use yet."""
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """A certificate in the registry; digests in hex."""

    fingerprint: str
    kid: str
    serial: str
    key_digest: str
    pem: str
    not_before: datetime
    not_after: datetime
    issued_at: datetime
    issued_by: str
    state: CertificateState
    revoked_at: datetime | None = None
    revoke_reason: str | None = None
    cut: bool = False
    """Revoked, and a connection with it is to be ended."""


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A request for an identity; the poll token is kept as a digest only."""

    id: str
    state: EnrolmentState
    csr: str
    key_digest: str
    serial: str
    model: str | None
    hostname: str | None
    agent_version: str | None
    nonce: str
    poll_token_digest: str
    source: str
    created_at: datetime
    expires_at: datetime
    wrong_tries: int
    kid: str | None
    decided_at: datetime | None
    decided_by: str | None
    reason: str | None
    fingerprint: str | None


class View(BaseModel):
    """What the API shows."""

    model_config = ConfigDict(frozen=True)


class Form(BaseModel):
    """What the API takes; unknown members are mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class KioskView(View):
    """A row of the fleet list."""

    kid: str
    asset_no: str
    serial: str | None
    place: str
    area: str
    floor: str
    x: float | None
    y: float | None
    profile: str
    state: KioskState
    presence: PresenceState
    presence_since: datetime | None = None
    last_seen_at: datetime | None = None
    age_s: float | None = None
    """Seconds since the kiosk was last heard."""
    agent_version: str | None = None
    activity: Activity = Activity.UNKNOWN
    alarms_open: int = 0
    alarm_worst: Severity | None = None
    cpu_percent: float | None = None
    memory_percent: float | None = None
    disk_percent: float | None = None
    temperature_c: float | None = None
    clock_offset_s: float | None = None
    functions: list[FunctionStatus] = []
    """What patients can do there; `unknown`, whatever it said last, while nobody hears the kiosk."""
    consumables: list[ConsumableStatus] = []
    """What is left, as it said last."""


class CertificateView(View):
    """A certificate of a kiosk."""

    fingerprint: str
    serial: str
    state: CertificateState
    not_before: datetime
    not_after: datetime
    issued_at: datetime
    issued_by: str
    revoked_at: datetime | None
    revoke_reason: str | None


class KioskDetail(KioskView):
    """One kiosk, whole."""

    state_since: datetime
    state_reason: str | None
    quarantine: QuarantineReason | None
    site: str
    switch: str
    power_feed: str
    certificates: list[CertificateView]


class FloorView(View):
    """One floor of an area."""

    floor: str
    kiosks: int


class AreaView(View):
    """A part of the hospital."""

    area: str
    kiosks: int
    floors: list[FloorView]


class EnrolmentView(View):
    """A request as the engineer sees it; never the code: that is read from the kiosk's screen."""

    id: str
    state: EnrolmentState
    serial: str
    model: str | None
    hostname: str | None
    agent_version: str | None
    source: str
    created_at: datetime
    expires_at: datetime
    tries_left: int
    suggested_kid: str | None
    """The kiosk of the asset list with this serial number."""
    kid: str | None
    decided_at: datetime | None
    decided_by: str | None
    reason: str | None


class Confirmation(Form):
    """What the engineer sends in front of the kiosk."""

    code: PairingCode
    kid: KioskId
    accept_serial_mismatch: bool = False


class Reasoned(Form):
    """An action that needs a reason."""

    reason: Reason


class AssetUpload(Form):
    """A CSV file as text."""

    csv: Annotated[str, Field(max_length=4_000_000)]
    dry_run: bool = False


class AssetProblem(View):
    """One mistake of a CSV file; `line` counts as an editor does."""

    line: int
    column: str | None
    message: str


class AssetReport(View):
    """What an import did, or would do; with errors nothing was changed."""

    created: int
    updated: int
    unchanged: int
    dry_run: bool
    errors: list[AssetProblem]
