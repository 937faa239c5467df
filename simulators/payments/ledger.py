"""What the wallets do, without any network: codes, trades, passwords, reversals, refunds. The clock is given.

Follows the public documents: a payment code is good for one trade and one minute; WeChat gives up an unpaid code
payment after 45 s; a reversal closes an unpaid trade and pays a paid one back; a time limit ends paying, not the order.
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Final

from kit.clock import Clock
from simulators.payments.model import (
    CHINA,
    OPEN,
    PAID,
    Book,
    Notice,
    Order,
    PaymentCode,
    Reason,
    Refund,
    RefundState,
    Refused,
    Trade,
    TradeState,
    Wallet,
    trade_key,
)

CODE_LIFE: Final = timedelta(seconds=60)
WECHAT_PASSWORD_LIFE: Final = timedelta(seconds=45)
QR_LIFE: Final = timedelta(hours=2)
REVERSE_LIFE: Final = {Wallet.WECHAT: timedelta(days=7), Wallet.ALIPAY: timedelta(days=1)}
REFUND_LIFE: Final = timedelta(days=365)
_PREFIXES: Final = {Wallet.WECHAT: range(10, 16), Wallet.ALIPAY: range(25, 31)}
_CODE_DIGITS: Final = 18
_PAYER_SIGNS: Final = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz23456789"


def code_wallet(code: str) -> Wallet | None:
    """Whose payment code this is by its first digits; None when it is none."""
    if not code.isascii() or not code.isdecimal():
        return None
    if len(code) == _CODE_DIGITS and int(code[:2]) in _PREFIXES[Wallet.WECHAT]:
        return Wallet.WECHAT
    if 16 <= len(code) <= 24 and int(code[:2]) in _PREFIXES[Wallet.ALIPAY]:  # noqa: PLR2004 - lengths of the document
        return Wallet.ALIPAY
    return None


class Ledger:
    """The books of both wallets; every call first lets time do what it would have done."""

    def __init__(self, clock: Clock, book: Book | None = None, *, seed: int = 1, refund_s: float = 1.0) -> None:
        self.book = book if book is not None else Book()
        self.refund_s = refund_s
        self.merchant_balance_fen: int | None = None
        """What the merchant has to pay refunds from; None for plenty."""
        self.refunds_fail = False
        """New refunds end as ABNORMAL: the payer's card is closed."""
        self._clock = clock
        self._random = random.Random(f"{seed}:{self.book.counter}")
        self._touched: set[tuple[str, str]] = set()
        self._live = set(self.book.trades)
        """Trades that time can still change."""

    def take_touched(self) -> list[tuple[str, str]]:
        """What was changed since this was asked last: (table, key)."""
        touched, self._touched = sorted(self._touched), set()
        return touched

    def forget(self, book: Book) -> None:
        """Start over with another book."""
        self.book = book
        self._live, self._touched = set(book.trades), set()

    # --- the phone ----------------------------------------------------------------------------------------

    def new_code(self, wallet: Wallet, balance_fen: int, *, asks_password: bool) -> PaymentCode:
        """Show a fresh payment code on a phone."""
        prefix = self._random.choice(_PREFIXES[wallet])
        while (code := f"{prefix}{self._random.randrange(10**16):016d}") in self.book.codes:
            pass
        expires_at = self._clock.utc() + CODE_LIFE
        row = PaymentCode(
            code=code,
            wallet=wallet,
            payer=self._payer(wallet),
            balance_fen=balance_fen,
            asks_password=asks_password,
            expires_at=expires_at,
        )
        self.book.codes[code] = row
        self._touched.add(("codes", code))
        return row

    def scan(self, qr: str) -> Trade:
        """Scan a shown code and look at what is to be paid. Raises: Refused."""
        trade = next((one for one in self.book.trades.values() if one.qr and one.qr == qr), None)
        if trade is None:
            raise Refused(Reason.TRADE_UNKNOWN)
        self.settle()
        if trade.state in PAID:
            raise Refused(Reason.TRADE_PAID)
        if trade.state not in OPEN:
            raise Refused(Reason.TRADE_CLOSED)
        now = self._clock.utc()
        if now > min(trade.expires_at or now, trade.created_at + QR_LIFE):
            raise Refused(Reason.CODE_EXPIRED)
        if trade.wallet is Wallet.ALIPAY:
            trade.state = TradeState.USERPAYING
        trade.payer = trade.payer or self._payer(trade.wallet)
        self._touch(trade)
        return trade

    def pay_qr(self, qr: str) -> Trade:
        """Scan and pay a shown code. Raises: Refused."""
        trade = self.scan(qr)
        self._paid(trade, self._clock.utc())
        return trade

    def password(self, found: str, act: str) -> Trade:
        """The payer enters the password (`pay`), refuses (`cancel`) or is at it (`typing`); by code or trade number.

        Raises: Refused.
        """
        self.settle()
        trade = next((one for one in self.book.trades.values() if found in {one.code, one.out_trade_no}), None)
        if trade is None or not found:
            raise Refused(Reason.TRADE_UNKNOWN)
        if trade.state is not TradeState.USERPAYING:
            raise Refused(Reason.TRADE_PAID if trade.state in PAID else Reason.TRADE_CLOSED)
        match act:
            case "pay":
                self._paid(trade, self._clock.utc())
            case "typing":
                trade.is_typing = True
                self._touch(trade)
            case _:
                end = TradeState.PAYERROR if trade.wallet is Wallet.WECHAT else TradeState.CLOSED
                self._ended(trade, end, self._clock.utc())
        return trade

    # --- the merchant -------------------------------------------------------------------------------------

    def code_pay(self, order: Order, code: str, *, pays_after_s: float | None = None) -> Trade:
        """Take the money of a payment code; the trade is paid or waits for a password. Raises: Refused."""
        self.settle()
        known = self.book.trades.get(trade_key(order.wallet, order.out_trade_no))
        if known is not None:
            return self._again(known, order, code)
        row = self.book.codes.get(code)
        if row is None or code_wallet(code) is not order.wallet:
            raise Refused(Reason.CODE_INVALID)
        if row.out_trade_no is not None:
            raise Refused(Reason.CODE_USED)
        now = self._clock.utc()
        if now > row.expires_at:
            raise Refused(Reason.CODE_EXPIRED)
        row.out_trade_no = order.out_trade_no
        self._touched.add(("codes", code))
        if row.balance_fen < order.amount_fen:
            raise Refused(Reason.NOT_ENOUGH)
        trade = self._opened(order, TradeState.USERPAYING, code=code, payer=row.payer)
        if pays_after_s is not None:
            trade.pays_at = now + timedelta(seconds=pays_after_s)
        elif not row.asks_password:
            self._paid(trade, now)
        return trade

    def show_qr(self, order: Order, url: str) -> Trade:
        """Make an order whose code is shown to the payer; `url` ends with what makes it unique. Raises: Refused."""
        self.settle()
        known = self.book.trades.get(trade_key(order.wallet, order.out_trade_no))
        if known is not None:
            return self._again(known, order, "")
        trade = self._opened(order, TradeState.NOTPAY, code="", payer="")
        trade.qr = f"{url}{self._signs(11)}"
        return trade

    def find(self, wallet: Wallet, out_trade_no: str = "", transaction_id: str = "") -> Trade:
        """One trade as it is now. Raises: Refused."""
        self.settle()
        if transaction_id:
            mine = (one for one in self.book.trades.values() if one.wallet is wallet)
            trade = next((one for one in mine if one.transaction_id == transaction_id), None)
        else:
            trade = self.book.trades.get(trade_key(wallet, out_trade_no))
        if trade is None:
            raise Refused(Reason.TRADE_UNKNOWN)
        return trade

    def close(self, trade: Trade) -> None:
        """End an unpaid order; again is fine. Raises: Refused."""
        if trade.state in PAID:
            raise Refused(Reason.TRADE_PAID)
        if trade.is_code_payment and trade.wallet is Wallet.WECHAT:
            raise Refused(Reason.WRONG_KIND)
        if trade.state in OPEN:
            self._ended(trade, TradeState.CLOSED, self._clock.utc())

    def reverse(self, trade: Trade) -> None:
        """Take a payment back whatever became of it; again is fine. Raises: Refused."""
        now = self._clock.utc()
        if trade.wallet is Wallet.WECHAT and not trade.is_code_payment:
            raise Refused(Reason.WRONG_KIND)
        if trade.state is TradeState.REVOKED:
            return
        if now - trade.created_at > REVERSE_LIFE[trade.wallet]:
            raise Refused(Reason.TOO_OLD)
        if trade.wallet is Wallet.WECHAT and trade.is_typing and trade.state is TradeState.USERPAYING:
            raise Refused(Reason.USER_PAYING)
        left_fen = trade.amount_fen - trade.refunded_fen
        if trade.state in PAID and left_fen:
            self._spend(left_fen)
            number = f"R{trade.out_trade_no}"
            trade.refunds.append(self._refund(trade, number, left_fen, now, reversal=True))
        if trade.state is not TradeState.CLOSED or trade.paid_at is not None:
            self._ended(trade, TradeState.REVOKED, now)

    def refund(self, trade: Trade, number: str, amount_fen: int, *, reason: str = "", notify_url: str = "") -> Refund:
        """Pay back a part or all; the same number again gives the same refund. Raises: Refused."""
        known = next((one for one in trade.refunds if one.out_refund_no == number), None)
        if known is not None:
            if known.amount_fen != amount_fen:
                raise Refused(Reason.REFUND_DIFFERS)
            return known
        if trade.state not in PAID:
            raise Refused(Reason.TRADE_CLOSED if trade.state not in OPEN else Reason.TRADE_NOT_PAID)
        now = self._clock.utc()
        if trade.paid_at is not None and now - trade.paid_at > REFUND_LIFE:
            raise Refused(Reason.TOO_OLD)
        if amount_fen < 1 or trade.refunded_fen + amount_fen > trade.amount_fen:
            raise Refused(Reason.REFUND_TOO_MUCH)
        self._spend(amount_fen)
        row = self._refund(trade, number, amount_fen, now)
        row.reason, row.notify_url = reason, notify_url
        trade.refunds.append(row)
        trade.state = TradeState.REFUND
        self._touch(trade)
        return row

    def find_refund(self, wallet: Wallet, number: str) -> tuple[Trade, Refund]:
        """One refund as it is now. Raises: Refused."""
        self.settle()
        for trade in self.book.trades.values():
            for one in trade.refunds:
                if trade.wallet is wallet and one.out_refund_no == number:
                    return trade, one
        raise Refused(Reason.REFUND_UNKNOWN)

    # --- time ---------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Let time do its work: late payments arrive, passwords run out, refunds land."""
        now = self._clock.utc()
        for key in list(self._live):
            trade = self.book.trades[key]
            if trade.pays_at is not None and trade.pays_at <= now and trade.state in OPEN:
                self._paid(trade, trade.pays_at)
            if trade.state in OPEN and trade.pays_at is None:
                self._run_out(trade, now)
            for refund in trade.refunds:
                if refund.state is RefundState.PROCESSING and refund.settles_at <= now:
                    self._landed(trade, refund, now)
            if trade.state not in OPEN and all(one.state is not RefundState.PROCESSING for one in trade.refunds):
                self._live.discard(key)

    def pay_now(self, trade: Trade) -> None:
        """The payer was quicker than the call that comes next."""
        if trade.state in OPEN:
            self._paid(trade, self._clock.utc())

    def on_day(self, wallet: Wallet, day: str) -> list[Trade]:
        """Trades that had money moving on a day in China, oldest first."""
        self.settle()
        mine = (one for one in self.book.trades.values() if one.wallet is wallet and one.paid_at is not None)
        return sorted(
            (one for one in mine if any(china_day(moment) == day for moment in _moments(one))),
            key=lambda one: one.created_at,
        )

    def _run_out(self, trade: Trade, now: datetime) -> None:
        if trade.wallet is Wallet.WECHAT:
            gives_up_at = trade.created_at + WECHAT_PASSWORD_LIFE
            if trade.state is TradeState.USERPAYING and not trade.is_typing and now > gives_up_at:
                self._ended(trade, TradeState.REVOKED, gives_up_at)
        elif trade.expires_at is not None and now > trade.expires_at:
            self._ended(trade, TradeState.CLOSED, trade.expires_at)

    def _landed(self, trade: Trade, refund: Refund, now: datetime) -> None:
        refund.state = RefundState.ABNORMAL if self.refunds_fail else RefundState.SUCCESS
        refund.done_at = refund.settles_at
        self._touch(trade)
        if refund.notify_url:
            self._notify(trade, "refund", refund.notify_url, now, refund.out_refund_no)

    def _again(self, known: Trade, order: Order, code: str) -> Trade:
        if known.state in PAID:
            raise Refused(Reason.TRADE_PAID)
        if known.state not in OPEN:
            raise Refused(Reason.TRADE_CLOSED)
        if (known.amount_fen, known.subject, known.code) != (order.amount_fen, order.subject, code):
            raise Refused(Reason.TRADE_DIFFERS)
        return known

    def _opened(self, order: Order, state: TradeState, *, code: str, payer: str) -> Trade:
        trade = Trade(
            **order.model_dump(),
            transaction_id=self._number(order.wallet),
            is_code_payment=bool(code),
            state=state,
            created_at=self._clock.utc(),
            code=code,
            payer=payer,
        )
        self.book.trades[trade_key(order.wallet, order.out_trade_no)] = trade
        self._touch(trade)
        return trade

    def _paid(self, trade: Trade, moment: datetime) -> None:
        trade.state, trade.paid_at, trade.is_typing = TradeState.SUCCESS, moment, False
        if self.merchant_balance_fen is not None:
            self.merchant_balance_fen += trade.amount_fen
        self._touch(trade)
        if trade.notify_url and not (trade.is_code_payment and trade.wallet is Wallet.WECHAT):
            self._notify(trade, "trade", trade.notify_url, self._clock.utc())

    def _ended(self, trade: Trade, state: TradeState, moment: datetime) -> None:
        trade.state, trade.ended_at, trade.is_typing = state, moment, False
        self._touch(trade)

    def _notify(self, trade: Trade, kind: str, url: str, due_at: datetime, refund_no: str = "") -> None:
        number = f"{self._next():08d}-{self._signs(12)}"
        self.book.notices[number] = Notice(
            number=number,
            wallet=trade.wallet,
            kind=kind,
            url=url,
            out_trade_no=trade.out_trade_no,
            out_refund_no=refund_no,
            due_at=due_at,
        )
        self._touched.add(("notices", number))

    def changed_notice(self, notice: Notice) -> None:
        """A notice was tried."""
        self._touched.add(("notices", notice.number))

    def _refund(self, trade: Trade, number: str, amount_fen: int, now: datetime, *, reversal: bool = False) -> Refund:
        wait_s = self.refund_s if trade.wallet is Wallet.WECHAT else 0.0
        return Refund(
            out_refund_no=number,
            refund_id=f"50{now.astimezone(CHINA):%Y%m%d}{self._next():018d}",
            amount_fen=amount_fen,
            state=RefundState.PROCESSING,
            created_at=now,
            settles_at=now + timedelta(seconds=wait_s),
            is_reversal=reversal,
        )

    def _spend(self, amount_fen: int) -> None:
        if self.merchant_balance_fen is None:
            return
        if self.merchant_balance_fen < amount_fen:
            raise Refused(Reason.MERCHANT_BALANCE)
        self.merchant_balance_fen -= amount_fen

    def _payer(self, wallet: Wallet) -> str:
        if wallet is Wallet.WECHAT:
            return f"oSIM{self._signs(24)}"
        return f"2088{self._random.randrange(10**12):012d}"

    def _number(self, wallet: Wallet) -> str:
        day = self._clock.utc().astimezone(CHINA)
        if wallet is Wallet.WECHAT:
            return f"42000{self._random.randrange(10**5):05d}{day:%Y%m%d}{self._next():010d}"
        return f"{day:%Y%m%d}22001{self._random.randrange(10**5):05d}{self._next():010d}"

    def _next(self) -> int:
        self.book.counter += 1
        self._touched.add(("counter", ""))
        return self.book.counter

    def _signs(self, count: int) -> str:
        return "".join(self._random.choice(_PAYER_SIGNS) for _ in range(count))

    def _touch(self, trade: Trade) -> None:
        key = trade_key(trade.wallet, trade.out_trade_no)
        self._live.add(key)
        self._touched.add(("trades", key))


def china_day(moment: datetime) -> str:
    """The day in China, `YYYY-MM-DD`."""
    return f"{moment.astimezone(CHINA):%Y-%m-%d}"


def _moments(trade: Trade) -> list[datetime]:
    paid = [] if trade.paid_at is None else [trade.paid_at]
    return paid + [one.created_at for one in trade.refunds]
