"""The agent's local API on 127.0.0.1: HTTP resources and the WebSocket envelope of XFS4IoT.

The envelope follows CWA 17852 (XFS4IoT), core messages: a command is acknowledged, may send events, and
ends in exactly one completion with the same request id.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from wire.consumables import ConsumableStatus
from wire.enrolment import PairingCode
from wire.envelope import ComponentName, Moment, ShortText, Text, WireModel
from wire.faults import Severity
from wire.functions import FunctionStatus
from wire.presence import Activity, QueueDepth


class MessageType(StrEnum):
    """CWA 17852, message header `type`."""

    COMMAND = "command"
    ACKNOWLEDGE = "acknowledge"
    EVENT = "event"
    COMPLETION = "completion"
    UNSOLICITED = "unsolicited"


class CompletionCode(StrEnum):
    """CWA 17852, `completionCode`, as far as used; with `commandErrorCode` the payload has an `errorCode`."""

    SUCCESS = "success"
    COMMAND_ERROR = "commandErrorCode"
    CANCELED = "canceled"
    DEVICE_NOT_READY = "deviceNotReady"
    HARDWARE_ERROR = "hardwareError"
    INTERNAL_ERROR = "internalError"
    INVALID_DATA = "invalidData"
    TIME_OUT = "timeOut"
    UNSUPPORTED_COMMAND = "unsupportedCommand"
    USER_ERROR = "userError"
    SEQUENCE_ERROR = "sequenceError"


class AcknowledgeStatus(StrEnum):
    """CWA 17852, `status` of an acknowledge that refuses; there is none when the command was accepted."""

    INVALID_MESSAGE = "invalidMessage"
    INVALID_REQUEST_ID = "invalidRequestID"
    TOO_MANY_REQUESTS = "tooManyRequests"


class MessageHeader(WireModel):
    """CWA 17852, message header; `timeout` in milliseconds, 0 means the service's own limit."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z]+\.[A-Za-z]+$", max_length=64)]
    requestId: int | None = Field(default=None, ge=1)  # noqa: N815 - the standard's field name
    type: MessageType
    timeout: int | None = Field(default=None, ge=0)
    status: ShortText | None = None
    completionCode: ShortText | None = None  # noqa: N815 - the standard's field name
    errorDescription: Text | None = None  # noqa: N815 - the standard's field name


class DeviceMessage(WireModel):
    """One WebSocket message either way."""

    header: MessageHeader
    payload: dict[str, Any] = Field(default_factory=dict)


class LinkState(StrEnum):
    """How the kiosk stands with the fleet server."""

    NOT_ENROLLED = "not_enrolled"
    ENROLLING = "enrolling"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    REFUSED = "refused"
    OFFLINE = "offline"


class ComponentHealth(StrEnum):
    """What is known of a part; no evidence is `unknown`, never ok."""

    OK = "ok"
    DEGRADED = "degraded"
    FAULTED = "faulted"
    SILENT = "silent"
    UNKNOWN = "unknown"


class ComponentView(WireModel):
    """One part of the kiosk as the local API shows it."""

    name: ComponentName
    kind: ShortText
    health: ComponentHealth
    last_evidence_age_s: float | None = None
    detail: Text | None = None


class AlarmView(WireModel):
    """An alarm that is up on this kiosk."""

    component: ComponentName
    code: ShortText
    severity: Severity
    since: Moment
    title: Text


class UplinkView(WireModel):
    """The state of the uplink."""

    state: LinkState
    session: int = 0
    epoch: ShortText | None = None
    queue: QueueDepth = Field(default_factory=QueueDepth)
    server_online: bool | None = None
    last_error: Text | None = None
    last_receipt_age_s: float | None = None


class AgentState(WireModel):
    """GET /api/v1/state."""

    kid: ShortText | None = None
    agent_version: ShortText
    boot: ShortText
    started_at: Moment
    uptime_s: float
    activity: Activity
    uplink: UplinkView
    clock_offset_s: float | None = None
    certificate_expires_at: Moment | None = None
    components: list[ComponentView] = Field(default_factory=list)
    alarms: list[AlarmView] = Field(default_factory=list)
    metrics: dict[ShortText, float] = Field(default_factory=dict)
    functions: list[FunctionStatus] = Field(default_factory=list)
    consumables: list[ConsumableStatus] = Field(default_factory=list)


class FunctionsChanged(WireModel):
    """Payload of `Common.FunctionsChanged`: all functions; sent to a page that joins, and whenever one changes."""

    functions: list[FunctionStatus]


class ConsumablesChanged(WireModel):
    """Payload of `Common.ConsumablesChanged`: all consumables; sent to a page that joins, and whenever one changes."""

    consumables: list[ConsumableStatus]


class HealthView(WireModel):
    """GET /api/v1/health: `ok` means this process serves; it says nothing about the network."""

    status: ComponentHealth
    reasons: list[ShortText] = Field(default_factory=list)


class EnrolmentView(WireModel):
    """GET /api/v1/enrolment: what the kiosk's screen shows to the engineer."""

    state: LinkState
    pairing_code: PairingCode | None = None
    expires_in_s: float | None = None
    serial: ShortText | None = None
    message: Text | None = None


class SessionState(WireModel):
    """Payload of `Session.*`: the lease of the page that serves a patient."""

    lease: ShortText | None = None
    activity: Activity
    expires_in_s: float | None = None


class HelpState(WireModel):
    """Event `Kiosk.HelpChanged` and the answer of `Kiosk.*`: whether a patient called staff to this kiosk."""

    is_called: bool
    since: Moment | None = None


class OrderStatus(WireModel):
    """One order of this kiosk at the patient platform, in the platform's words; nothing says whose it is."""

    order: ShortText
    case_number: ShortText = ""
    business: ShortText
    channel: ShortText | None = None
    money: ShortText
    posting: ShortText = ""
    fulfilment: ShortText = ""
    advice: ShortText = ""


class OrdersChanged(WireModel):
    """Event `Payment.OrdersChanged`: all orders of this kiosk that are not over."""

    orders: list[OrderStatus] = Field(max_length=64)
