"""The same bill, money or paper at two places at once (section 16 of the reference), over real sockets."""

from __future__ import annotations

import pytest

from kit.supervise import TaskGroup, spawn
from patient_platform.errors import Refusal
from patient_platform.payment.model import Money
from patient_platform.payment.rules import PRINT_HOLD
from support.patient_site import Answer
from support.stepped_site import SteppedSite


async def said(till: SteppedSite, order: str, state: str, kiosk: str = "kiosk-1") -> Answer:
    """A kiosk says what becomes of the paper."""
    return await till.site.call("POST", f"orders/{order}/fulfilment", {"state": state}, kiosk=kiosk)


async def paid_registration(till: SteppedSite) -> str:
    order = await till.order_registration(2)
    assert (await till.pay_by_code(order))["advice"] == "print"
    return order


async def test_5_the_spouse_pays_the_bill_at_the_counter(till: SteppedSite) -> None:
    order = await till.order_bills()
    shown = await till.pay(order, channel="wechat", method="qr_code")
    hospital = till.site.his.desk.hospital
    for bill in [bill for bill in hospital.books.bills.values() if bill.patient_id == "P000001"]:
        hospital.change_bill(bill.recipe_id, "pay")
    await till.site.phone("pay", qr=shown["qr_text"])
    await till.pass_time(10.0)
    told = await till.show(order)
    assert (told["posting"], told["advice"], told["reason"]) == ("rejected", "refunded", "bill_paid")
    assert await till.charged() == 0
    assert await till.balances() == {}


async def test_5_the_other_place_waits_until_the_first_code_is_dead(till: SteppedSite) -> None:
    first = await till.order_bills()
    shown = await till.pay(first, channel="wechat", method="qr_code")
    elsewhere = await till.site.identify(1, "kiosk-2")
    assert (await till.site.order_bills(elsewhere, "kiosk-2"))["code"] == "order_active"
    await till.site.wallet_fault("wechat.close", "drop_before")
    await till.site.call("POST", f"orders/{first}/cancel")
    await till.drive()
    assert (await till.site.order_bills(elsewhere, "kiosk-2"))["code"] == "order_active"  # perhaps it is paid
    await till.pass_time(32.0)
    assert (await till.show(first))["money"] == "closed"
    second = await till.site.order_bills(elsewhere, "kiosk-2")
    assert (await till.pay_by_code(second["order"], "kiosk-2"))["advice"] == "print"
    async with till.site.http.post(
        f"{till.site.wallets.http.url}/sim/phone/pay", json={"qr": shown["qr_text"]}
    ) as photo:
        assert photo.status == 409  # the photographed code is closed
    assert await till.charged() == second["amount_fen"]


async def test_5_a_first_payment_that_was_only_slow_goes_back(till: SteppedSite) -> None:
    await till.site.wallet_fault("wechat.codepay", "drop_before")
    order = await till.order_bills()
    await till.pay_by_code(order)
    await till.pass_time(30.0)
    assert (await till.show(order))["money"] == "closed"
    done = await till.pay_by_code(order, wallet="alipay")
    assert (done["posting"], done["channel"]) == ("posted", "alipay")
    slow = {"wallet": "wechat", "out_trade_no": f"{order}01", "amount_fen": done["amount_fen"]}
    async with till.site.http.post(f"{till.site.wallets.http.url}/sim/portal/trade", json=slow) as landed:
        assert landed.status == 200
    assert await till.charged() == 2 * done["amount_fen"]
    await till.pass_time(60.0)
    kept = await till.kept(order)
    assert [leg.state for leg in kept.legs] == [Money.LATE_PAID, Money.PAID]
    await till.pass_time(10.0)
    assert await till.charged() == done["amount_fen"]
    assert await till.balances() == {
        "1001:channel:alipay": done["amount_fen"],
        "4001:his-clearing": -done["amount_fen"],
    }


async def test_27_no_paper_after_the_payment_and_printed_at_another_kiosk(till: SteppedSite) -> None:
    order = await paid_registration(till)
    first = await till.site.call("GET", f"orders/{order}/receipt")
    await said(till, order, "printing")
    failed = await said(till, order, "failed")
    assert (failed["money"], failed["posting"], failed["fulfilment"]) == ("paid", "posted", "failed")
    there = f"sessions/{await till.site.identify(2, 'kiosk-2')}"
    papers = (await till.site.call("GET", f"{there}/papers", kiosk="kiosk-2"))["orders"]
    assert [paper["order"] for paper in papers] == [order]
    taken = await till.site.call("POST", f"{there}/papers/{order}", kiosk="kiosk-2")
    assert (taken.status, taken["fulfilment"]) == (200, "printing")
    again = await till.site.call("GET", f"orders/{order}/receipt", kiosk="kiosk-2")
    assert again["fields"]["queue_number"] == first["fields"]["queue_number"] != ""
    assert again["fields"] == first["fields"] | {"copy": "补打"}
    assert (await said(till, order, "printed", "kiosk-2"))["advice"] == "done"
    hospital = till.site.his.desk.hospital.books
    assert (len(hospital.trades), len(hospital.booked)) == (1, 1)
    assert till.site.his.desk.calls["register_commit"] == 1


async def test_27_somebody_elses_paper_is_nobodys(till: SteppedSite) -> None:
    order = await paid_registration(till)
    there = f"sessions/{await till.site.identify(3, 'kiosk-2')}"
    assert (await till.site.call("GET", f"{there}/papers", kiosk="kiosk-2"))["orders"] == []
    taken = await till.site.call("POST", f"{there}/papers/{order}", kiosk="kiosk-2")
    assert (taken.status, taken["code"]) == (404, "order_unknown")
    for path in (f"orders/{order}", f"orders/{order}/receipt"):
        assert (await till.site.call("GET", path, kiosk="kiosk-2")).status == 404
    refused = await said(till, order, "printing", "kiosk-2")
    assert (refused.status, refused["code"]) == (404, "order_unknown")


@pytest.mark.parametrize("ahead", [0, 1])
async def test_28_two_kiosks_print_at_once_and_one_may(till: SteppedSite, ahead: int) -> None:
    order = await paid_registration(till)
    there = f"sessions/{await till.site.identify(2, 'kiosk-2')}"
    works = [said(till, order, "printing"), till.site.call("POST", f"{there}/papers/{order}", kiosk="kiosk-2")]
    async with TaskGroup() as group:
        tasks = [spawn(group, work, "print") for work in (works[::-1] if ahead else works)]
    here, elsewhere = [task.result() for task in (tasks[::-1] if ahead else tasks)]
    assert sorted([here.status, elsewhere.status]) == [200, 409]
    winner, loser = ("kiosk-1", "kiosk-2") if here.status == 200 else ("kiosk-2", "kiosk-1")
    assert (here if winner == "kiosk-2" else elsewhere)["code"] == "printing_elsewhere"
    if loser == "kiosk-1":
        receipt = await till.site.call("GET", f"orders/{order}/receipt")
        assert (receipt.status, receipt["code"]) == (409, "printing_elsewhere")
        assert (await said(till, order, "printed"))["code"] == "printing_elsewhere"
    assert (await till.kept(order)).prints == 1
    assert (await said(till, order, "printed", winner)).status == 200


async def test_28_staff_give_a_paper_free_that_a_kiosk_holds(till: SteppedSite) -> None:
    order = await paid_registration(till)
    payments, platform = till.site.platform.payments, till.site.platform
    with pytest.raises(Refusal, match="no kiosk is printing this"):
        await payments.release_paper(order, "console:lin")
    await said(till, order, "printing")
    [held] = await platform.orders.printing(till.clock.utc() - PRINT_HOLD)
    assert (held.order, held.paper_kiosk) == (order, "kiosk-1")
    there = f"sessions/{await till.site.identify(2, 'kiosk-2')}/papers/{order}"
    assert (await till.site.call("POST", there, kiosk="kiosk-2"))["code"] == "printing_elsewhere"
    await payments.release_paper(order, "console:lin")
    assert (await till.site.call("POST", there, kiosk="kiosk-2"))["fulfilment"] == "printing"
    assert (await till.site.call("GET", f"orders/{order}/receipt", kiosk="kiosk-2"))["fields"]["copy"] == "补打"
    assert (await said(till, order, "printed"))["code"] == "printing_elsewhere"  # too late: it is another's now
    [row] = [row for row in await platform.audit.rows(50, order) if row.actor.startswith("console")]
    assert (row.actor, row.action, row.fields) == ("console:lin", "paper.released", {"kiosk": "kiosk-1"})
    assert await platform.audit.verify() is None


async def test_28_a_kiosk_that_never_said_how_it_went_is_waited_for_and_then_not(till: SteppedSite) -> None:
    order = await paid_registration(till)
    await said(till, order, "printing")
    there = f"sessions/{await till.site.identify(2, 'kiosk-2')}/papers/{order}"
    assert (await till.site.call("POST", there, kiosk="kiosk-2"))["code"] == "printing_elsewhere"
    await till.pass_time(PRINT_HOLD.total_seconds())
    assert (await till.site.call("POST", there, kiosk="kiosk-2")).status == 200
    again = await till.site.call("GET", f"orders/{order}/receipt", kiosk="kiosk-2")
    assert again["fields"]["copy"] == "补打"
    late = await said(till, order, "uncertain")
    assert (late.status, late["code"]) == (409, "printing_elsewhere")
    await said(till, order, "uncertain", "kiosk-2")
    assert (await said(till, order, "printing")).status == 200
    assert (await till.kept(order)).prints == 3
