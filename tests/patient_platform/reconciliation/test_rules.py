"""Every outcome code from three small books, and thirty thousand rows that all balance."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from patient_platform.his.ports import HisTrade
from patient_platform.money import Fen
from patient_platform.payment.ports import BillRow, BillStatus
from patient_platform.reconciliation.model import Books, Code, OurRefund, OurRow
from patient_platform.reconciliation.rules import compare, counts, totals_of_bill, totals_of_ours

DAY = date(2026, 11, 22)
NOON = datetime(2026, 11, 22, 4, tzinfo=UTC)
ORDER = "01K000000000000000000000AB"
TRADE, OTHER = f"{ORDER}01", f"{ORDER}02"
REFUND = f"{TRADE}R1"


def ours(
    number: str = TRADE, *, amount: int = 100, paid: bool = True, posted: bool = True, at: datetime = NOON
) -> OurRow:
    return OurRow(number, number[:26], Fen(amount), paid, posted, at)


def charged(number: str = TRADE, *, amount: int = 100, status: BillStatus = BillStatus.PAID) -> BillRow:
    return BillRow(number, f"C{number}", status, Fen(amount), NOON)


def returned(number: str = REFUND, amount: int = 100, trade: str = TRADE) -> BillRow:
    return BillRow(trade, f"C{trade}", BillStatus.REFUNDED, Fen(amount), NOON, number)


def posted(number: str = TRADE, amount: int = 100, refund: str | None = None) -> HisTrade:
    return HisTrade(number, refund, Fen(amount), NOON, f"H{number}")


def back(number: str = REFUND, *, amount: int = 100, done: bool = True, in_his: bool = True) -> OurRefund:
    return OurRefund(number, TRADE, ORDER, Fen(amount), done, in_his, NOON)


def codes(
    payments: list[OurRow], bill: list[BillRow], his: list[HisTrade], refunds: list[OurRefund] | None = None
) -> dict[str, int]:
    return counts(compare(Books(DAY, tuple(payments), tuple(refunds or [])), bill, his))


@pytest.mark.parametrize(
    ("payments", "bill", "his", "code"),
    [
        ([ours()], [charged()], [posted()], Code.OK),
        ([ours()], [charged()], [], Code.L1),
        ([ours(posted=False)], [charged()], [posted()], Code.L1),
        ([ours(paid=False, posted=False)], [charged()], [], Code.L2),
        ([], [charged()], [], Code.L3),
        ([], [charged("PARKING-2026-0001")], [], Code.FOREIGN),
        ([ours()], [], [posted()], Code.S1),
        ([ours()], [charged(status=BillStatus.REVOKED)], [posted()], Code.S1),
        ([ours(paid=False, posted=False)], [], [posted()], Code.S2),
        ([], [], [posted()], Code.S2),
        ([ours(amount=99)], [charged()], [posted()], Code.A1),
        ([ours()], [charged()], [posted(amount=101)], Code.A1),
        ([ours(at=NOON + timedelta(days=1))], [charged()], [posted()], Code.D1),
    ],
)
def test_a_payment(payments: list[OurRow], bill: list[BillRow], his: list[HisTrade], code: Code) -> None:
    assert codes(payments, bill, his) == {code.value: 1}


def test_what_was_never_paid_is_nobodys_business() -> None:
    assert codes([ours(paid=False, posted=False)], [], []) == {}
    assert codes([ours(paid=False, posted=False)], [charged(status=BillStatus.REVOKED)], []) == {}


@pytest.mark.parametrize(
    ("refunds", "bill", "his", "code"),
    [
        ([back()], [returned()], [posted(amount=-100, refund=REFUND)], Code.OK),
        ([back()], [], [posted(amount=-100, refund=REFUND)], Code.R1),
        ([], [returned("elsewhere")], [], Code.R2),
        ([], [returned("elsewhere", trade="PARKING-2026-0001")], [], Code.FOREIGN),
        ([back(done=False)], [], [posted(amount=-100, refund=REFUND)], Code.R3),
        ([], [], [posted(amount=-100, refund=REFUND)], Code.R3),
        ([back()], [returned()], [], Code.R4),
        ([back(in_his=False)], [returned()], [], Code.OK),
        ([back(amount=50)], [returned()], [posted(amount=-50, refund=REFUND)], Code.A1),
    ],
)
def test_a_refund(refunds: list[OurRefund], bill: list[BillRow], his: list[HisTrade], code: Code) -> None:
    payment = [ours()], [charged(), *bill], [posted(), *his]
    found = codes(*payment, refunds)
    assert found == ({"OK": 2} if code is Code.OK else {"OK": 1, code.value: 1})


@pytest.mark.parametrize("back", [charged(status=BillStatus.REVOKED), returned("", 100)])
def test_what_we_took_back_at_once_is_no_second_payment(back: BillRow) -> None:
    reversed_ = replace(ours(paid=False, posted=False), is_reversed=True)
    bill = [charged(), back, charged(OTHER)]
    found = codes([reversed_, ours(OTHER)], bill, [posted(OTHER)])
    assert found == {"OK": 3 if back.status is BillStatus.REFUNDED else 2}


def test_two_payments_of_one_order() -> None:
    found = codes([ours(), ours(OTHER, posted=False)], [charged(), charged(OTHER)], [posted()])
    assert found == {"OK": 2, "X1": 1}


def test_thirty_thousand_rows_balance() -> None:
    numbers = [f"01K{number:023d}01" for number in range(30_000)]
    books = Books(DAY, tuple(ours(number) for number in numbers), ())
    bill = [charged(number) for number in numbers]
    assert counts(compare(books, bill, [posted(number) for number in numbers])) == {"OK": 30_000}
    mine, theirs = totals_of_ours(books), totals_of_bill(bill)
    assert (mine.paid_count, mine.paid_fen) == (theirs.paid_count, theirs.paid_fen) == (30_000, 3_000_000)
