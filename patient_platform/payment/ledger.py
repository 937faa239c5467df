"""The double-entry ledger: every movement of money is a transaction whose entries sum to zero.

Entries are appended, never changed. A transaction carries the id of its event, which is unique: booking the same
event again is no booking. Accounts: what a channel owes us (`channel:wechat:1900000001`), money taken and not yet
posted (`suspense`), money on its way back (`refund-payable`), what the HIS has accounted for (`his`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from patient_platform.money import Fen
from patient_platform.payment.model import Leg, Refund

SUSPENSE: Final = "2002:suspense"
REFUND_PAYABLE: Final = "2003:refund-payable"
HIS: Final = "4001:his-clearing"


class Unbalanced(AssertionError):
    """Entries that do not sum to zero are a bug."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One side; debits are positive."""

    account: str
    amount_fen: Fen


@dataclass(frozen=True, slots=True)
class Booking:
    """A transaction of the ledger.

    Raises:
        Unbalanced: the entries do not sum to zero.
    """

    event: str
    """Unique; `<number>:<what happened>`."""
    entries: tuple[Entry, ...]

    def __post_init__(self) -> None:
        if sum(entry.amount_fen for entry in self.entries) != 0:
            raise Unbalanced(self.event)


def receivable(leg: Leg) -> str:
    """The account of what this leg's channel owes us."""
    return f"1001:channel:{leg.channel.value}"


def paid(leg: Leg) -> Booking:
    """The channel holds the patient's money for us; nobody has accounted for it yet."""
    return _move(f"{leg.trade_no}:paid", receivable(leg), SUSPENSE, leg.amount_fen)


def posted(leg: Leg) -> Booking:
    """The HIS has accounted for it."""
    return _move(f"{leg.trade_no}:posted", SUSPENSE, HIS, leg.amount_fen)


def refund_due(refund: Refund) -> Booking:
    """Money is promised back: from suspense, or from the HIS when that has taken its posting back."""
    source = HIS if refund.needs_his else SUSPENSE
    return _move(f"{refund.refund_no}:due", source, REFUND_PAYABLE, refund.amount_fen)


def refunded(leg: Leg, refund: Refund) -> Booking:
    """The channel has given it back."""
    return _move(f"{refund.refund_no}:refunded", REFUND_PAYABLE, receivable(leg), refund.amount_fen)


def balance(bookings: Iterable[Booking]) -> dict[str, Fen]:
    """What every account holds after these bookings."""
    sums: dict[str, int] = {}
    for booking in bookings:
        for entry in booking.entries:
            sums[entry.account] = sums.get(entry.account, 0) + entry.amount_fen
    return {account: Fen(amount) for account, amount in sums.items()}


def _move(event: str, debit: str, credit: str, amount: Fen) -> Booking:
    return Booking(event, (Entry(debit, amount), Entry(credit, Fen(-amount))))
