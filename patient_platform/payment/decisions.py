"""Which steps of an order are decisions that somebody may have to answer for: what of them is audited. Pure.

A kiosk's own requests are audited where they come in. Here it is what workers decide by themselves, and staff at the
console: to reverse a payment, to give money back, to leave something to a person, to give a paper free.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from patient_platform.audit.model import AuditEntry
from patient_platform.payment.model import Fulfilment, Leg, Money, Order, Posting, Refund, RefundState

WORKER: Final = "worker"
_REVERSALS: Final = frozenset({Money.REVERSING, Money.REVERSE_UNKNOWN})
_REFUND_ENDS: Final[Mapping[RefundState, str]] = {
    RefundState.SUCCESS: "refund.done",
    RefundState.REFUSED: "refund.refused",
    RefundState.MANUAL: "refund.manual",
}


def decisions(before: Order, after: Order, staff: str | None = None) -> Iterator[AuditEntry]:
    """The rows of one step; most steps have none. `staff` is who at the console asked for it."""
    actor = staff or WORKER
    legs = {leg.trade_no: leg.state for leg in before.legs}
    for leg in after.legs:
        action = _of_leg(legs.get(leg.trade_no, Money.CREATED), leg)
        if action is not None:
            why = "" if leg.reason is None else leg.reason.value
            fields = {"trade_no": leg.trade_no, "channel": leg.channel.value, "reason": why}
            yield AuditEntry(actor, action, after.order, "ok", {**fields, "amount_fen": int(leg.amount_fen)})
    refunds = {refund.refund_no: refund.state for refund in before.refunds}
    for refund in after.refunds:
        for action in _of_refund(refunds.get(refund.refund_no), refund):
            fields = {"refund_no": refund.refund_no, "reason": refund.reason.value}
            yield AuditEntry(actor, action, after.order, "ok", {**fields, "amount_fen": int(refund.amount_fen)})
    if after.posting is Posting.MANUAL is not before.posting:
        yield AuditEntry(actor, "posting.manual", after.order, "ok", {"tries": after.posting_tries})
    if staff is not None and after.fulfilment is Fulfilment.UNCERTAIN is not before.fulfilment:
        yield AuditEntry(actor, "paper.released", after.order, "ok", {"kiosk": after.paper_kiosk or ""})


def _of_leg(before: Money, leg: Leg) -> str | None:
    if leg.state is before:
        return None
    if leg.state is Money.REVERSING and before not in _REVERSALS:
        return "payment.reverse"
    return {Money.REVERSED: "payment.reversed", Money.MANUAL: "payment.manual"}.get(leg.state)


def _of_refund(before: RefundState | None, refund: Refund) -> Iterator[str]:
    if before is None:
        yield "refund.decided"
    if refund.state is not before and refund.state in _REFUND_ENDS:
        yield _REFUND_ENDS[refund.state]
