"""Whole journeys of patients through the platform: real wallets and HIS on sockets, a real store, real drivers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from simulators.payments.keys import Keys, prepare
from support.patient_site import PatientSite, patient_site


@pytest.fixture(scope="module")
def site_keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Make the keys once; they are slow."""
    return prepare(tmp_path_factory.mktemp("site-keys"))


@pytest.fixture
async def site(site_keys: Keys, tmp_path: Path, sqlite_platform_url: str) -> AsyncIterator[PatientSite]:
    """Run everything."""
    async with patient_site(site_keys, tmp_path, sqlite_platform_url) as found:
        yield found


async def test_a_prescription_is_paid_by_a_shown_code(site: PatientSite) -> None:
    session = await site.identify()
    order = await site.order_bills(session)
    assert order.status == 201
    begun = await site.pay(order["order"], channel="wechat", method="payment_code", code=await site.code())
    assert begun.status == 202
    done = await site.until(order["order"], advice="print")
    assert (done["money"], done["posting"], done["fulfilment"]) == ("paid", "posted", "waiting")
    receipt = await site.call("GET", f"orders/{order['order']}/receipt")
    assert receipt["template"] == "payment_receipt"
    assert receipt["fields"]["patient"].endswith("*")
    for state in ("printing", "printed"):
        await site.call("POST", f"orders/{order['order']}/fulfilment", {"state": state})
    assert (await site.until(order["order"], advice="done"))["is_settled"]
    assert (await site.call("GET", f"sessions/{session}/bills"))["bills"] == []
    assert sum((await site.platform.orders.balances()).values()) == 0
