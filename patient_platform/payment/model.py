"""What an order is: three independent states and the legs its money goes through.

Money, posting and fulfilment never change one another's state: a jammed printer touches no money, a HIS that times
out un-pays nothing. `UNKNOWN` is a state like any other and is left by evidence only.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from patient_platform.money import Fen


class Money(StrEnum):
    """Where the money of one leg is."""

    CREATED = "created"
    SUBMITTED = "submitted"
    PENDING = "pending"
    UNKNOWN = "unknown"
    PAID = "paid"
    FAILED = "failed"
    REVERSING = "reversing"
    REVERSE_UNKNOWN = "reverse_unknown"
    CLOSED = "closed"
    REVERSED = "reversed"
    LATE_PAID = "late_paid"
    MANUAL = "manual"


class MoneyEvent(StrEnum):
    """What may happen to the money of a leg."""

    SUBMIT = "submit"
    DROPPED = "dropped"
    """It was never sent."""
    PAID = "paid"
    WAITING = "waiting"
    REFUSED = "refused"
    LOST = "lost"
    NOT_FOUND = "not_found"
    GIVE_UP = "give_up"
    CLOSED = "closed"
    REFUNDED = "refunded"
    """The reversal took money back."""
    NOT_REVERSIBLE = "not_reversible"
    """The channel will not close it, because it is paid."""
    RETRY = "retry"
    EXHAUSTED = "exhausted"
    MISMATCH = "mismatch"
    """Evidence that contradicts the order: another amount, another merchant."""


class Posting(StrEnum):
    """Whether the HIS knows of the payment."""

    NOT_READY = "not_ready"
    READY = "ready"
    POSTING = "posting"
    POST_UNKNOWN = "post_unknown"
    POSTED = "posted"
    REJECTED = "rejected"
    MANUAL = "manual"


class PostingEvent(StrEnum):
    """What may happen to a posting."""

    PAID = "paid"
    SEND = "send"
    POSTED = "posted"
    LOST = "lost"
    NOT_FOUND = "not_found"
    REJECTED = "rejected"
    EXHAUSTED = "exhausted"


class Fulfilment(StrEnum):
    """What became of the paper."""

    NONE = "none"
    WAITING = "waiting"
    PRINTING = "printing"
    PRINTED = "printed"
    FAILED = "failed"
    UNCERTAIN = "uncertain"


class FulfilmentEvent(StrEnum):
    """What may happen to the paper."""

    DUE = "due"
    PRINT = "print"
    PRINTED = "printed"
    FAILED = "failed"
    UNCERTAIN = "uncertain"


class RefundState(StrEnum):
    """Where money on its way back is."""

    REQUESTED = "requested"
    UNPOSTING = "unposting"
    """The HIS is being asked to take its posting back first."""
    APPROVED = "approved"
    SUBMITTED = "submitted"
    UNKNOWN = "unknown"
    PROCESSING = "processing"
    SUCCESS = "success"
    WAIT_FUNDS = "wait_funds"
    REFUSED = "refused"
    """The HIS did not take its posting back, so no money moves."""
    MANUAL = "manual"


class RefundEvent(StrEnum):
    """What may happen to a refund."""

    UNPOST = "unpost"
    APPROVE = "approve"
    REFUSE = "refuse"
    SUBMIT = "submit"
    LOST = "lost"
    PROCESSING = "processing"
    SUCCESS = "success"
    NOT_FOUND = "not_found"
    NO_FUNDS = "no_funds"
    ABNORMAL = "abnormal"
    EXHAUSTED = "exhausted"


class ChannelName(StrEnum):
    """Who moves the money."""

    WECHAT = "wechat"
    ALIPAY = "alipay"


class Method(StrEnum):
    """How the patient pays: shows a code to our scanner, or scans a code on our screen."""

    PAYMENT_CODE = "payment_code"
    QR_CODE = "qr_code"


class LegKind(StrEnum):
    """Whose money it is; insurance legs join in a later release."""

    CASH = "cash"
    FUND = "fund"
    ACCOUNT = "account"


class Business(StrEnum):
    """What is paid for."""

    BILL = "bill"
    REGISTRATION = "registration"


class Reason(StrEnum):
    """Why something did not work out; stable, the page has words for each."""

    CODE_EXPIRED = "code_expired"
    CODE_USED = "code_used"
    CODE_WRONG = "code_wrong"
    INSUFFICIENT = "insufficient"
    REFUSED = "refused"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    NOT_SENT = "not_sent"
    CHANNEL_DOWN = "channel_down"
    SLOT_LOST = "slot_lost"
    DOCTOR_STOPPED = "doctor_stopped"
    BILL_VOID = "bill_void"
    BILL_CHANGED = "bill_changed"
    BILL_PAID = "bill_paid"
    HIS_REFUSED = "his_refused"
    WRONG_AMOUNT = "wrong_amount"
    LATE_PAYMENT = "late_payment"
    PATIENT_ASKED = "patient_asked"


@dataclass(frozen=True, slots=True)
class Leg:
    """One try to get money over one channel; a new try is a new leg with a new trade number."""

    trade_no: str
    """Our number for the channel and for the HIS, at most 32 characters of [0-9A-Z]."""
    kind: LegKind
    channel: ChannelName
    method: Method
    amount_fen: Fen
    state: Money = Money.CREATED
    created_at: datetime | None = None
    submitted_at: datetime | None = None
    deadline_at: datetime | None = None
    """When we stop waiting for the patient and reverse."""
    paid_at: datetime | None = None
    channel_no: str | None = None
    qr_text: str | None = None
    reason: Reason | None = None
    request_key: str | None = None
    """The page's idempotency key."""
    was_paid: bool = False
    """PAID evidence was seen at least once, whatever became of it."""
    not_found: int = 0
    """How often the channel said that it knows nothing of it."""
    queries: int = 0
    reversals: int = 0
    tail_checks: int = 0
    """Later looks at a leg that was closed because nobody had heard of it."""
    touched_at: datetime | None = None
    """The last time the channel was asked about it."""
    asked_at: datetime | None = None
    """Somebody wants it looked at: a notification came for a leg that seemed over."""

    @property
    def is_open(self) -> bool:
        """Whether money may still move."""
        return self.state in OPEN_MONEY

    @property
    def is_held(self) -> bool:
        """Whether the patient's money is with us."""
        return self.state in {Money.PAID, Money.LATE_PAID}


@dataclass(frozen=True, slots=True)
class Refund:
    """Money of one leg on its way back."""

    refund_no: str
    trade_no: str
    amount_fen: Fen
    reason: Reason
    state: RefundState = RefundState.REQUESTED
    needs_his: bool = False
    """The HIS has posted the payment and must take it back first."""
    tries: int = 0
    requested_at: datetime | None = None
    succeeded_at: datetime | None = None
    touched_at: datetime | None = None
    reconciliation_no: str | None = None
    """What the HIS answered when it took its posting back."""


@dataclass(frozen=True, slots=True)
class Order:
    """One thing a patient pays for."""

    order: str
    version: int
    kiosk: str
    session: str
    patient: str
    """Our reference to the patient; no identity."""
    business: Business
    keys: tuple[str, ...]
    """What may have one active order only, for example `bill:R0001`."""
    subject: dict[str, object]
    """What the HIS needs to post it and what the receipt says; no identity."""
    amount_fen: Fen
    created_at: datetime
    expires_at: datetime
    due_at: datetime | None
    """When somebody has to look at it again; None when nothing is left to do."""
    posting: Posting = Posting.NOT_READY
    posting_tries: int = 0
    posting_started_at: datetime | None = None
    posting_touched_at: datetime | None = None
    posting_reason: Reason | None = None
    posted_at: datetime | None = None
    posted: dict[str, object] = field(default_factory=dict)
    """What the HIS answered: reconciliation number, window, queue number."""
    fulfilment: Fulfilment = Fulfilment.NONE
    prints: int = 0
    paper_kiosk: str | None = None
    """Which kiosk prints or printed last; while it prints, no other may."""
    paper_at: datetime | None = None
    """When it began to."""
    ended_at: datetime | None = None
    """From then on nobody can pay for it any more."""
    is_released: bool = True
    """Whether nothing is reserved in the HIS any more; a registration holds a slot."""
    reason: Reason | None = None
    legs: tuple[Leg, ...] = ()
    refunds: tuple[Refund, ...] = ()

    @property
    def leg(self) -> Leg | None:
        """The newest try."""
        return self.legs[-1] if self.legs else None

    @property
    def paid_leg(self) -> Leg | None:
        """The leg whose money pays for this order."""
        return next((leg for leg in self.legs if leg.state is Money.PAID), None)

    @property
    def case_number(self) -> str:
        """Eight characters people can read aloud; the tail of the order's number."""
        return f"{self.order[-8:-4]}-{self.order[-4:]}"

    @property
    def newest_at(self) -> datetime:
        """The newest time this order knows: steps carry their own times."""
        times = [self.created_at, self.posting_touched_at, self.ended_at, self.posted_at, self.paper_at]
        for leg in self.legs:
            times += [leg.created_at, leg.touched_at, leg.submitted_at]
        for refund in self.refunds:
            times += [refund.requested_at, refund.touched_at]
        return max(time for time in times if time is not None)

    def find(self, trade_no: str) -> Leg | None:
        """The leg with this trade number."""
        return next((leg for leg in self.legs if leg.trade_no == trade_no), None)

    def with_leg(self, leg: Leg) -> Order:
        """The order with this leg in place of the one of its number, or added."""
        if self.find(leg.trade_no) is None:
            return replace(self, legs=(*self.legs, leg))
        return replace(self, legs=tuple(leg if old.trade_no == leg.trade_no else old for old in self.legs))

    def with_refund(self, refund: Refund) -> Order:
        """The order with this refund in place of the one of its number, or added."""
        known = any(old.refund_no == refund.refund_no for old in self.refunds)
        if not known:
            return replace(self, refunds=(*self.refunds, refund))
        return replace(
            self, refunds=tuple(refund if old.refund_no == refund.refund_no else old for old in self.refunds)
        )

    def refunded_fen(self, trade_no: str | None = None) -> Fen:
        """What went back for sure, of one leg or of all."""
        return Fen(
            sum(
                refund.amount_fen
                for refund in self.refunds
                if refund.state is RefundState.SUCCESS and trade_no in {None, refund.trade_no}
            )
        )

    def refund_of(self, trade_no: str) -> Refund | None:
        """The refund of a leg that went back or is on its way; a refused one does not count."""
        return next(
            (
                refund
                for refund in self.refunds
                if refund.trade_no == trade_no and refund.state is not RefundState.REFUSED
            ),
            None,
        )


OPEN_MONEY: Final = frozenset(
    {
        Money.CREATED,
        Money.SUBMITTED,
        Money.PENDING,
        Money.UNKNOWN,
        Money.REVERSING,
        Money.REVERSE_UNKNOWN,
    }
)
OPEN_REFUNDS: Final = frozenset(RefundState) - {
    RefundState.SUCCESS,
    RefundState.REFUSED,
    RefundState.MANUAL,
}
