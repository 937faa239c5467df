"""Whole journeys of patients through the platform: real wallets and HIS on sockets, a real store, real drivers.

Each nasty case of the reference on payments (section 16) that one kiosk and one platform can meet has a test here or
in `test_nasty.py`; the number in brackets is its number there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from simulators.payments.keys import Keys, prepare
from support.patient_site import PatientSite, patient_site

pytestmark = pytest.mark.timeout(60)  # lost answers are asked about again after seconds


@pytest.fixture(scope="module")
def site_keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Make the keys once; they are slow."""
    return prepare(tmp_path_factory.mktemp("site-keys"))


@pytest.fixture(params=["rest", "soap"])
async def site(
    request: pytest.FixtureRequest, site_keys: Keys, tmp_path: Path, sqlite_platform_url: str
) -> AsyncIterator[PatientSite]:
    """Run everything, once with each of the HIS's interfaces."""
    async with patient_site(site_keys, tmp_path, sqlite_platform_url, style=request.param) as found:
        yield found


@pytest.mark.parametrize("wallet", ["wechat", "alipay"])
async def test_a_prescription_is_paid_by_a_shown_code(site: PatientSite, wallet: str) -> None:
    session = await site.identify()
    order = await site.order_bills(session)
    assert order.status == 201
    begun = await site.pay(order["order"], channel=wallet, method="payment_code", code=await site.code(wallet))
    assert begun.status == 202
    done = await site.until(order["order"], advice="print")
    assert (done["money"], done["posting"], done["fulfilment"]) == ("paid", "posted", "waiting")
    receipt = await site.call("GET", f"orders/{order['order']}/receipt")
    assert receipt["template"] == "payment_receipt"
    assert receipt["fields"]["patient"].endswith("*")
    assert sum(round(float(line["amount"]) * 100) for line in receipt["lines"]) == order["amount_fen"]
    for state in ("printing", "printed"):
        await site.call("POST", f"orders/{order['order']}/fulfilment", {"state": state})
    assert (await site.until(order["order"], advice="done"))["is_settled"]
    assert (await site.call("GET", f"sessions/{session}/bills"))["bills"] == []
    assert sum((await site.platform.orders.balances()).values()) == 0


@pytest.mark.parametrize("wallet", ["wechat", "alipay"])
async def test_a_registration_is_paid_by_a_scanned_code(site: PatientSite, wallet: str) -> None:
    session = await site.identify(2)
    here = f"sessions/{session}"
    departments = await site.call("GET", f"{here}/departments")
    department = departments["departments"][0]["department"]
    doctor = (await site.call("GET", f"{here}/departments/{department}/doctors"))["doctors"][0]
    slots = (await site.call("GET", f"{here}/departments/{department}/doctors/{doctor['doctor']}/slots"))["slots"]
    slot = {"schedule": slots[3]["schedule"], "number": slots[3]["number"]}
    lock = await site.call("POST", f"{here}/slot-locks", slot)
    assert lock.status == 201
    assert lock["fee_fen"] == doctor["fee_fen"]
    taken = await site.call("POST", f"sessions/{await site.identify(3, 'kiosk-2')}/slot-locks", slot, kiosk="kiosk-2")
    assert (taken.status, taken["code"]) == (409, "slot_taken")
    order = await site.call("POST", f"{here}/orders", {"business": "registration", "lock": lock["lock"]})
    await site.pay(order["order"], channel=wallet, method="qr_code")
    shown = await site.until(order["order"], advice="show_code")
    await site.phone("pay", qr=shown["qr_text"])
    await site.until(order["order"], advice="print")
    receipt = await site.call("GET", f"orders/{order['order']}/receipt")
    assert receipt["template"] == "registration_ticket"
    assert receipt["fields"]["queue_number"] == lock["queue_number"]
    assert receipt["fields"]["doctor"] == doctor["name"]


async def test_a_paid_registration_is_taken_back(site: PatientSite) -> None:
    session = await site.identify(4)
    here = f"sessions/{session}"
    doctor = (await site.call("GET", f"{here}/departments/D05/doctors"))["doctors"][0]
    slots = (await site.call("GET", f"{here}/departments/D05/doctors/{doctor['doctor']}/slots"))["slots"]
    slot = {"schedule": slots[0]["schedule"], "number": slots[0]["number"]}
    lock = await site.call("POST", f"{here}/slot-locks", slot)
    order = await site.call("POST", f"{here}/orders", {"business": "registration", "lock": lock["lock"]})
    await site.pay(order["order"], channel="wechat", method="payment_code", code=await site.code())
    await site.until(order["order"], advice="print")
    await site.call("POST", f"orders/{order['order']}/refund")
    back = await site.until(order["order"], advice="refunded")
    assert back["refunded_fen"] == lock["fee_fen"]
    again = await site.call("POST", f"{here}/slot-locks", slot)
    assert again.status == 201
    balances = await site.platform.orders.balances()
    assert set(balances.values()) == {0}


async def test_somebody_new_is_registered_by_the_identity_card(site: PatientSite) -> None:
    medium = {"kind": "id_card", "name": "欧阳𫖯", "number": "999999199001010015", "sex": "男", "born": "1990-01-01"}
    found = await site.call("POST", "sessions", {"medium": medium})
    assert found.status == 422  # the check digit does not fit
    medium["number"] = "99999919900101001" + check_digit("99999919900101001")
    found = await site.call("POST", "sessions", {"medium": medium})
    assert found.status == 201, found.body
    assert found["patient"] == {
        "display_name": "欧**",
        "number_tail": medium["number"][-4:],
        "phone": None,
        "is_elder": False,
        "is_new": True,
    }
    again = await site.call("POST", "sessions", {"medium": medium})
    assert again["patient"]["is_new"] is False
    assert (await site.call("GET", f"sessions/{again['session']}/bills"))["bills"] == []
    other = await site.call("POST", "sessions", {"medium": {**medium, "name": "张三"}})
    assert (other.status, other["code"]) == (409, "name_differs")


async def test_other_ways_to_say_who_one_is(site: PatientSite) -> None:
    patient = site.his.desk.hospital.books.patients["P000005"]
    media = [
        {"kind": "code", "text": f"MZ{patient.mzh}"},
        {"kind": "code", "text": patient.card_no},
        {"kind": "visit_number", "text": patient.mzh},
        {"kind": "social_security_card", "name": patient.name, "number": patient.id_card, "card_number": "A12345678"},
    ]
    for medium in media:
        found = await site.call("POST", "sessions", {"medium": medium})
        assert found.status == 201, medium
        assert found["patient"]["number_tail"] == patient.id_card[-4:]
    nobody = await site.call("POST", "sessions", {"medium": {"kind": "visit_number", "text": "9999999999"}})
    assert (nobody.status, nobody["code"]) == (404, "patient_unknown")


def check_digit(first_17: str) -> str:
    """GB 11643, written once more so that both sides are judged by a third."""
    weights = [2 ** (17 - place) % 11 for place in range(17)]
    total = sum(int(digit) * weight for digit, weight in zip(first_17, weights, strict=True))
    return "10X98765432"[total % 11]


async def test_payment_codes_over_the_older_interface(
    site_keys: Keys, tmp_path: Path, sqlite_platform_url: str
) -> None:
    async with patient_site(site_keys, tmp_path, sqlite_platform_url, code_api="v2") as site:
        order = await site.order_bills(await site.identify())
        await site.wallet_fault("wechat.micropay", "drop_after")
        await site.pay(order["order"], channel="wechat", method="payment_code", code=await site.code())
        done = await site.until(order["order"], advice="print")
        assert (done["money"], done["posting"]) == ("paid", "posted")
        other = await site.order_bills(await site.identify(2))
        typed = await site.code(asks_password=True)
        await site.pay(other["order"], channel="wechat", method="payment_code", code=typed)
        await site.until(other["order"], advice="confirm_on_phone")
        await site.phone("password", code=typed)
        await site.until(other["order"], advice="print")
