"""What a wallet knows: payment codes, trades, refunds, notices. Amounts are fen, times are aware UTC."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from enum import StrEnum
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

CHINA: Final = timezone(timedelta(hours=8), "Asia/Shanghai")
"""No daylight saving since 1991: a fixed offset is the whole zone."""


class Wallet(StrEnum):
    """Whose money it is."""

    WECHAT = "wechat"
    ALIPAY = "alipay"


class TradeState(StrEnum):
    """WeChat's words; Alipay's are made from them."""

    NOTPAY = "NOTPAY"
    USERPAYING = "USERPAYING"
    SUCCESS = "SUCCESS"
    REFUND = "REFUND"
    REVOKED = "REVOKED"
    CLOSED = "CLOSED"
    PAYERROR = "PAYERROR"


PAID: Final = frozenset({TradeState.SUCCESS, TradeState.REFUND})
OPEN: Final = frozenset({TradeState.NOTPAY, TradeState.USERPAYING})


class RefundState(StrEnum):
    """WeChat's words."""

    PROCESSING = "PROCESSING"
    SUCCESS = "SUCCESS"
    ABNORMAL = "ABNORMAL"


class Reason(StrEnum):
    """Why a wallet says no; each interface has its own words for it."""

    CODE_INVALID = "code_invalid"
    CODE_EXPIRED = "code_expired"
    CODE_USED = "code_used"
    NOT_ENOUGH = "not_enough"
    USER_PAYING = "user_paying"
    TRADE_UNKNOWN = "trade_unknown"
    TRADE_PAID = "trade_paid"
    TRADE_CLOSED = "trade_closed"
    TRADE_DIFFERS = "trade_differs"
    TRADE_NOT_PAID = "trade_not_paid"
    WRONG_KIND = "wrong_kind"
    TOO_OLD = "too_old"
    REFUND_UNKNOWN = "refund_unknown"
    REFUND_TOO_MUCH = "refund_too_much"
    REFUND_DIFFERS = "refund_differs"
    MERCHANT_BALANCE = "merchant_balance"


class Refused(Exception):
    """A wallet says no."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class Row(BaseModel):
    """Something a wallet remembers."""

    model_config = ConfigDict(extra="forbid")


class PaymentCode(Row):
    """What a phone shows to be scanned: for one trade, for one minute."""

    code: str
    wallet: Wallet
    payer: str
    balance_fen: int
    asks_password: bool
    expires_at: datetime
    out_trade_no: str | None = None


class Refund(Row):
    """Money on its way back."""

    out_refund_no: str
    refund_id: str
    amount_fen: int
    state: RefundState
    created_at: datetime
    settles_at: datetime
    done_at: datetime | None = None
    reason: str = ""
    notify_url: str = ""
    is_reversal: bool = False


class Trade(Row):
    """One order of the merchant."""

    wallet: Wallet
    out_trade_no: str
    transaction_id: str
    amount_fen: int
    subject: str
    is_code_payment: bool
    state: TradeState
    created_at: datetime
    attach: str = ""
    notify_url: str = ""
    device: str = ""
    operator: str = ""
    store: str = ""
    code: str = ""
    payer: str = ""
    qr: str = ""
    expires_at: datetime | None = None
    paid_at: datetime | None = None
    ended_at: datetime | None = None
    pays_at: datetime | None = None
    """When the money comes by itself, for a success after the answer."""
    is_typing: bool = False
    """The payer has the password field open: it cannot be reversed now."""
    refunds: list[Refund] = Field(default_factory=list)

    @property
    def refunded_fen(self) -> int:
        """What was asked back, arrived or not."""
        return sum(one.amount_fen for one in self.refunds if one.state is not RefundState.ABNORMAL)


class Notice(Row):
    """One message to the merchant, until it is taken or given up."""

    number: str
    wallet: Wallet
    kind: str
    """`trade` or `refund`."""
    url: str
    out_trade_no: str
    out_refund_no: str = ""
    due_at: datetime
    tries: int = 0
    state: str = "waiting"
    """`waiting`, `taken` or `given_up`."""
    answers: list[str] = Field(default_factory=list)


class Order(Row):
    """What a merchant asks for when it makes a trade."""

    wallet: Wallet
    out_trade_no: str
    amount_fen: int = Field(gt=0, le=10_000_000_00)
    subject: str
    attach: str = ""
    notify_url: str = ""
    device: str = ""
    operator: str = ""
    store: str = ""
    expires_at: datetime | None = None


class Book(Row):
    """All that is remembered."""

    codes: dict[str, PaymentCode] = Field(default_factory=dict)
    trades: dict[str, Trade] = Field(default_factory=dict)
    notices: dict[str, Notice] = Field(default_factory=dict)
    counter: int = 0


def trade_key(wallet: Wallet, out_trade_no: str) -> str:
    """Where a trade is in the book."""
    return f"{wallet}:{out_trade_no}"
