"""Nasty cases of the reference on payments (section 16), against real wallets and a HIS on sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from patient_platform.payment.model import Money, Posting
from simulators.payments.keys import Keys, prepare
from support.patient_site import Answer, PatientSite, patient_site
from support.waiting import wait_for

pytestmark = pytest.mark.timeout(60)  # lost answers are asked about again after seconds


@pytest.fixture(scope="module")
def site_keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Make the keys once; they are slow."""
    return prepare(tmp_path_factory.mktemp("nasty-keys"))


@pytest.fixture
async def site(site_keys: Keys, tmp_path: Path, sqlite_platform_url: str) -> AsyncIterator[PatientSite]:
    """Run everything."""
    async with patient_site(site_keys, tmp_path, sqlite_platform_url) as found:
        yield found


async def charged(site: PatientSite) -> int:
    """What phones were charged and did not get back, as the wallets know it."""
    async with site.http.get(f"{site.wallets.http.url}/sim/state") as response:
        trades = (await response.json())["trades"]
    return sum(
        trade["amount_fen"] - trade["refunded_fen"] for trade in trades if trade["state"] in {"SUCCESS", "REFUND"}
    )


async def begin(site: PatientSite, number: int = 1, kiosk: str = "kiosk-1", wallet: str = "wechat") -> Answer:
    """Order all bills of a patient and show a payment code."""
    order = await site.order_bills(await site.identify(number, kiosk), kiosk)
    code = await site.code(wallet)
    return await site.pay(order["order"], kiosk, channel=wallet, method="payment_code", code=code)


@pytest.mark.parametrize("wallet", ["wechat", "alipay"])
async def test_1_paid_and_the_answer_is_lost(site: PatientSite, wallet: str) -> None:
    await site.wallet_fault({"wechat": "wechat.codepay", "alipay": "alipay.pay"}[wallet], "drop_after")
    order = await begin(site, wallet=wallet)
    told = await site.until(order["order"], money="unknown")
    assert told["advice"] == "do_not_pay_again"
    done = await site.until(order["order"], advice="print")
    assert (done["money"], done["posting"]) == ("paid", "posted")
    assert await charged(site) == order["amount_fen"]


async def test_4_the_same_bill_at_two_kiosks(site: PatientSite) -> None:
    first = await site.order_bills(await site.identify(1, "kiosk-1"), "kiosk-1")
    assert first.status == 201
    second = await site.order_bills(await site.identify(1, "kiosk-2"), "kiosk-2")
    assert (second.status, second["code"]) == (409, "order_active")
    await site.call("POST", f"orders/{first['order']}/cancel")
    third = await site.order_bills(await site.identify(1, "kiosk-2"), "kiosk-2")
    assert third.status == 201


async def test_4_pay_is_pressed_twice(site: PatientSite) -> None:
    order = await site.order_bills(await site.identify())
    body = {"channel": "wechat", "method": "payment_code", "code": await site.code()}
    first = await site.call("POST", f"orders/{order['order']}/pay", body, key="one")
    again = await site.call("POST", f"orders/{order['order']}/pay", body, key="one")
    assert (first.status, again.status) == (202, 202)
    other = await site.call("POST", f"orders/{order['order']}/pay", {**body, "code": await site.code()}, key="two")
    assert other.status == 409
    assert other["code"] in {"payment_running", "order_ended"}
    await site.until(order["order"], advice="print")
    assert await charged(site) == order["amount_fen"]


async def test_9_the_his_posted_and_its_answer_is_lost(site: PatientSite) -> None:
    await site.his_fault("charge_commit", "drop_after")
    order = await begin(site)
    done = await site.until(order["order"], advice="print")
    assert done["posting"] == "posted"
    assert site.his.desk.calls["charge_commit"] == 1
    assert len(site.his.desk.hospital.books.trades) == 1


async def test_11_the_slot_is_gone_during_the_payment(site: PatientSite) -> None:
    session = await site.identify(2)
    here = f"sessions/{session}"
    doctor = (await site.call("GET", f"{here}/departments/D01/doctors"))["doctors"][0]["doctor"]
    slot = (await site.call("GET", f"{here}/departments/D01/doctors/{doctor}/slots"))["slots"][0]
    lock = await site.call("POST", f"{here}/slot-locks", {"schedule": slot["schedule"], "number": slot["number"]})
    order = await site.call("POST", f"{here}/orders", {"business": "registration", "lock": lock["lock"]})
    site.his.desk.hospital.stop_doctor(doctor)
    await site.pay(order["order"], channel="wechat", method="payment_code", code=await site.code())
    done = await site.until(order["order"], advice="refunded")
    assert (done["posting"], done["reason"]) == ("rejected", "doctor_stopped")
    assert await charged(site) == 0


async def test_12_the_price_changed_while_the_bill_was_shown(site: PatientSite) -> None:
    session = await site.identify()
    shown = await site.call("GET", f"sessions/{session}/bills")
    number = shown["bills"][0]["bill"]
    site.his.desk.hospital.change_bill(number, "amount")
    body = {"business": "bill", "bills": [number], "bill_hash": shown["bill_hash"]}
    refused = await site.call("POST", f"sessions/{session}/orders", body)
    assert (refused.status, refused["code"]) == (409, "bill_changed")


@pytest.mark.parametrize(("act", "reason"), [("void", "bill_void"), ("amount", "bill_changed"), ("pay", "bill_paid")])
async def test_12_13_a_bill_that_changes_between_payment_and_posting(site: PatientSite, act: str, reason: str) -> None:
    order = await site.order_bills(await site.identify())
    for number in [
        bill.recipe_id for bill in site.his.desk.hospital.books.bills.values() if bill.patient_id == "P000001"
    ]:
        site.his.desk.hospital.change_bill(number, act)
    await site.pay(order["order"], channel="alipay", method="payment_code", code=await site.code("alipay"))
    done = await site.until(order["order"], advice="refunded")
    assert (done["posting"], done["reason"], done["refunded_fen"]) == ("rejected", reason, order["amount_fen"])
    assert await charged(site) == 0


async def test_a_bill_paid_elsewhere_while_it_is_shown(site: PatientSite) -> None:
    session = await site.identify()
    shown = await site.call("GET", f"sessions/{session}/bills")
    number = shown["bills"][0]["bill"]
    site.his.desk.hospital.change_bill(number, "pay")
    body = {"business": "bill", "bills": [number], "bill_hash": shown["bill_hash"]}
    refused = await site.call("POST", f"sessions/{session}/orders", body)
    assert (refused.status, refused["code"]) == (409, "bill_paid")


async def test_a_code_that_is_used_expired_or_none(site: PatientSite) -> None:
    order = await site.order_bills(await site.identify())
    used = await site.code()
    await begin(site, 3, "kiosk-2")
    for code, status in (("123", 422), ("99" + used[2:], 422)):
        refused = await site.pay(order["order"], channel="wechat", method="payment_code", code=code)
        assert refused.status == status
    poor = await site.phone("code", wallet="wechat", balance_fen=1)
    await site.pay(order["order"], channel="wechat", method="payment_code", code=poor["code"])
    told = await site.until(order["order"], money="failed")
    assert (told["advice"], told["reason"]) == ("pay", "insufficient")
    again = await site.pay(order["order"], channel="wechat", method="payment_code", code=poor["code"])
    assert (again.status, again["code"]) == (409, "code_used")
    await site.pay(order["order"], channel="wechat", method="payment_code", code=used)
    await site.until(order["order"], advice="print")


async def test_24_another_amount_goes_to_a_person(site: PatientSite) -> None:
    await site.wallet_fault("wechat.codepay", "wrong_amount")
    await site.wallet_fault("wechat.query", "wrong_amount", times=50)
    order = await begin(site)
    told = await site.until(order["order"], advice="ask_staff")
    assert (told["money"], told["posting"]) == ("manual", "not_ready")
    kept = await site.platform.orders.get(order["order"])
    assert kept is not None
    assert kept.legs[0].state is Money.MANUAL
    assert kept.posting is Posting.NOT_READY


async def test_27_a_printer_never_touches_money(site: PatientSite) -> None:
    order = await begin(site)
    await site.until(order["order"], advice="print")
    path = f"orders/{order['order']}/fulfilment"
    for state in ("printing", "failed", "printing", "uncertain", "printing", "printed"):
        said = await site.call("POST", path, {"state": state})
        assert (said["money"], said["posting"], said["fulfilment"]) == ("paid", "posted", state)
    receipt = await site.call("GET", f"orders/{order['order']}/receipt")
    assert receipt["fields"]["copy"] == "补打"


async def test_30_the_next_patient_never_sees_the_one_before(site: PatientSite) -> None:
    first = await site.identify(1)
    second = await site.identify(2)
    gone = await site.call("GET", f"sessions/{first}/bills")
    assert (gone.status, gone["code"]) == (410, "session_over")
    assert (await site.call("GET", f"sessions/{second}/bills")).status == 200
    elsewhere = await site.call("GET", f"sessions/{second}/bills", kiosk="kiosk-2")
    assert elsewhere.status == 410


async def test_another_kiosks_order_is_nobodys(site: PatientSite) -> None:
    order = await begin(site)
    for path in (f"orders/{order['order']}", f"orders/{order['order']}/receipt"):
        found = await site.call("GET", path, kiosk="kiosk-2")
        assert (found.status, found["code"]) == (404, "order_unknown")
    assert (await site.call("GET", "open-orders", kiosk="kiosk-2"))["orders"] == []


async def test_a_cancelled_code_on_the_screen_is_closed(site: PatientSite) -> None:
    order = await site.order_bills(await site.identify())
    await site.pay(order["order"], channel="alipay", method="qr_code")
    await site.until(order["order"], advice="show_code")
    await site.call("POST", f"orders/{order['order']}/cancel")
    done = await site.until(order["order"], advice="ended")
    assert (done["money"], done["reason"]) == ("closed", "cancelled")
    assert await charged(site) == 0
    assert (await site.order_bills(await site.identify())).status == 201


async def test_a_slot_nobody_pays_for_is_given_back(site: PatientSite) -> None:
    session = await site.identify(2)
    here = f"sessions/{session}"
    doctor = (await site.call("GET", f"{here}/departments/D02/doctors"))["doctors"][0]["doctor"]
    slot = (await site.call("GET", f"{here}/departments/D02/doctors/{doctor}/slots"))["slots"][0]
    wanted = {"schedule": slot["schedule"], "number": slot["number"]}
    lock = await site.call("POST", f"{here}/slot-locks", wanted)
    order = await site.call("POST", f"{here}/orders", {"business": "registration", "lock": lock["lock"]})
    assert site.his.desk.hospital.books.locks
    await site.call("POST", f"orders/{order['order']}/cancel")
    await wait_for(lambda: not site.his.desk.hospital.books.locks, what="the slot is free")
    other = await site.identify(3, "kiosk-2")
    assert (await site.call("POST", f"sessions/{other}/slot-locks", wanted, kiosk="kiosk-2")).status == 201


async def test_42_the_his_is_down(site: PatientSite) -> None:
    await site.his_fault("unpaidfees", "drop_before", times=10)
    session = await site.identify()
    for _ in range(2):
        down = await site.call("GET", f"sessions/{session}/bills")
        assert (down.status, down["code"]) == (503, "his_down")
    status = await site.call("GET", "status")
    assert {item["reason"] for item in status["functions"]} == {"his_down"}


async def test_a_channel_that_is_down_says_so_on_its_tile(site: PatientSite) -> None:
    await site.wallet_fault("wechat.codepay", "http_500", times=50)
    await site.wallet_fault("wechat.query", "http_500", times=200)
    for number in range(5):
        await begin(site, number + 1, f"kiosk-{number + 1}")
    for _ in range(100):
        status = await site.call("GET", "status")
        tiles = {item["channel"]: item for item in status["channels"]}
        if not tiles["wechat"]["is_open"]:
            break
        await site.call("GET", "open-orders")
    assert tiles["wechat"]["reason"] == "channel_down"
    assert tiles["alipay"]["is_open"]


@pytest.mark.parametrize(
    "body",
    [
        {"business": "bill", "bills": [], "bill_hash": "0" * 64},
        {"business": "bill", "bills": ["R1"], "bill_hash": "x"},
        {"business": "bill", "bills": ["R1"], "bill_hash": "0" * 64, "amount_fen": -1},
        {"business": "deposit", "amount": "0.001"},
        {"business": "deposit", "amount": "1e9"},
        {"business": "registration"},
        {},
    ],
)
async def test_48_what_makes_no_sense_is_refused_by_the_schema(site: PatientSite, body: dict[str, object]) -> None:
    session = await site.identify()
    refused = await site.call("POST", f"sessions/{session}/orders", body)
    assert refused.status == 422
    assert (await site.call("GET", "open-orders"))["orders"] == []


async def test_without_a_certificate_there_is_nothing(site: PatientSite) -> None:
    async with site.http.get(f"{site.url}/platform/v1/status") as response:
        assert response.status == 401
