"""An order as the kiosk page and the agent see it: states, advice, and the receipt with nothing unmasked on it.

The page does not interpret combinations of states. `advice` says what to show, decided in one place and tested; the
three states are there for the three ticks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from patient_platform.his.reading import HOSPITAL_TIME
from patient_platform.identity.masking import mask_name
from patient_platform.identity.model import Patient
from patient_platform.identity.vault import Vault
from patient_platform.money import Fen, to_yuan
from patient_platform.payment.model import (
    OPEN_REFUNDS,
    Business,
    ChannelName,
    Fulfilment,
    FulfilmentEvent,
    Method,
    Money,
    Order,
    Posting,
    Reason,
    RefundState,
)
from patient_platform.payment.rules import is_over
from patient_platform.payment.service import open_until


class Advice(StrEnum):
    """What the page shows."""

    PAY = "pay"
    CONFIRM_ON_PHONE = "confirm_on_phone"
    SHOW_CODE = "show_code"
    WAIT = "wait"
    DO_NOT_PAY_AGAIN = "do_not_pay_again"
    PRINT = "print"
    DONE = "done"
    REFUNDING = "refunding"
    REFUNDED = "refunded"
    ENDED = "ended"
    ASK_STAFF = "ask_staff"


class OrderView(BaseModel):
    """One order."""

    order: str
    version: int
    case_number: str
    business: Business
    session: str
    amount_fen: int
    refunded_fen: int
    channel: ChannelName | None
    method: Method | None
    money: Money
    posting: Posting
    fulfilment: Fulfilment
    qr_text: str | None
    expires_at: AwareDatetime | None
    created_at: AwareDatetime
    is_settled: bool
    can_cancel: bool
    advice: Advice
    reason: Reason | None


class OrdersView(BaseModel):
    """Orders of a kiosk."""

    orders: list[OrderView]


class PayBody(BaseModel):
    """How to pay."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    channel: ChannelName
    method: Method
    code: Annotated[str, Field(pattern=r"^[0-9]{16,24}$")] | None = None


class PaperState(StrEnum):
    """What became of the paper, as the kiosk says it."""

    PRINTING = "printing"
    PRINTED = "printed"
    FAILED = "failed"
    UNCERTAIN = "uncertain"


PAPER_EVENTS: Final[Mapping[PaperState, FulfilmentEvent]] = {
    PaperState.PRINTING: FulfilmentEvent.PRINT,
    PaperState.PRINTED: FulfilmentEvent.PRINTED,
    PaperState.FAILED: FulfilmentEvent.FAILED,
    PaperState.UNCERTAIN: FulfilmentEvent.UNCERTAIN,
}


class PaperBody(BaseModel):
    """What became of the paper."""

    model_config = ConfigDict(extra="forbid")

    state: PaperState
    reason: Annotated[str, Field(max_length=60)] | None = None


class WaitQuery(BaseModel):
    """Answer when the order is newer than this, or after a while."""

    model_config = ConfigDict(extra="forbid")

    after: Annotated[int, Field(ge=0)] = 0
    wait_s: Annotated[float, Field(ge=0.0, le=25.0)] = 0.0


class ReceiptLine(BaseModel):
    """One line of a receipt."""

    name: str
    specification: str = ""
    quantity: str = ""
    amount: str


class ReceiptView(BaseModel):
    """What the agent prints: texts only, masked, in the order of the template."""

    template: str
    fields: dict[str, str]
    lines: list[ReceiptLine]


_PAYABLE: Final = frozenset({Money.FAILED, Money.CLOSED})


def view(order: Order) -> OrderView:
    """An order for the page."""
    leg = order.leg
    money = money_of(order)
    is_shown = leg is not None and leg.state is Money.PENDING and leg.method is Method.QR_CODE
    return OrderView(
        order=order.order,
        version=order.version,
        case_number=order.case_number,
        business=order.business,
        session=order.session,
        amount_fen=order.amount_fen,
        refunded_fen=order.refunded_fen() + _reversed_fen(order),
        channel=None if leg is None else leg.channel,
        method=None if leg is None else leg.method,
        money=money,
        posting=order.posting,
        fulfilment=order.fulfilment,
        qr_text=leg.qr_text if is_shown and leg is not None else None,
        expires_at=open_until(order),
        created_at=order.created_at,
        is_settled=is_over(order),
        can_cancel=order.ended_at is None and order.paid_leg is None,
        advice=advice(order),
        reason=order.reason or (leg.reason if leg is not None and money is not Money.PAID else None),
    )


def _reversed_fen(order: Order) -> int:
    """What was paid and taken back at once, before it counted."""
    return sum(leg.amount_fen for leg in order.legs if leg.state is Money.REVERSED)


def money_of(order: Order) -> Money:
    """The money of the whole order; insurance legs will have to be paid too."""
    if order.paid_leg is not None:
        return Money.PAID
    leg = order.leg
    if leg is None:
        return Money.CREATED if order.ended_at is None else Money.CLOSED
    return leg.state


def advice(order: Order) -> Advice:
    """What to show."""
    if _needs_person(order):
        return Advice.ASK_STAFF
    if order.refunds and order.posting is not Posting.POSTED:
        return Advice.REFUNDING if _is_refunding(order) else Advice.REFUNDED
    if order.paid_leg is not None:
        return _after_payment(order)
    return _before_payment(order)


def _needs_person(order: Order) -> bool:
    return (
        order.posting is Posting.MANUAL
        or any(leg.state is Money.MANUAL for leg in order.legs)
        or any(refund.state in {RefundState.MANUAL, RefundState.REFUSED} for refund in order.refunds)
    )


def _is_refunding(order: Order) -> bool:
    return any(refund.state in OPEN_REFUNDS for refund in order.refunds)


def _after_payment(order: Order) -> Advice:
    if order.posting is not Posting.POSTED:
        return Advice.WAIT
    if order.refunds:
        return Advice.REFUNDING if _is_refunding(order) else Advice.REFUNDED
    waiting = {Fulfilment.WAITING, Fulfilment.PRINTING, Fulfilment.FAILED, Fulfilment.UNCERTAIN}
    return Advice.PRINT if order.fulfilment in waiting else Advice.DONE


def _before_payment(order: Order) -> Advice:
    leg = order.leg
    if leg is not None and leg.state is Money.REVERSED:
        return Advice.REFUNDED
    if leg is None or leg.state in _PAYABLE:
        return Advice.PAY if order.ended_at is None else Advice.ENDED
    match leg.state:
        case Money.PENDING:
            return Advice.SHOW_CODE if leg.method is Method.QR_CODE else Advice.CONFIRM_ON_PHONE
        case Money.CREATED | Money.SUBMITTED:
            return Advice.WAIT
        case Money.LATE_PAID:
            return Advice.REFUNDING
        case _:
            return Advice.DO_NOT_PAY_AGAIN


CHANNEL_TEXTS: Final = {ChannelName.WECHAT: "微信支付", ChannelName.ALIPAY: "支付宝"}
TEMPLATES: Final = {Business.BILL: "payment_receipt", Business.REGISTRATION: "registration_ticket"}


def receipt(order: Order, patient: Patient, vault: Vault, hospital: str, campus: str) -> ReceiptView:
    """The paper of a posted order.

    Raises:
        Unsealable: its sealed part cannot be opened.
    """
    sealed = order.subject.get("sealed")
    facts = json.loads(vault.open(sealed, "receipt")) if isinstance(sealed, str) else {}
    leg = order.paid_leg
    paid_at = order.created_at if leg is None or leg.paid_at is None else leg.paid_at
    fields = {
        "hospital": hospital,
        "campus": campus,
        "patient": mask_name(patient.name),
        "visit_number": patient.visit_number,
        "department": str(facts.get("department", "")),
        "doctor": str(facts.get("doctor", "")),
        "total": to_yuan(order.amount_fen),
        "channel": "" if leg is None else CHANNEL_TEXTS[leg.channel],
        "trade_no": "" if leg is None else leg.trade_no,
        "channel_no": "" if leg is None else (leg.channel_no or ""),
        "paid_at": paid_at.astimezone(HOSPITAL_TIME).strftime("%Y-%m-%d %H:%M:%S"),
        "case_number": order.case_number,
        "kiosk": order.kiosk,
        "queue_number": str(order.posted.get("see_no") or facts.get("queue_number") or ""),
        "location": str(order.posted.get("location") or facts.get("location") or ""),
        "window": str(order.posted.get("window") or ""),
        "time": " - ".join(str(facts[name]) for name in ("begin", "end") if facts.get(name)),
        "reconciliation_no": str(order.posted.get("reconciliation_no") or ""),
        "copy": "补打" if order.prints > (order.fulfilment is Fulfilment.PRINTING) else "",
    }
    lines = [
        ReceiptLine(
            name=str(line.get("name", "")),
            specification=str(line.get("specification", "")),
            quantity=str(line.get("quantity", "")),
            amount=to_yuan(Fen(int(line.get("amount_fen", 0)))),
        )
        for line in facts.get("lines", [])
    ]
    return ReceiptView(template=TEMPLATES[order.business], fields=fields, lines=lines)
