"""Work orders at the API's edge: what it takes and what it shows."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final

from pydantic import AwareDatetime, Base64Bytes, BaseModel, ConfigDict, Field

from fleet_server.orders.model import EvidenceKind, NewsKind, Order, OrderKind, OrderState, Pause, PauseReason
from fleet_server.orders.photos import LIMIT_BYTES
from fleet_server.orders.progress import TARGET_S, level_of, repair_s, response_s
from wire.checkin import LIMIT_CHARACTERS
from wire.envelope import ComponentName, Scalar
from wire.faults import FACTS, Fault, Severity
from wire.identity import KioskId

PHOTO_BODY_BYTES: Final = LIMIT_BYTES * 4 // 3 + 4_096
Account = Annotated[str, Field(min_length=1, max_length=64)]
Words = Annotated[str, Field(min_length=1, max_length=512, pattern=r"\S")]
Serial = Annotated[str, Field(min_length=1, max_length=64)]
_FAULTS: Final = {fault.value: fault for fault in Fault}


class Form(BaseModel):
    """What the API takes; unknown members are mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class OrderQuery(Form):
    """Which orders to show."""

    state: str = Field(default="open", pattern="^(open|closed|all)$")
    kid: KioskId | None = None
    limit: int = Field(default=200, ge=1, le=1_000)


class NewOrder(Form):
    """An order by hand: for a fault that no device tells of, a call for help, a guide, or a plan."""

    kind: OrderKind = OrderKind.MANUAL
    kid: KioskId
    component: ComponentName | None = None
    text: Words
    severity: Severity = Severity.MINOR


class AssignForm(Form):
    """To whom."""

    to: Account


class CheckInForm(Form):
    """The text of the code on the kiosk's screen; without an order, the own one at this kiosk."""

    code: Annotated[str, Field(min_length=1, max_length=LIMIT_CHARACTERS)]
    order: str | None = Field(default=None, max_length=26)


class PauseForm(Form):
    """Why the clocks should stand still, and what proves it."""

    reason: PauseReason
    evidence_kind: EvidenceKind
    evidence: Annotated[str, Field(min_length=1, max_length=192)]
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None


class ReasonForm(Form):
    """Why."""

    reason: Words


class NoteForm(Form):
    """What somebody has to say."""

    text: Words


class PartForm(Form):
    """A part that was changed."""

    kid: KioskId
    component: ComponentName
    part: Serial
    serial_out: Annotated[str, Field(max_length=64)] = ""
    serial_in: Annotated[str, Field(max_length=64)] = ""
    warranty_until: AwareDatetime | None = None


class PhotoForm(Form):
    """A picture, JPEG or PNG, as base64."""

    content: Base64Bytes


class RoundQuery(Form):
    """What will run out within so many days."""

    days: float = Field(default=2.0, ge=0.0, le=60.0)
    floor: str | None = Field(default=None, max_length=16)


class StopView(BaseModel):
    """Where a clock stopped, and what says so."""

    at: datetime
    by: str | None
    evidence: str


class PauseView(BaseModel):
    """A pause; it counts once nobody has to approve it any more."""

    id: str
    reason: PauseReason
    evidence_kind: EvidenceKind
    evidence: str
    since: datetime
    until: datetime | None
    by: str
    approved_by: str | None
    counts: bool


class ClockView(BaseModel):
    """What one clock shows."""

    target_s: float
    elapsed_s: float
    left_s: float
    percent: int
    """The highest level that is passed."""
    stopped_at: datetime | None


class OrderView(BaseModel):
    """A row of the list."""

    id: str
    number: str
    kind: OrderKind
    state: OrderState
    cause: str
    title_zh: str
    title_en: str
    place: str
    severity: Severity
    incident: str | None
    since: datetime
    opened_at: datetime
    text: str
    assignee: str | None
    relapses: int
    closed_at: datetime | None
    response: ClockView
    repair: ClockView


class TargetView(BaseModel):
    """What has to be put right."""

    kid: str
    component: str
    code: str
    since: datetime


class PartView(BaseModel):
    """A part that was changed."""

    id: str
    kid: str
    component: str
    part: str
    serial_out: str
    serial_in: str
    at: datetime
    by: str
    warranty_until: datetime | None


class PhotoView(BaseModel):
    """A picture."""

    id: str
    digest: str
    media_type: str
    size: int
    at: datetime
    by: str


class LineView(BaseModel):
    """A line of the timeline."""

    seq: int
    kind: NewsKind
    at: datetime
    written_at: datetime
    by: str | None
    fields: dict[str, Scalar]


class OrderDetail(OrderView):
    """An order, whole."""

    responded: StopView | None
    on_site: StopView | None
    repaired: StopView | None
    waiver_by: str | None
    waiver_reason: str | None
    probation_until: datetime | None
    missing: list[str]
    """What is still missing before the repair counts; empty when nothing is."""
    targets: list[TargetView]
    pauses: list[PauseView]
    parts: list[PartView]
    photos: list[PhotoView]
    timeline: list[LineView]


class StopOver(BaseModel):
    """One kiosk of a round."""

    kid: str
    place: str
    bring: list[str]
    days_left: float | None


class RoundView(BaseModel):
    """One floor of a walking round: the kiosks in walking order, and what to bring."""

    floor: str
    bring: list[str]
    stops: list[StopOver]


def _clock(elapsed_s: float, stopped_at: datetime | None) -> ClockView:
    return ClockView(
        target_s=TARGET_S,
        elapsed_s=elapsed_s,
        left_s=TARGET_S - elapsed_s,
        percent=level_of(elapsed_s),
        stopped_at=stopped_at,
    )


def view(order: Order, pauses: list[Pause], now: datetime) -> OrderView:
    """The order with its clocks and texts; a cause this release does not know is shown by itself."""
    facts = FACTS.get(_FAULTS[order.cause]) if order.cause in _FAULTS else None
    given = {name: getattr(order, name) for name in OrderView.model_fields if hasattr(order, name)}
    answered = [stop.at for stop in (order.response, order.on_site, order.repair) if stop is not None]
    clocks = {
        "response": _clock(response_s(order, now, pauses), min(answered, default=None)),
        "repair": _clock(repair_s(order, now, pauses), None if order.repair is None else order.repair.at),
    }
    return OrderView(
        **{**given, **clocks},
        title_zh=facts.zh if facts else order.text or order.cause,
        title_en=facts.en if facts else order.text or order.cause,
    )
