"""When somebody has to look at an order, and what then: pure, from the order and the time.

`agenda` lists every duty with its time; the driver does the earliest one that is due, saves, and asks again. An
intermediate state that is found at the start of a drive (`submitted`, `reversing`, `posting`, …) means that the
process that had sent the call is gone or has lost its lease: what became of the call is not known.

Times: reference of the channels' own rules. WeChat: USERPAYING polled every 5 s for 45 s, a reversal no earlier
than 15 s after the payment and repeated until it answers. Alipay: polled every 3 to 6 s for about 60 s, the
cancellation directly after the last query. A shown QR code lives 120 s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from patient_platform.payment.model import (
    OPEN_MONEY,
    OPEN_REFUNDS,
    ChannelName,
    Fulfilment,
    Leg,
    Method,
    Money,
    Order,
    Posting,
    Refund,
    RefundState,
)


class Duty(StrEnum):
    """What has to be done."""

    SUBMIT = "submit"
    RECOVER = "recover"
    QUERY = "query"
    REVERSE = "reverse"
    SURRENDER = "surrender"
    """Reversed often enough without an answer: a person has to look."""
    POST = "post"
    CHECK = "check"
    UNPOST = "unpost"
    REFUND = "refund"
    QUERY_REFUND = "query_refund"
    EXPIRE = "expire"
    RELEASE = "release"


@dataclass(frozen=True, slots=True)
class Item:
    """One duty of an order."""

    at: datetime
    duty: Duty
    number: str = ""
    """The leg's or refund's number."""


@dataclass(frozen=True, slots=True)
class ChannelRules:
    """The timing of one channel, in seconds."""

    poll_s: float
    code_life_s: float
    qr_life_s: float = 120.0
    reverse_after_s: float = 0.0
    """No reversal earlier than this after the submission."""
    not_found_after_s: float = 20.0
    """From then on "never heard of it" may be believed, when said twice."""
    reverse_retry_s: float = 15.0


CHANNELS: Final[Mapping[ChannelName, ChannelRules]] = {
    ChannelName.WECHAT: ChannelRules(poll_s=5.0, code_life_s=45.0, reverse_after_s=15.0),
    ChannelName.ALIPAY: ChannelRules(poll_s=3.0, code_life_s=60.0),
}
QR_POLL_S: Final = 2.0
NOT_FOUND_ENOUGH: Final = 2
REVERSALS_MAX: Final = 40
REVERSE_RETRY_MAX_S: Final = 600.0
TAIL_CHECKS_S: Final = (60.0, 600.0)
"""Once more after a minute and after ten: a request that was on its way all the time."""
POST_RETRY_S: Final = (1.0, 5.0, 30.0, 120.0, 600.0)
HIS_MEMORY_S: Final = 30.0
"""A first call may still be running in the HIS for so long, so nothing is sent again earlier."""
CHECK_S: Final = (2.0, 5.0, 15.0, 60.0, 300.0)
POST_GIVE_UP: Final = timedelta(hours=24)
REFUND_POLL_S: Final = (2.0, 60.0, 300.0, 1_800.0, 7_200.0)
FUNDS_RETRY_S: Final = 600.0
UNPOST_RETRY_S: Final = (5.0, 30.0, 120.0, 600.0)
RELEASE_RETRY_S: Final = 30.0
PRINT_HOLD: Final = timedelta(seconds=120)
"""A kiosk that prints has said how it went long before this; one that has not is gone."""


def life_s(channel: ChannelName, method: Method) -> float:
    """How long a patient has to pay, in seconds."""
    rules = CHANNELS[channel]
    return rules.code_life_s if method is Method.PAYMENT_CODE else rules.qr_life_s


def agenda(order: Order) -> list[Item]:
    """Every duty, the earliest first."""
    items = [item for leg in order.legs for item in _of_leg(leg, order)]
    items += [item for refund in order.refunds for item in _of_refund(refund)]
    items += _of_posting(order)
    items += _of_end(order)
    return sorted(items, key=lambda item: item.at)


def due_at(order: Order) -> datetime | None:
    """When somebody has to look at it next; None when nothing is left."""
    items = agenda(order)
    return items[0].at if items else None


def is_over(order: Order) -> bool:
    """Whether nothing can change any more without a person, and no key is needed."""
    if any(leg.state in OPEN_MONEY or leg.state is Money.MANUAL for leg in order.legs):
        return False
    if any(refund.state in OPEN_REFUNDS or refund.state is RefundState.MANUAL for refund in order.refunds):
        return False
    if order.posting in {Posting.READY, Posting.POSTING, Posting.POST_UNKNOWN, Posting.MANUAL}:
        return False
    return order.ended_at is not None or order.posting in {Posting.POSTED, Posting.REJECTED}


def prints_elsewhere(order: Order, kiosk: str, now: datetime) -> bool:
    """Whether another kiosk has this order's paper in its printer now."""
    if order.fulfilment is not Fulfilment.PRINTING or order.paper_kiosk in {None, kiosk}:
        return False
    return order.paper_at is not None and now - order.paper_at < PRINT_HOLD


def _of_leg(leg: Leg, order: Order) -> Iterator[Item]:
    rules = CHANNELS[leg.channel]
    start = leg.submitted_at or leg.created_at or order.created_at
    touched = leg.touched_at or start
    asked = leg.asked_at
    if asked is not None and asked > touched and leg.state not in {Money.CREATED, Money.SUBMITTED}:
        yield Item(asked, Duty.QUERY, leg.trade_no)
    match leg.state:
        case Money.CREATED:
            yield Item(start, Duty.SUBMIT, leg.trade_no)
        case Money.SUBMITTED | Money.REVERSING:
            yield Item(touched, Duty.RECOVER, leg.trade_no)
        case Money.PENDING | Money.UNKNOWN:
            yield _next_look(leg, start, touched, rules)
        case Money.REVERSE_UNKNOWN:
            wait_s = min(rules.reverse_retry_s * 2.0 ** min(leg.reversals - 1, 10), REVERSE_RETRY_MAX_S)
            duty = Duty.REVERSE if leg.reversals < REVERSALS_MAX else Duty.SURRENDER
            yield Item(touched + timedelta(seconds=wait_s), duty, leg.trade_no)
        case Money.CLOSED if leg.not_found and leg.tail_checks < len(TAIL_CHECKS_S):
            yield Item(touched + timedelta(seconds=TAIL_CHECKS_S[leg.tail_checks]), Duty.QUERY, leg.trade_no)
        case _:
            return


def _next_look(leg: Leg, start: datetime, touched: datetime, rules: ChannelRules) -> Item:
    """Poll, and at the end one last query that the reversal follows at once."""
    deadline = leg.deadline_at or start
    earliest = start + timedelta(seconds=rules.reverse_after_s)
    if leg.state is Money.UNKNOWN and leg.not_found >= NOT_FOUND_ENOUGH:
        believable = start + timedelta(seconds=rules.not_found_after_s)
        if touched >= believable:
            return Item(max(touched, earliest), Duty.REVERSE, leg.trade_no)
        return Item(believable, Duty.QUERY, leg.trade_no)
    last_look = max(deadline, earliest)
    if touched >= last_look:
        duty = Duty.REVERSE if leg.queries else Duty.QUERY  # found after a power cut: it may be paid for long
        return Item(touched, duty, leg.trade_no)
    poll_s = QR_POLL_S if leg.method is Method.QR_CODE and leg.state is Money.PENDING else rules.poll_s
    return Item(min(touched + timedelta(seconds=poll_s), max(last_look, touched)), Duty.QUERY, leg.trade_no)


def _of_posting(order: Order) -> Iterator[Item]:
    touched = order.posting_touched_at or order.created_at
    match order.posting:
        case Posting.READY:
            tries = order.posting_tries
            if tries == 0 or order.posting_started_at is None:
                yield Item(touched, Duty.POST)
                return
            wait_s = max(POST_RETRY_S[min(tries, len(POST_RETRY_S)) - 1], HIS_MEMORY_S)
            yield Item(order.posting_started_at + timedelta(seconds=wait_s), Duty.POST)
        case Posting.POSTING:
            yield Item(touched, Duty.RECOVER)
        case Posting.POST_UNKNOWN:
            started = order.posting_started_at or touched
            wait_s = _growing(CHECK_S, (touched - started).total_seconds())
            yield Item(touched + timedelta(seconds=wait_s), Duty.CHECK)
        case _:
            return


def _of_refund(refund: Refund) -> Iterator[Item]:
    touched = refund.touched_at or refund.requested_at
    assert touched is not None  # noqa: S101 - every refund has been requested at some time
    match refund.state:
        case RefundState.REQUESTED:
            wait_s = 0.0 if refund.tries == 0 else UNPOST_RETRY_S[min(refund.tries, len(UNPOST_RETRY_S)) - 1]
            yield Item(touched + timedelta(seconds=wait_s), Duty.UNPOST, refund.refund_no)
        case RefundState.APPROVED:
            wait_s = 0.0 if refund.tries == 0 else REFUND_POLL_S[min(refund.tries, len(REFUND_POLL_S)) - 1]
            yield Item(touched + timedelta(seconds=wait_s), Duty.REFUND, refund.refund_no)
        case RefundState.UNPOSTING | RefundState.SUBMITTED:
            yield Item(touched, Duty.RECOVER, refund.refund_no)
        case RefundState.UNKNOWN | RefundState.PROCESSING:
            age_s = 0.0 if refund.requested_at is None else (touched - refund.requested_at).total_seconds()
            yield Item(touched + timedelta(seconds=_growing(REFUND_POLL_S, age_s)), Duty.QUERY_REFUND, refund.refund_no)
        case RefundState.WAIT_FUNDS:
            yield Item(touched + timedelta(seconds=FUNDS_RETRY_S), Duty.REFUND, refund.refund_no)
        case _:
            return


def _of_end(order: Order) -> Iterator[Item]:
    if any(leg.is_open or leg.state is Money.MANUAL for leg in order.legs) or order.posting is not Posting.NOT_READY:
        return
    if order.ended_at is None:
        yield Item(order.expires_at, Duty.EXPIRE)
    elif not order.is_released:
        touched = order.posting_touched_at
        at = order.ended_at if touched is None else touched + timedelta(seconds=RELEASE_RETRY_S)
        yield Item(at, Duty.RELEASE)


def _growing(steps_s: tuple[float, ...], age_s: float) -> float:
    """The pause that fits something this old: each step is used until ten of it have passed."""
    return next((step_s for step_s in steps_s if age_s < step_s * 10), steps_s[-1])
