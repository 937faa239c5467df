"""How evidence changes an order: pure functions from an order to the next one and its ledger bookings.

Evidence may come twice, late and out of order. What the tables have no row for changes nothing: a second `paid` of a
paid leg, a `not found` of a leg that is over. A payment counts only with the right amount.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

from kit.machine import can_step, step
from patient_platform.money import Fen
from patient_platform.payment import ledger
from patient_platform.payment.ledger import Booking
from patient_platform.payment.machine import FULFILMENT, MONEY, POSTING, REFUND
from patient_platform.payment.model import (
    Fulfilment,
    FulfilmentEvent,
    Leg,
    Money,
    MoneyEvent,
    Order,
    Posting,
    PostingEvent,
    Reason,
    Refund,
    RefundEvent,
    RefundState,
)
from patient_platform.payment.ports import Evidence, PostAnswer, PostEvidence, RefundAnswer, Source

Outcome = tuple[Order, tuple[Booking, ...]]

_OVER: Final = frozenset({Money.CLOSED, Money.FAILED, Money.REVERSED})
REFUND_EVENTS: Final = {
    RefundAnswer.SUCCESS: RefundEvent.SUCCESS,
    RefundAnswer.PROCESSING: RefundEvent.PROCESSING,
    RefundAnswer.NOT_FOUND: RefundEvent.NOT_FOUND,
    RefundAnswer.NO_FUNDS: RefundEvent.NO_FUNDS,
    RefundAnswer.ABNORMAL: RefundEvent.ABNORMAL,
    RefundAnswer.LOST: RefundEvent.LOST,
}


def move(leg: Leg, event: MoneyEvent) -> Leg:
    """The leg after an event of our own making.

    Raises:
        IllegalTransition: the table has no such row.
    """
    return replace(leg, state=step(MONEY, leg.state, event))


def apply(order: Order, trade_no: str, evidence: Evidence, now: datetime) -> Outcome:
    """What a channel says of a leg."""
    leg = order.find(trade_no)
    if leg is None:
        return order, ()
    if evidence.event is MoneyEvent.PAID and evidence.source is Source.NOTIFICATION and leg.state in _OVER:
        return order.with_leg(replace(leg, asked_at=now)), ()  # an old message perhaps: ask, do not believe
    event = _checked(leg, evidence)
    seen = _noted(leg, evidence, event, now)
    if not can_step(MONEY, leg.state, event):
        return order.with_leg(replace(seen, state=leg.state)), ()
    after = replace(seen, state=step(MONEY, leg.state, event))
    if event is MoneyEvent.REFUSED:
        after = replace(after, reason=evidence.reason or Reason.REFUSED)
    if event is MoneyEvent.MISMATCH:
        after = replace(after, reason=Reason.WRONG_AMOUNT)
    return _money_changed(order.with_leg(after), leg, after, now)


def _checked(leg: Leg, evidence: Evidence) -> MoneyEvent:
    """A payment of another amount is no payment of this order."""
    if evidence.event is not MoneyEvent.PAID:
        return evidence.event
    return MoneyEvent.PAID if evidence.amount_fen == leg.amount_fen else MoneyEvent.MISMATCH


def _noted(leg: Leg, evidence: Evidence, event: MoneyEvent, now: datetime) -> Leg:
    """What is kept of evidence whether or not it moves anything."""
    is_paid = event in {MoneyEvent.PAID, MoneyEvent.NOT_REVERSIBLE, MoneyEvent.REFUNDED}
    return replace(
        leg,
        touched_at=leg.touched_at if evidence.source is Source.NOTIFICATION else now,
        channel_no=evidence.channel_no or leg.channel_no,
        qr_text=evidence.qr_text or leg.qr_text,
        was_paid=leg.was_paid or is_paid,
        paid_at=(evidence.paid_at or now) if is_paid and leg.paid_at is None else leg.paid_at,
        not_found=leg.not_found + (event is MoneyEvent.NOT_FOUND) if leg.state is Money.UNKNOWN else leg.not_found,
        queries=leg.queries + (evidence.source is Source.QUERY),
        tail_checks=leg.tail_checks + _is_tail_check(leg, evidence),
    )


def _is_tail_check(leg: Leg, evidence: Evidence) -> bool:
    return leg.state is Money.CLOSED and evidence.source is Source.QUERY and evidence.event is not MoneyEvent.LOST


def _money_changed(order: Order, before: Leg, after: Leg, now: datetime) -> Outcome:
    if after.state is before.state:
        return order, ()
    if after.state is Money.PAID:
        return _paid(order, after, now)
    if after.state is Money.LATE_PAID:
        order, bookings = refund(order, after, Reason.LATE_PAYMENT, now)
        return order, (ledger.paid(after), *bookings)
    if after.state is Money.REVERSED:  # the patient has to be told, and begins anew if they like
        return replace(order, ended_at=order.ended_at or now, reason=order.reason or after.reason), ()
    return order, ()


def _paid(order: Order, leg: Leg, now: datetime) -> Outcome:
    posting = step(POSTING, order.posting, PostingEvent.PAID)
    return replace(order, posting=posting, posting_touched_at=now, reason=None), (ledger.paid(leg),)


def lose(leg: Leg, now: datetime) -> Leg:
    """Nobody knows what became of the call that was under way."""
    return replace(move(leg, MoneyEvent.LOST), touched_at=now)


# --- posting -----------------------------------------------------------------------------------------------


def begin_posting(order: Order, now: datetime) -> Order:
    """Written before the HIS is called."""
    return replace(
        order,
        posting=step(POSTING, order.posting, PostingEvent.SEND),
        posting_tries=order.posting_tries + 1,
        posting_started_at=now,
        posting_touched_at=now,
    )


def lose_posting(order: Order, now: datetime) -> Order:
    """Nobody knows whether the HIS has posted it."""
    return replace(order, posting=step(POSTING, order.posting, PostingEvent.LOST), posting_touched_at=now)


def give_up_posting(order: Order, now: datetime) -> Order:
    """Nobody could say for too long: a person has to look; money stays where it is."""
    return replace(order, posting=step(POSTING, order.posting, PostingEvent.EXHAUSTED), posting_touched_at=now)


def apply_posting(order: Order, evidence: PostEvidence, now: datetime) -> Outcome:
    """What the HIS says of the posting."""
    leg = order.paid_leg
    event = PostingEvent(evidence.answer.value)
    if leg is None or not can_step(POSTING, order.posting, event):
        return order, ()
    order = replace(order, posting=step(POSTING, order.posting, event), posting_touched_at=now)
    if evidence.answer is PostAnswer.POSTED:
        fulfilment = order.fulfilment
        if can_step(FULFILMENT, fulfilment, FulfilmentEvent.DUE):
            fulfilment = step(FULFILMENT, fulfilment, FulfilmentEvent.DUE)
        posted = replace(
            order, posted=dict(evidence.facts), posted_at=now, fulfilment=fulfilment, is_released=True, reason=None
        )
        return posted, (ledger.posted(leg),)
    if evidence.answer is PostAnswer.REJECTED:
        reason = evidence.reason or Reason.HIS_REFUSED
        order = replace(order, posting_reason=reason, reason=reason, ended_at=order.ended_at or now)
        return refund(order, leg, reason, now)
    return order, ()


# --- refunds -----------------------------------------------------------------------------------------------


def refund(order: Order, leg: Leg, reason: Reason, now: datetime, *, needs_his: bool = False) -> Outcome:
    """Send the whole amount of a leg back; once."""
    if order.refund_of(leg.trade_no) is not None:
        return order, ()
    number = f"{leg.trade_no}R{1 + sum(old.trade_no == leg.trade_no for old in order.refunds)}"
    amount = Fen(leg.amount_fen - order.refunded_fen(leg.trade_no))
    state = RefundState.REQUESTED if needs_his else RefundState.APPROVED
    new = Refund(number, leg.trade_no, amount, reason, state, needs_his=needs_his, requested_at=now)
    return order.with_refund(new), () if needs_his else (ledger.refund_due(new),)


def begin_refund(refund: Refund, event: RefundEvent, now: datetime) -> Refund:
    """Written before channel or HIS is called."""
    return replace(refund, state=step(REFUND, refund.state, event), tries=refund.tries + 1, touched_at=now)


def lose_refund(refund: Refund, now: datetime) -> Refund:
    """Nobody knows what became of the call that was under way."""
    return replace(refund, state=step(REFUND, refund.state, RefundEvent.LOST), touched_at=now)


def apply_unposting(order: Order, refund_no: str, evidence: PostEvidence, now: datetime) -> Outcome:
    """What the HIS says of taking its posting back."""
    refund = next(item for item in order.refunds if item.refund_no == refund_no)
    if refund.state is not RefundState.UNPOSTING:
        return order, ()
    match evidence.answer:
        case PostAnswer.POSTED:
            number = evidence.facts.get("reconciliation_no")
            after = replace(
                refund,
                state=step(REFUND, refund.state, RefundEvent.APPROVE),
                tries=0,
                touched_at=now,
                reconciliation_no=str(number) if number is not None else None,
            )
            return order.with_refund(after), (ledger.refund_due(after),)
        case PostAnswer.REJECTED | PostAnswer.NOT_FOUND:
            return order.with_refund(
                replace(refund, state=step(REFUND, refund.state, RefundEvent.REFUSE), touched_at=now)
            ), ()
        case PostAnswer.LOST:
            return order.with_refund(lose_refund(refund, now)), ()


def apply_refund(order: Order, refund_no: str, answer: RefundAnswer, now: datetime) -> Outcome:
    """What the channel says of a refund."""
    refund = next(item for item in order.refunds if item.refund_no == refund_no)
    leg = order.find(refund.trade_no)
    event = REFUND_EVENTS[answer]
    if refund.state is RefundState.SUBMITTED and event is RefundEvent.NOT_FOUND:
        event = RefundEvent.LOST  # an answer to a query cannot be one to a submission
    if leg is None or not can_step(REFUND, refund.state, event):
        return order, ()
    after = replace(refund, state=step(REFUND, refund.state, event), touched_at=now)
    if after.state is RefundState.SUCCESS:
        after = replace(after, succeeded_at=now)
        return order.with_refund(after), (ledger.refunded(leg, after),)
    return order.with_refund(after), ()


# --- paper -------------------------------------------------------------------------------------------------


def fulfil(order: Order, event: FulfilmentEvent, kiosk: str, now: datetime) -> Order:
    """What became of the paper at a kiosk.

    Raises:
        IllegalTransition: nothing is to be printed, or not in this order.
    """
    order = replace(order, fulfilment=step(FULFILMENT, order.fulfilment, event))
    if event is FulfilmentEvent.PRINT:
        return replace(order, prints=order.prints + 1, paper_kiosk=kiosk, paper_at=now)
    return order


def needs_paper(order: Order) -> bool:
    """Whether the kiosk still owes the patient a paper."""
    return order.posting is Posting.POSTED and order.fulfilment in {Fulfilment.WAITING, Fulfilment.PRINTING}
