"""What this kiosk knows of its orders, from what passes between pages and platform: whose money is still under way.

Pure but for the file: `kept` is what has to survive a power cut, one short row an order, nobody's name in it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from wire.device_api import OrderStatus
from wire.envelope import ShortText
from wire.transaction import SECONDS_MAX, Outcome, TransactionEnded

MOVING: Final = frozenset({"submitted", "pending", "unknown", "reversing", "reverse_unknown"})
"""States of the money in which nobody knows yet where it ends up: nothing may interrupt the kiosk."""
SUBMITTED: Final = "submitted"
ORDERS_MAX: Final = 64
_ASK_STAFF: Final = "ask_staff"
_UNPAID: Final = {"failed": Outcome.FAILED, "reversed": Outcome.REVERSED}


class OrderSeen(BaseModel):
    """An order as the platform says it is, as far as it is looked at."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True, defer_build=True)

    order: ShortText
    case_number: ShortText = ""
    business: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{1,63}$")]
    channel: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{1,63}$")] | None = None
    money: ShortText
    posting: ShortText = ""
    fulfilment: ShortText = ""
    advice: ShortText = ""
    refunded_fen: int = 0
    is_settled: bool = False

    @property
    def is_moving(self) -> bool:
        """Whether its money is under way."""
        return self.money in MOVING

    @property
    def is_over(self) -> bool:
        """Whether nothing will change any more without a person."""
        return self.is_settled or (self.advice == _ASK_STAFF and not self.is_moving)

    def outcome(self) -> Outcome:
        """How it ended, once it is over."""
        if not self.is_settled:
            return Outcome.MANUAL
        if self.refunded_fen > 0:
            return Outcome.REFUNDED
        if self.money == "paid":
            return Outcome.PAID if self.posting == "posted" else Outcome.MANUAL
        return _UNPAID.get(self.money, Outcome.CANCELLED)

    def ended(self, seconds: float) -> TransactionEnded:
        """What the fleet hears."""
        return TransactionEnded(
            business=self.business,
            channel=self.channel,
            outcome=self.outcome().value,
            seconds=min(max(seconds, 0.0), SECONDS_MAX),
        )

    def status(self) -> OrderStatus:
        """What pages hear."""
        return OrderStatus(**self.model_dump(include=set(OrderStatus.model_fields)))


class OrdersSeen(BaseModel):
    """An answer with several of them."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True, defer_build=True)

    orders: list[OrderSeen]


class Kept(BaseModel):
    """A row of the file."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    seen: OrderSeen
    began_at: AwareDatetime


_ROWS: Final = TypeAdapter(list[Kept], config=ConfigDict(defer_build=True))


def seen_in(body: bytes) -> OrderSeen | None:
    """The order in an answer; None when it is none."""
    try:
        return OrderSeen.model_validate_json(body)
    except ValidationError:
        return None


def all_seen_in(body: bytes) -> list[OrderSeen] | None:
    """The orders in an answer; None when it makes no sense."""
    try:
        return OrdersSeen.model_validate_json(body).orders
    except ValidationError:
        return None


def rows_of(content: bytes) -> list[Kept]:
    """What a file says; a file that makes no sense says nothing. Raises nothing."""
    try:
        return _ROWS.validate_json(content)[:ORDERS_MAX]
    except ValidationError:
        return []


def content_of(rows: list[Kept]) -> bytes:
    """A file."""
    return _ROWS.dump_json(rows)


def unheard_of(order: str, now: datetime) -> Kept:
    """An order that a page pays for and that nothing was seen of."""
    return Kept(seen=OrderSeen(order=order, business="unknown", money=SUBMITTED), began_at=now)
