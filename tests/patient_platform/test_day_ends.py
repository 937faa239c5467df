"""Payments around midnight and refunds that take days, reconciled (section 16 of the reference), over real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from patient_platform.payment.model import ChannelName, RefundState
from patient_platform.reconciliation.model import Batch, BatchState, Code
from simulators.payments.keys import Keys
from support.stepped_site import SteppedSite, stepped_site

DAY = date(2026, 11, 23)
NEXT = DAY + timedelta(days=1)
EVENING = datetime(2026, 11, 23, 15, 40, tzinfo=UTC)
"""Twenty minutes before midnight in China."""
HOUR_S = 3_600.0


@pytest.fixture
async def evening(site_keys: Keys, tmp_path: Path, sqlite_platform_url: str) -> AsyncIterator[SteppedSite]:
    """Run everything in the last minutes of a day."""
    async with stepped_site(site_keys, tmp_path, sqlite_platform_url, EVENING) as found:
        yield found


async def reconciled(till: SteppedSite, day: date, name: ChannelName = ChannelName.WECHAT) -> Batch:
    batches = await till.site.platform.reconciliation.run(day)
    found = next(batch for batch in batches if batch.channel is name)
    assert found.state is BatchState.DONE, found.reason
    return found


def codes(batch: Batch) -> list[tuple[Code, str]]:
    return [(finding.code, finding.trade_no) for finding in batch.findings]


async def test_31_paid_two_seconds_before_midnight_and_charged_one_after_it(evening: SteppedSite) -> None:
    evening.clock.advance(19 * 60 + 58)
    order = await evening.order_bills()
    await evening.pay_by_code(order, asks_password=True)
    evening.clock.advance(3)
    await evening.site.phone("password", trade=f"{order}01")
    await evening.pass_time(5.0)
    assert (await evening.show(order))["posting"] == "posted"
    await evening.pass_time(36 * HOUR_S)
    batch = await reconciled(evening, DAY)
    assert (batch.counts, batch.is_balanced) == ({}, True)
    batch = await reconciled(evening, NEXT)
    assert (batch.counts, batch.is_balanced) == ({"OK": 1}, True)


@pytest.mark.parametrize("is_lost", [False, True])
async def test_31_the_his_ends_its_day_before_midnight(evening: SteppedSite, is_lost: bool) -> None:
    evening.clock.advance(15 * 60)
    order = await evening.order_bills()
    assert (await evening.pay_by_code(order))["posting"] == "posted"
    trade = evening.site.his.desk.hospital.books.trades[f"{order}01"]
    assert trade.time_trade == "2026-11-23 23:55:00"
    trade.time_trade = f"{NEXT} 00:00:00"  # its day ended at 23:50
    await evening.pass_time(12 * HOUR_S)
    batch = await reconciled(evening, DAY)
    assert codes(batch) == [(Code.D1, f"{order}01")]
    assert batch.is_balanced
    await evening.pass_time(24 * HOUR_S)
    if is_lost:
        del evening.site.his.desk.hospital.books.trades[f"{order}01"]
    batch = await reconciled(evening, NEXT)
    assert codes(batch) == ([(Code.L1, f"{order}01")] if is_lost else [])
    assert (batch.is_balanced, batch.counts.get("OK", 0)) == (not is_lost, 0 if is_lost else 1)
    assert codes(await reconciled(evening, DAY)) == [(Code.D1, f"{order}01")]


async def test_31_a_payment_at_noon_that_the_his_lacks_is_no_matter_of_days(till: SteppedSite) -> None:
    order = await till.order_bills()
    await till.pay_by_code(order)
    till.site.his.desk.hospital.books.trades.clear()
    await till.pass_time(30 * HOUR_S)
    assert codes(await reconciled(till, DAY)) == [(Code.L1, f"{order}01")]


async def test_31_refunded_the_next_day(evening: SteppedSite) -> None:
    order = await evening.order_bills()
    await evening.pay_by_code(order)
    await evening.pass_time(HOUR_S)
    await evening.site.call("POST", f"orders/{order}/refund")
    await evening.pass_time(120.0)
    assert (await evening.show(order))["advice"] == "refunded"
    await evening.pass_time(36 * HOUR_S)
    for day, counts in ((DAY, {"OK": 1}), (NEXT, {"OK": 1})):
        batch = await reconciled(evening, day)
        assert (batch.counts, batch.is_balanced) == (counts, True), day


async def refunding(till: SteppedSite) -> str:
    """A refund that WeChat leaves in PROCESSING, for days or for ever."""
    till.site.wallets.ledger.refund_s = 40 * HOUR_S
    order = await till.order_bills()
    await till.pay_by_code(order)
    await till.site.call("POST", f"orders/{order}/refund")
    await till.pass_time(25 * HOUR_S)
    return order


async def test_32_the_bill_says_processing_for_ever_and_the_query_decides(till: SteppedSite) -> None:
    order = await refunding(till)
    batch = await reconciled(till, DAY)
    assert (batch.counts, batch.is_balanced) == ({"OK": 2}, True)
    told = await till.show(order)
    assert (told["advice"], told["refunded_fen"]) == ("refunding", 0)
    assert (await till.kept(order)).refunds[0].state is RefundState.PROCESSING
    await till.pass_time(24 * HOUR_S)
    told = await till.show(order)
    assert (told["advice"], told["refunded_fen"]) == ("refunded", told["amount_fen"])
    again = await reconciled(till, DAY)
    assert (again.version, again.counts, again.is_balanced) == (2, {"OK": 2}, True)
    assert await till.balances() == {}


async def test_32_a_refund_that_fails_is_not_balanced_by_its_row_in_the_bill(till: SteppedSite) -> None:
    order = await refunding(till)
    till.site.wallets.ledger.refunds_fail = True
    await till.pass_time(24 * HOUR_S)
    assert (await till.show(order))["advice"] == "ask_staff"
    batch = await reconciled(till, DAY)
    assert codes(batch) == [(Code.R3, f"{order}01")]
    assert not batch.is_balanced


@pytest.mark.parametrize("wallet", list(ChannelName))
async def test_2_what_a_reversal_took_back_is_balanced(till: SteppedSite, wallet: ChannelName) -> None:
    reverse = {ChannelName.WECHAT: "wechat.reverse", ChannelName.ALIPAY: "alipay.cancel"}[wallet]
    for number in (1, 2):
        order = await till.order_bills(number, f"kiosk-{number}")
        await till.site.wallet_fault(reverse, "late_success")
        await till.pay_by_code(order, f"kiosk-{number}", wallet=wallet, asks_password=True)
        await till.pass_time(61.0)
        assert (await till.show(order, f"kiosk-{number}"))["money"] == "reversed"
    await till.pass_time(25 * HOUR_S)
    batch = await reconciled(till, DAY, wallet)
    assert (codes(batch), batch.is_balanced) == ([], True)
    assert batch.theirs.paid_count == 2
