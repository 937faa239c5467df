"""Power losses and lost answers of the reference on payments (section 16), over real sockets, in time moved by hand."""

from __future__ import annotations

import pytest

from patient_platform.payment.model import ChannelName, Money
from support.payment_fakes import Crash
from support.stepped_site import SteppedSite

TAKEN_OVER_S = 91.0
"""Until another process may have the orders of one that has died."""


@pytest.mark.parametrize("wallet", list(ChannelName))
async def test_6_power_fails_between_the_written_intent_and_the_request(till: SteppedSite, wallet: ChannelName) -> None:
    till.cut_wallet(wallet, "before submit")
    order = await till.order_bills()
    with pytest.raises(Crash):
        await till.pay_by_code(order, wallet=wallet)
    await till.restart()
    assert (await till.show(order))["money"] == "submitted"
    await till.pass_time(TAKEN_OVER_S)
    told = await till.show(order)
    assert (told["money"], told["advice"]) == ("closed", "pay")
    asked = [note for _, note in await till.site.platform.orders.history(order)]
    assert asked[-4:] == ["call lost", f"{wallet} query not_found", f"{wallet} reverse", f"{wallet} reverse closed"]
    await till.pass_time(61.0)
    assert (await till.kept(order)).legs[0].tail_checks == 1
    assert await till.charged() == 0
    assert (await till.pay_by_code(order, wallet=wallet))["advice"] == "print"
    assert await till.charged() == told["amount_fen"]


@pytest.mark.parametrize("moment", ["before the intent", "before post", "after post"])
async def test_7_power_fails_between_the_payment_and_the_posting(till: SteppedSite, moment: str) -> None:
    till.cut_posting(moment)
    order = await till.order_bills()
    with pytest.raises(Crash):
        await till.pay_by_code(order)
    await till.restart()
    told = await till.show(order)
    assert (told["money"], told["advice"]) == ("paid", "wait")
    assert [found["order"] for found in (await till.site.call("GET", "open-orders"))["orders"]] == [order]
    await till.pass_time(TAKEN_OVER_S + 30.0)
    assert (await till.show(order))["posting"] == "posted"
    assert list(till.site.his.desk.hospital.books.trades) == [f"{order}01"]
    assert till.site.his.desk.calls["charge_commit"] == 1
    opened = (await till.site.call("GET", "open-orders"))["orders"]
    assert [(found["order"], found["advice"]) for found in opened] == [(order, "print")]
    first = await till.site.call("GET", f"orders/{order}/receipt")
    assert first["fields"]["copy"] == ""
    for state in ("printing", "printed"):
        await till.site.call("POST", f"orders/{order}/fulfilment", {"state": state})
    again = await till.site.call("GET", f"orders/{order}/receipt")
    assert again["fields"] == first["fields"] | {"copy": "补打"}
    assert await till.balances() == {
        "1001:channel:wechat": told["amount_fen"],
        "4001:his-clearing": -told["amount_fen"],
    }


async def test_8_no_second_payment_while_one_has_no_outcome(till: SteppedSite) -> None:
    till.cut_wallet(ChannelName.WECHAT, "after submit")
    order = await till.order_bills()
    with pytest.raises(Crash):
        await till.pay_by_code(order)
    await till.restart()
    opened = (await till.site.call("GET", "open-orders"))["orders"]
    assert [(found["order"], found["money"]) for found in opened] == [(order, "submitted")]
    code = await till.site.code("alipay")
    again = await till.site.pay(order, channel="alipay", method="payment_code", code=code)
    assert (again.status, again["code"]) == (409, "payment_running")
    elsewhere = await till.site.order_bills(await till.site.identify(1, "kiosk-2"), "kiosk-2")
    assert (elsewhere.status, elsewhere["code"]) == (409, "order_active")
    await till.pass_time(TAKEN_OVER_S)
    assert (await till.show(order))["advice"] == "print"
    assert (await till.kept(order)).legs[0].state is Money.PAID
    assert await till.charged() == opened[0]["amount_fen"]
