"""Whatever happens in whatever order, money is neither made nor lost."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kit.clock import ManualClock
from simulators.payments.bills import entries_of
from simulators.payments.ledger import Ledger, code_wallet
from simulators.payments.model import PAID, Book, Order, Refused, TradeState, Wallet, trade_key
from simulators.payments.money import fen, yuan
from support.payment_merchant import START

NUMBERS = ("ORDER0001", "ORDER0002", "ORDER0003")
WALLETS = st.sampled_from(Wallet)


class Wallets(RuleBasedStateMachine):
    """Payers, a merchant and time."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock(START)
        self.ledger = Ledger(self.clock)
        self.ended: dict[str, TradeState] = {}

    def order(self, wallet: Wallet, number: str) -> Order:
        return Order(wallet=wallet, out_trade_no=number, amount_fen=100, subject="缴费")

    @rule(wallet=WALLETS, number=st.sampled_from(NUMBERS), asks=st.booleans(), late=st.sampled_from([None, 3.0]))
    def code_pay(self, wallet: Wallet, number: str, asks: bool, late: float | None) -> None:
        code = self.ledger.new_code(wallet, 100, asks_password=asks).code
        assert code_wallet(code) is wallet
        with suppress(Refused):
            self.ledger.code_pay(self.order(wallet, number), code, pays_after_s=late)

    @rule(wallet=WALLETS, number=st.sampled_from(NUMBERS))
    def show(self, wallet: Wallet, number: str) -> None:
        with suppress(Refused):
            self.ledger.show_qr(self.order(wallet, number), "qr:")

    @precondition(lambda self: bool(self.ledger.book.trades))
    @rule(data=st.data(), act=st.sampled_from(["pay", "scan", "password", "cancel", "typing"]))
    def phone(self, data: st.DataObject, act: str) -> None:
        trade = data.draw(st.sampled_from(list(self.ledger.book.trades.values())))
        with suppress(Refused):
            if act in {"pay", "scan"}:
                (self.ledger.pay_qr if act == "pay" else self.ledger.scan)(trade.qr or "none")
            else:
                self.ledger.password(trade.out_trade_no, "pay" if act == "password" else act)

    @precondition(lambda self: bool(self.ledger.book.trades))
    @rule(data=st.data(), act=st.sampled_from(["close", "reverse", "refund"]), amount=st.integers(0, 101))
    def merchant(self, data: st.DataObject, act: str, amount: int) -> None:
        key = data.draw(st.sampled_from(sorted(self.ledger.book.trades)))
        trade = self.ledger.find(self.ledger.book.trades[key].wallet, self.ledger.book.trades[key].out_trade_no)
        with suppress(Refused):
            match act:
                case "close":
                    self.ledger.close(trade)
                case "reverse":
                    self.ledger.reverse(trade)
                case _:
                    self.ledger.refund(trade, f"R{amount}", amount)

    @rule(seconds=st.sampled_from([1, 30, 61, 90_000]))
    def wait(self, seconds: int) -> None:
        self.clock.advance(seconds)
        self.ledger.settle()

    @invariant()
    def nobody_gets_more_back_than_was_paid(self) -> None:
        for trade in self.ledger.book.trades.values():
            assert 0 <= trade.refunded_fen <= (trade.amount_fen if trade.paid_at else 0)
            assert not trade.refunds or trade.paid_at is not None
            assert trade.state is not TradeState.REVOKED or trade.refunded_fen == (100 if trade.paid_at else 0)

    @invariant()
    def an_end_is_an_end(self) -> None:
        for key, trade in self.ledger.book.trades.items():
            before = self.ended.get(key)
            if before is not None and trade.state is not before:
                assert (before, trade.state) == (TradeState.PAYERROR, TradeState.REVOKED), key
            if trade.state in {TradeState.REVOKED, TradeState.CLOSED, TradeState.PAYERROR}:
                self.ended[key] = trade.state

    @invariant()
    def the_entries_are_the_trades(self) -> None:
        trades = list(self.ledger.book.trades.values())
        kept = sum(one.amount_fen - one.refunded_fen for one in trades if one.paid_at is not None)
        assert sum(one.fen for one in entries_of(trades)) == kept

    @invariant()
    def the_book_can_be_written_and_read(self) -> None:
        assert Book.model_validate_json(self.ledger.book.model_dump_json()) == self.ledger.book


Wallets.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestWallets = Wallets.TestCase


@given(st.integers(0, 10**11 - 1))
def test_yuan_and_fen_are_the_same_money(amount: int) -> None:
    assert fen(yuan(amount)) == amount
    assert yuan(-amount).lstrip("-") == yuan(amount)


@pytest.mark.parametrize(
    ("code", "wallet"),
    [
        ("100000000000000000", Wallet.WECHAT),
        ("15" + "9" * 16, Wallet.WECHAT),
        ("16" + "9" * 16, None),
        ("15" + "9" * 15, None),
        ("25" + "0" * 14, Wallet.ALIPAY),
        ("30" + "0" * 22, Wallet.ALIPAY),
        ("31" + "0" * 16, None),
        ("１" * 18, None),
    ],
)
def test_first_digits_tell_the_wallet(code: str, wallet: Wallet | None) -> None:
    assert code_wallet(code) is wallet


def test_a_trade_belongs_to_one_wallet() -> None:
    ledger = Ledger(ManualClock(START))
    for wallet in Wallet:
        code = ledger.new_code(wallet, 100, asks_password=False).code
        order = Order(wallet=wallet, out_trade_no="ORDER0001", amount_fen=100, subject="缴费")
        assert ledger.code_pay(order, code).state in PAID
    assert {trade_key(one, "ORDER0001") for one in Wallet} == set(ledger.book.trades)
