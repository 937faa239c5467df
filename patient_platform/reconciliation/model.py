"""Rows of the three books, and the names of what can differ between them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Final

from patient_platform.money import NOTHING, Fen
from patient_platform.payment.model import ChannelName


class Code(StrEnum):
    """Outcomes; P is ours, C the channel's bill, H the HIS's list."""

    OK = "OK"
    FOREIGN = "FOREIGN"
    """Somebody else's trade on the same merchant number, for example the car park's."""
    L1 = "L1"
    L2 = "L2"
    L3 = "L3"
    S1 = "S1"
    S2 = "S2"
    A1 = "A1"
    D1 = "D1"
    R1 = "R1"
    R2 = "R2"
    R3 = "R3"
    R4 = "R4"
    X1 = "X1"


FINE: Final = frozenset({Code.OK, Code.FOREIGN, Code.D1})
"""Nobody has to look at these."""
NAMES: dict[Code, tuple[str, str]] = {
    Code.OK: ("平", "balanced"),
    Code.FOREIGN: ("外来单(非本系统)", "another system's trade"),
    Code.L1: ("长款: HIS 漏账", "paid, not in the HIS"),
    Code.L2: ("长款: 平台漏单", "paid at the channel, not with us"),
    Code.L3: ("长款: 平台无此单", "paid at the channel, unknown to us"),
    Code.S1: ("短款: 渠道无款", "paid with us, not at the channel"),
    Code.S2: ("短款: HIS 虚账", "in the HIS, not paid"),
    Code.A1: ("金额不符", "amounts differ"),
    Code.D1: ("跨日", "another day"),
    Code.R1: ("退款未出账", "refund not in the bill"),
    Code.R2: ("渠道侧退款", "refund only at the channel"),
    Code.R3: ("退费未退款", "refunded in the HIS only"),
    Code.R4: ("退款未退费", "refunded, still in the HIS"),
    Code.X1: ("重复支付", "paid twice"),
}


@dataclass(frozen=True, slots=True)
class OurRow:
    """A payment as we have it; `is_paid` says whether the money is or was with us."""

    trade_no: str
    order: str
    amount_fen: Fen
    is_paid: bool
    is_posted: bool
    at: datetime | None
    posted_at: datetime | None = None
    is_reversed: bool = False
    """We took it back at once, so what the channel collected and what it returned belong together."""


@dataclass(frozen=True, slots=True)
class OurRefund:
    """A refund as we have it."""

    refund_no: str
    trade_no: str
    order: str
    amount_fen: Fen
    is_done: bool
    in_his: bool
    """The HIS has taken its posting back for it."""
    at: datetime
    is_failed: bool = False
    """It will not happen without a person, whatever the bill says of the day it was asked for."""


@dataclass(frozen=True, slots=True)
class Books:
    """What is compared."""

    day: date
    payments: tuple[OurRow, ...]
    refunds: tuple[OurRefund, ...]
    suspense: frozenset[str] = frozenset()
    """Trade numbers that the HIS's list of the day before did not have, because they were posted around midnight."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One row of the outcome."""

    code: Code
    number: str
    trade_no: str
    order: str | None = None
    ours_fen: Fen | None = None
    channel_fen: Fen | None = None
    his_fen: Fen | None = None


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts and sums of a day; what is compared with the channel's money in the bank."""

    paid_count: int = 0
    paid_fen: Fen = NOTHING
    refund_count: int = 0
    refund_fen: Fen = NOTHING
    fee_fen: Fen = NOTHING


class BatchState(StrEnum):
    """What a comparison came to."""

    DONE = "done"
    WAITING = "waiting"
    """The bill or the HIS's list is not there yet."""
    INVALID = "invalid"
    """The bill must not be used; nothing was compared."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One channel on one day; running it again makes a new version and keeps the old."""

    day: date
    channel: ChannelName
    version: int
    state: BatchState
    made_at: datetime
    reason: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    ours: Totals = field(default_factory=Totals)
    theirs: Totals = field(default_factory=Totals)
    findings: tuple[Finding, ...] = ()
    """Everything that is not balanced."""

    @property
    def is_balanced(self) -> bool:
        """Whether nobody has to look at anything."""
        return self.state is BatchState.DONE and all(finding.code in FINE for finding in self.findings)
