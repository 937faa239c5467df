"""Our clients of WeChat Pay and Alipay against the simulated wallets: real signatures, real sockets, every fault."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from patient_platform.his.reading import HOSPITAL_TIME
from patient_platform.money import Fen
from patient_platform.payment.channels.bills import BillInvalid, BillNotReady
from patient_platform.payment.model import ChannelName, Method, MoneyEvent, Reason, Refund
from patient_platform.payment.ports import BillStatus, RefundAnswer
from support.wallets import Wallets

BOTH = list(ChannelName)
PAY = {ChannelName.WECHAT: "wechat.codepay", ChannelName.ALIPAY: "alipay.pay"}
QR = {ChannelName.WECHAT: "wechat.native", ChannelName.ALIPAY: "alipay.precreate"}
QUERY = {ChannelName.WECHAT: "wechat.query", ChannelName.ALIPAY: "alipay.query"}
REVERSE = {ChannelName.WECHAT: "wechat.reverse", ChannelName.ALIPAY: "alipay.cancel"}
REFUND = {ChannelName.WECHAT: "wechat.refund", ChannelName.ALIPAY: "alipay.refund"}
BILL = {ChannelName.WECHAT: "wechat.bill", ChannelName.ALIPAY: "alipay.bill"}


@pytest.mark.parametrize("name", BOTH)
async def test_a_shown_code_is_paid_at_once(world: Wallets, name: ChannelName) -> None:
    charge = world.charge(Method.PAYMENT_CODE, await world.code(name))
    evidence = await world.channel(name).submit(charge)
    assert (evidence.event, evidence.amount_fen) == (MoneyEvent.PAID, 1234)
    assert evidence.channel_no
    assert evidence.paid_at is not None
    asked = await world.channel(name).query(world.leg(name, charge))
    assert (asked.event, asked.amount_fen, asked.channel_no) == (MoneyEvent.PAID, 1234, evidence.channel_no)


@pytest.mark.parametrize("name", BOTH)
async def test_a_password_makes_everybody_wait(world: Wallets, name: ChannelName) -> None:
    code = await world.code(name, asks_password=True)
    charge = world.charge(Method.PAYMENT_CODE, code)
    assert (await world.channel(name).submit(charge)).event is MoneyEvent.WAITING
    leg = world.leg(name, charge)
    assert (await world.channel(name).query(leg)).event is MoneyEvent.WAITING
    await world.post("phone/password", code=code)
    assert (await world.channel(name).query(leg)).event is MoneyEvent.PAID


@pytest.mark.parametrize("name", BOTH)
async def test_a_scanned_code_is_paid_by_the_phone(world: Wallets, name: ChannelName) -> None:
    charge = world.charge(Method.QR_CODE)
    shown = await world.channel(name).submit(charge)
    assert shown.event is MoneyEvent.WAITING
    assert shown.qr_text
    leg = world.leg(name, charge)
    before = await world.channel(name).query(leg)
    assert before.event in {MoneyEvent.WAITING, MoneyEvent.NOT_FOUND}
    await world.post("phone/pay", qr=shown.qr_text)
    assert (await world.channel(name).query(leg)).event is MoneyEvent.PAID


@pytest.mark.parametrize("name", BOTH)
async def test_what_cannot_be_paid_says_why(world: Wallets, name: ChannelName) -> None:
    poor = world.charge(Method.PAYMENT_CODE, await world.code(name, balance_fen=1))
    evidence = await world.channel(name).submit(poor)
    assert (evidence.event, evidence.reason) == (MoneyEvent.REFUSED, Reason.INSUFFICIENT)
    old = world.charge(Method.PAYMENT_CODE, await world.code(name))
    world.clock.advance(61)
    evidence = await world.channel(name).submit(old)
    assert evidence.event is MoneyEvent.REFUSED
    assert evidence.reason in {Reason.CODE_EXPIRED, Reason.CODE_WRONG}


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("fault", ["drop_before", "drop_after", "http_500", "malformed", "bad_signature"])
async def test_no_good_answer_is_no_evidence(world: Wallets, name: ChannelName, fault: str) -> None:
    await world.fault(PAY[name], fault)
    charge = world.charge(Method.PAYMENT_CODE, await world.code(name))
    channel = world.channel(name)
    assert (await channel.submit(charge)).event is MoneyEvent.LOST
    told = (await channel.query(world.leg(name, charge))).event
    assert told in {MoneyEvent.PAID, MoneyEvent.NOT_FOUND}
    if fault == "drop_after":
        assert told is MoneyEvent.PAID
    if fault == "drop_before":
        assert told is MoneyEvent.NOT_FOUND


@pytest.mark.parametrize("name", BOTH)
async def test_an_answer_that_never_comes_ends(world: Wallets, name: ChannelName) -> None:
    await world.fault(PAY[name], "delay", seconds=30)
    charge = world.charge(Method.PAYMENT_CODE, await world.code(name))
    assert (await world.channel(name).submit(charge)).event is MoneyEvent.LOST


@pytest.mark.parametrize("name", BOTH)
async def test_another_amount_is_not_ours(world: Wallets, name: ChannelName) -> None:
    await world.fault(PAY[name], "wrong_amount")
    charge = world.charge(Method.PAYMENT_CODE, await world.code(name))
    evidence = await world.channel(name).submit(charge)
    assert evidence.event is MoneyEvent.PAID
    assert evidence.amount_fen != charge.amount_fen  # `transitions.apply` makes a mismatch of it


@pytest.mark.parametrize("name", BOTH)
async def test_a_reversal_returns_what_was_paid(world: Wallets, name: ChannelName) -> None:
    charge = world.charge(Method.PAYMENT_CODE, await world.code(name))
    channel = world.channel(name)
    await channel.submit(charge)
    leg = world.leg(name, charge, was_paid=True)
    assert (await channel.reverse(leg)).event is MoneyEvent.REFUNDED
    assert (await channel.reverse(leg)).event in {MoneyEvent.REFUNDED, MoneyEvent.CLOSED}
    assert (await channel.query(leg)).event is MoneyEvent.REFUSED


@pytest.mark.parametrize("name", BOTH)
async def test_a_shown_code_is_closed_or_is_paid(world: Wallets, name: ChannelName) -> None:
    channel = world.channel(name)
    unpaid = world.charge(Method.QR_CODE)
    await channel.submit(unpaid)
    assert (await channel.reverse(world.leg(name, unpaid))).event is MoneyEvent.CLOSED
    paid = world.charge(Method.QR_CODE)
    shown = await channel.submit(paid)
    await world.post("phone/pay", qr=shown.qr_text)
    kept_or_returned = (await channel.reverse(world.leg(name, paid))).event
    assert (
        kept_or_returned
        is {
            ChannelName.WECHAT: MoneyEvent.NOT_REVERSIBLE,
            ChannelName.ALIPAY: MoneyEvent.REFUNDED,
        }[name]
    )


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("fault", ["drop_before", "drop_after", "bad_signature"])
async def test_a_refund_is_one_however_often_it_is_asked_for(world: Wallets, name: ChannelName, fault: str) -> None:
    charge = world.charge(Method.PAYMENT_CODE, await world.code(name))
    channel = world.channel(name)
    await channel.submit(charge)
    leg = world.leg(name, charge)
    refund = Refund(f"{charge.trade_no}R1", charge.trade_no, Fen(1234), Reason.BILL_VOID)
    await world.fault(REFUND[name], fault)
    assert await channel.refund(leg, refund) is RefundAnswer.LOST
    for _ in range(2):
        assert await channel.refund(leg, refund) in {RefundAnswer.SUCCESS, RefundAnswer.PROCESSING}
    world.clock.advance(60)
    assert await channel.query_refund(leg, refund) is RefundAnswer.SUCCESS
    other = replace(refund, refund_no=f"{charge.trade_no}R2")
    assert await channel.query_refund(leg, other) is RefundAnswer.NOT_FOUND
    assert await channel.refund(leg, other) is RefundAnswer.ABNORMAL


@pytest.mark.parametrize("name", BOTH)
async def test_a_refund_waits_for_funds(world: Wallets, name: ChannelName) -> None:
    charge = world.charge(Method.PAYMENT_CODE, await world.code(name))
    await world.channel(name).submit(charge)
    await world.post("settings", merchant_balance_fen=0)
    refund = Refund(f"{charge.trade_no}R1", charge.trade_no, Fen(1234), Reason.BILL_VOID)
    assert await world.channel(name).refund(world.leg(name, charge), refund) is RefundAnswer.NO_FUNDS


@pytest.mark.parametrize("name", BOTH)
async def test_the_bill_of_a_day_names_every_movement(world: Wallets, name: ChannelName) -> None:
    channel = world.channel(name)
    day = world.clock.utc().astimezone(HOSPITAL_TIME).date()
    kept = world.charge(Method.PAYMENT_CODE, await world.code(name), amount_fen=100)
    returned = world.charge(Method.PAYMENT_CODE, await world.code(name), amount_fen=250)
    for charge in (kept, returned):
        await channel.submit(charge)
    refund = Refund(f"{returned.trade_no}R1", returned.trade_no, Fen(250), Reason.BILL_VOID)
    await channel.refund(world.leg(name, returned), refund)
    world.clock.advance(timedelta(days=1).total_seconds())
    rows = await channel.bill(day)
    paid = {row.trade_no: row.amount_fen for row in rows if row.status is BillStatus.PAID}
    back = {row.refund_no: row.amount_fen for row in rows if row.status is BillStatus.REFUNDED}
    assert paid == {kept.trade_no: 100, returned.trade_no: 250}
    assert back == {refund.refund_no: 250}


@pytest.mark.parametrize("name", BOTH)
async def test_a_bill_that_is_not_right_is_not_used(world: Wallets, name: ChannelName) -> None:
    channel = world.channel(name)
    day = world.clock.utc().astimezone(HOSPITAL_TIME).date()
    charge = world.charge(Method.PAYMENT_CODE, await world.code(name))
    await channel.submit(charge)
    world.clock.advance(timedelta(days=1).total_seconds())
    await world.fault(BILL[name], "wrong_amount")
    await world.fault(f"{BILL[name]}_file", "malformed", after=1)
    await world.fault(BILL[name], "bad_signature", after=2)
    outcomes: list[int | str] = []
    for _ in range(4):
        try:
            outcomes.append(len(await channel.bill(day)))
        except (BillInvalid, BillNotReady) as error:
            outcomes.append(type(error).__name__)
    assert 1 in outcomes
    assert "BillInvalid" in outcomes
    assert "BillNotReady" in outcomes
