"""What payment needs from outside: channels, the HIS, a store. Each has several adapters and one in the tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Final, Protocol

from patient_platform.money import NOTHING, Fen
from patient_platform.payment.ledger import Booking
from patient_platform.payment.model import ChannelName, Leg, Method, MoneyEvent, Order, Reason, Refund


class Source(StrEnum):
    """Where evidence comes from, the most trusted last."""

    RESPONSE = "response"
    NOTIFICATION = "notification"
    QUERY = "query"
    BILL = "bill"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a channel says of one leg, whichever channel it is."""

    event: MoneyEvent
    source: Source
    channel_no: str | None = None
    amount_fen: Fen | None = None
    """None where the channel does not say; a payment without an amount is no evidence of a payment."""
    paid_at: datetime | None = None
    qr_text: str | None = None
    reason: Reason | None = None


class RefundAnswer(StrEnum):
    """What a channel says of a refund."""

    SUCCESS = "success"
    PROCESSING = "processing"
    NOT_FOUND = "not_found"
    NO_FUNDS = "no_funds"
    ABNORMAL = "abnormal"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Charge:
    """What a channel is asked to collect."""

    trade_no: str
    amount_fen: Fen
    description: str
    method: Method
    kiosk: str
    expires_at: datetime
    code: str | None = field(default=None, repr=False)
    """The payment code; it is in no log, no store and no repr."""


class BillStatus(StrEnum):
    """What a row of a channel's bill says happened."""

    PAID = "paid"
    REFUNDED = "refunded"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class BillRow:
    """One movement in a channel's bill."""

    trade_no: str
    channel_no: str
    status: BillStatus
    amount_fen: Fen
    """Positive; a refund's is what went back."""
    at: datetime
    refund_no: str | None = None
    fee_fen: Fen = NOTHING


class Channel(Protocol):
    """A way to collect money. No method raises for what the channel or the network does: that is evidence."""

    @property
    def name(self) -> ChannelName:
        """Which one it is."""

    async def submit(self, charge: Charge) -> Evidence:
        """Ask for the money, once per trade number."""

    async def query(self, leg: Leg) -> Evidence:
        """Ask what became of it."""

    async def reverse(self, leg: Leg) -> Evidence:
        """Close what is unpaid and return what is paid; repeatable."""

    async def refund(self, leg: Leg, refund: Refund) -> RefundAnswer:
        """Return money of a paid leg; repeatable with the same number."""

    async def query_refund(self, leg: Leg, refund: Refund) -> RefundAnswer:
        """Ask what became of a refund."""

    async def bill(self, day: date) -> Sequence[BillRow]:
        """Every movement of a day of Asia/Shanghai.

        Raises:
            BillNotReady: try again later.
            BillInvalid: it does not balance to its own summary, or is damaged.
            Unreachable: no answer.
        """


class PostAnswer(StrEnum):
    """What the HIS says of a posting."""

    POSTED = "posted"
    REJECTED = "rejected"
    NOT_FOUND = "not_found"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class PostEvidence:
    """What the HIS says of one posting or of taking one back."""

    answer: PostAnswer
    facts: dict[str, object] = field(default_factory=dict)
    """Reconciliation number, window, queue number: what the receipt needs."""
    reason: Reason | None = None


class Poster(Protocol):
    """The HIS as far as payment needs it. No method raises for what the HIS or the network does."""

    async def post(self, order: Order, leg: Leg) -> PostEvidence:
        """Tell the HIS that it is paid; repeatable with the same trade number."""

    async def check(self, order: Order, leg: Leg) -> PostEvidence:
        """Ask whether the HIS knows of it."""

    async def unpost(self, order: Order, leg: Leg, refund: Refund) -> PostEvidence:
        """Have the HIS take a posting back; repeatable with the same refund number."""

    async def release(self, order: Order) -> bool:
        """Give back what is reserved; False when it has to be tried again."""


class Lease(StrEnum):
    """What a save does about who works on an order."""

    KEEP = "keep"
    TAKE = "take"
    FREE = "free"


@dataclass(frozen=True, slots=True)
class Change:
    """A step of an order that is saved whole or not at all."""

    before: Order
    after: Order
    bookings: tuple[Booking, ...] = ()
    note: str = ""
    """What happened, for the order's history: `wechat.query paid`."""
    lease: Lease = Lease.KEEP
    lease_until: datetime | None = None
    """With `Lease.TAKE`: until when only this process works on it."""
    at: datetime | None = None
    """When it happened; without it the newest time that the order knows."""
    staff: str | None = None
    """Who at the console asked for it."""
    code_digest: str | None = None
    """Of a payment code that this step uses up; remembered with it or not at all."""


CODE_MEMORY: Final = timedelta(minutes=10)
"""How long a payment code's digest is remembered."""


class KeyTaken(Exception):
    """Another active order exists for one of the keys."""

    def __init__(self, order: str) -> None:
        super().__init__("another active order exists for this")
        self.order = order


class CodeSeen(Exception):
    """This payment code was used minutes ago."""


class OrderStore(Protocol):
    """Where orders live. Every method is one transaction."""

    async def create(self, order: Order) -> None:
        """Keep a new order.

        Raises:
            KeyTaken: one of its keys has an active order.
        """

    async def get(self, order: str) -> Order | None:
        """An order by number."""

    async def by_trade(self, trade_no: str) -> Order | None:
        """The order one of whose legs has this number."""

    async def save(self, change: Change, owner: str) -> bool:
        """Replace `before` by `after`; False when somebody else was faster and nothing was saved.

        Raises:
            CodeSeen: the payment code of this step is remembered already.
        """

    async def claim(self, owner: str, now: datetime, until: datetime, limit: int) -> list[Order]:
        """Take orders that are due and nobody works on."""

    async def open_of(self, kiosk: str) -> list[Order]:
        """Orders of a kiosk that are not over or whose paper is not out."""

    async def posted_of(self, patient: str, since: datetime) -> list[Order]:
        """What the HIS has accounted for a patient, of orders made since then."""
