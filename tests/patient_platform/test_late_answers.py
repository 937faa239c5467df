"""Answers that come late or not at all, and patients who pay in the last second (section 16 of the reference)."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from patient_platform.payment.model import ChannelName, Posting
from patient_platform.payment.posting import HisPoster
from simulators.his.hospital import Hospital
from simulators.his.model import Code, Refused
from simulators.his.parameters import Data, Parameters
from support.stepped_site import SteppedSite

REVERSE = {ChannelName.WECHAT: "wechat.reverse", ChannelName.ALIPAY: "alipay.cancel"}
PATIENCE_S = {ChannelName.WECHAT: 45.0, ChannelName.ALIPAY: 60.0}
"""How long each wallet's payer may think about the password."""


@pytest.mark.parametrize("wallet", list(ChannelName))
async def test_2_the_password_is_entered_while_it_is_reversed(till: SteppedSite, wallet: ChannelName) -> None:
    order = await till.order_bills()
    begun = await till.pay_by_code(order, wallet=wallet, asks_password=True)
    assert begun["advice"] == "confirm_on_phone"
    await till.pass_time(PATIENCE_S[wallet] - 1)
    assert (await till.show(order))["money"] == "pending"
    await till.site.wallet_fault(REVERSE[wallet], "late_success")  # paid just before it is reversed
    await till.pass_time(1.0)
    told = await till.show(order)
    assert (told["money"], told["advice"], told["refunded_fen"]) == ("reversed", "refunded", told["amount_fen"])
    assert told["is_settled"]
    assert await till.charged() == 0
    assert await till.balances() == {}
    anew = await till.order_bills()
    assert anew != order
    assert (await till.pay_by_code(anew, wallet=wallet))["advice"] == "print"


@pytest.mark.parametrize("fault", ["drop_before", "drop_after"])
@pytest.mark.parametrize("wallet", list(ChannelName))
async def test_3_paid_before_the_reversal_whose_answer_is_lost(
    till: SteppedSite, wallet: ChannelName, fault: str
) -> None:
    order = await till.order_bills()
    code = await till.site.code(wallet, asks_password=True)
    await till.pay(order, channel=wallet, method="payment_code", code=code)
    await till.pass_time(PATIENCE_S[wallet] - 1)
    await till.site.wallet_fault(f"{wallet}.query", "late_success")  # "not paid", and then it is
    for _ in range(3):
        await till.site.wallet_fault(REVERSE[wallet], fault)
    await till.pass_time(1.0)
    told = await till.show(order)
    assert (told["money"], told["advice"]) == ("reverse_unknown", "do_not_pay_again")
    again = await till.site.pay(order, channel=wallet, method="payment_code", code=await till.site.code(wallet))
    assert (again.status, again["code"]) == (409, "payment_running")
    await till.pass_time(15.0 + 30.0 + 60.0)
    told = await till.show(order)
    assert (told["money"], told["advice"], told["refunded_fen"]) == ("reversed", "refunded", told["amount_fen"])
    assert (await till.kept(order)).legs[0].reversals == 4
    assert await till.charged() == 0


async def test_3_a_shown_code_that_was_paid_cannot_be_closed_and_counts(till: SteppedSite) -> None:
    order = await till.order_bills()
    shown = await till.pay(order, channel="wechat", method="qr_code")
    await till.site.wallet_fault("wechat.close", "drop_before")
    await till.pass_time(119.0)
    await till.site.wallet_fault("wechat.query", "late_success")
    await till.pass_time(1.0)
    assert (await till.show(order))["money"] == "reverse_unknown"
    await till.pass_time(16.0)
    told = await till.show(order)
    assert (told["money"], told["posting"], told["refunded_fen"]) == ("paid", "posted", 0)
    assert await till.charged() == shown["amount_fen"]


async def lands(till: SteppedSite, order: str) -> None:
    """The first call, which everybody took for lost, gets through in the HIS."""
    kept = await till.kept(order)
    call = {
        "patient_id": kept.subject["his_patient"],
        "recipe_ids": kept.subject["bills"],
        "trade_no": f"{order}01",
        "amount": kept.amount_fen,
    }
    till.site.his.desk.hospital.operations["bill/charge_commit"](call)


@pytest.mark.parametrize("server_timeout_s", [30.0, 120.0])
async def test_10_the_first_post_lands_after_the_his_has_denied_it(till: SteppedSite, server_timeout_s: float) -> None:
    till.driver.poster = HisPoster(till.site.platform.his, till.clock, server_timeout_s=server_timeout_s)
    await till.site.his_fault("charge_commit", "drop_before")
    order = await till.order_bills()
    await till.pay_by_code(order)
    await till.pass_time(server_timeout_s - 10.0)
    calls = till.site.his.desk.calls
    assert calls["trade_check"] >= 4
    assert (calls["charge_commit"], (await till.show(order))["posting"]) == (1, "post_unknown")
    await lands(till, order)
    await till.pass_time(9.0)
    await till.pass_time(61.0)
    assert (await till.show(order))["posting"] == "posted"
    assert calls["charge_commit"] == 1
    assert list(till.site.his.desk.hospital.books.trades) == [f"{order}01"]


async def test_10_a_his_that_never_had_it_is_told_again(till: SteppedSite) -> None:
    await till.site.his_fault("charge_commit", "drop_before")
    order = await till.order_bills()
    await till.pay_by_code(order)
    await till.pass_time(29.0)
    assert till.site.his.desk.calls["charge_commit"] == 1
    await till.pass_time(10.0)
    assert till.site.his.desk.calls["charge_commit"] == 2
    assert (await till.show(order))["advice"] == "print"


def lands_just_before_the_second(hospital: Hospital) -> None:
    """A HIS without memory of trade numbers: the first call gets through, and the second finds all paid."""
    commit = hospital.operations["bill/charge_commit"]

    def both(parameters: Parameters) -> Data:
        commit(parameters)
        raise Refused(Code.ALREADY_PAID, "已缴费")

    hospital.operations = {**hospital.operations, "bill/charge_commit": both}


async def test_10_a_his_without_memory_refuses_what_it_did_itself(till: SteppedSite) -> None:
    await till.site.his_fault("charge_commit", "drop_before")
    order = await till.order_bills()
    await till.pay_by_code(order)
    lands_just_before_the_second(till.site.his.desk.hospital)
    await till.pass_time(40.0)
    told = await till.show(order)
    assert (told["posting"], told["advice"], told["refunded_fen"]) == ("posted", "print", 0)
    assert till.site.his.desk.calls["charge_commit"] == 2
    assert await till.charged() == told["amount_fen"]


async def test_42_what_was_paid_is_posted_when_the_his_is_back_and_lost_slots_go_back(till: SteppedSite) -> None:
    slot = await till.order_registration(2)
    bills = [await till.order_bills(number, f"kiosk-{number}") for number in (3, 4)]
    orders = {slot: "kiosk-1", bills[0]: "kiosk-3", bills[1]: "kiosk-4"}
    for operation in ("charge_commit", "register_commit", "trade_check"):
        await till.site.his_fault(operation, "drop_before", times=1_000)
    with capture_logs() as logs:
        for order, kiosk in orders.items():
            await till.pay_by_code(order, kiosk)
        await till.pass_time(15 * 60.0)
        assert {(await till.kept(order)).posting for order in orders} == {Posting.POST_UNKNOWN}
        async with till.site.http.delete(f"{till.site.his.http.url}/sim/faults") as cleared:
            assert cleared.status == 200
        await till.pass_time(10 * 60.0)
    assert [(await till.show(order, kiosk))["advice"] for order, kiosk in orders.items()] == [
        "refunded",  # the HIS keeps a slot for ten minutes
        "print",
        "print",
    ]
    assert [line["event"] for line in logs if line["event"].startswith("his.")] == ["his.lost", "his.back"]
    told = [(await till.show(order, orders[order]))["amount_fen"] for order in bills]
    assert await till.charged() == sum(told)
