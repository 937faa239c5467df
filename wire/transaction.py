"""How a transaction of a patient ended, without a word about who it was or how much: what the fleet counts.

An event record carries the fields of `TransactionEnded` and nothing else.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from pydantic import Field

from wire.envelope import Code, Scalar, WireModel

TRANSACTION_ENDED: Final = "transaction.ended"
"""Name of the event record; its component is `KIOSK`."""
SECONDS_MAX: Final = 604_800.0


class Outcome(StrEnum):
    """What became of it."""

    PAID = "paid"
    """Paid, and the hospital's system knows."""
    REFUNDED = "refunded"
    REVERSED = "reversed"
    CANCELLED = "cancelled"
    """Nobody paid."""
    FAILED = "failed"
    MANUAL = "manual"
    """Staff have to settle it."""


class TransactionEnded(WireModel):
    """The fields of the event record."""

    business: Code = Field(description="what was paid for: bill, registration")
    channel: Code | None = Field(
        default=None, description="who moved the money: wechat, alipay; None: nobody was asked"
    )
    outcome: Code = Field(description="a word of `Outcome`; a newer agent may know more")
    seconds: float = Field(ge=0.0, le=SECONDS_MAX, description="from the order to its end")

    def fields(self) -> dict[str, Scalar]:
        """As the event record carries it."""
        return {
            "business": self.business,
            "channel": self.channel,
            "outcome": self.outcome,
            "seconds": round(self.seconds, 1),
        }
