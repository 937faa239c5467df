"""What cannot wait, as metrics: counted from the store, on both stores, over a whole payment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kit.metrics import Metrics
from patient_platform.app import METRICS
from patient_platform.payment.pressing import Pressing, show
from simulators.payments.keys import Keys
from support.stepped_site import START, SteppedSite, stepped_site


@pytest.fixture
async def till(site_keys: Keys, tmp_path: Path, platform_url: str) -> AsyncIterator[SteppedSite]:
    """Run everything but time, on either store."""
    async with stepped_site(site_keys, tmp_path, platform_url) as found:
        yield found


async def shown(till: SteppedSite) -> dict[str, float]:
    """The gauges that are not zero."""
    platform, now = till.site.platform, till.clock.utc()
    metrics = Metrics(METRICS)
    show(metrics, await platform.orders.pressing(now), now)
    rendered = await asyncio.to_thread(metrics.render)
    lines = [line for line in rendered.decode().splitlines() if line.startswith("patient_")]
    values = {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}
    return {name: value for name, value in values.items() if value}


async def test_nothing_presses_before_and_after_a_payment(till: SteppedSite) -> None:
    assert await shown(till) == {}
    order = await till.order_bills()
    await till.pay_by_code(order)
    assert await shown(till) == {}


async def test_a_payment_without_an_outcome_grows_old(till: SteppedSite) -> None:
    await till.site.wallet_fault("wechat.codepay", "drop_after")
    await till.site.wallet_fault("wechat.query", "drop_before", times=500)
    order = await till.order_bills()
    await till.pay_by_code(order)
    assert await shown(till) == {'patient_payments_unknown{age="1m"}': 1.0}
    till.clock.advance(90)
    found = await shown(till)
    assert found['patient_payments_unknown{age="5m"}'] == 1.0
    assert found["patient_orders_overdue"] == 1.0


async def test_paid_and_not_posted_is_seen_with_its_age(till: SteppedSite) -> None:
    await till.site.his_fault("charge_commit", "drop_before", times=500)
    await till.site.his_fault("trade_check", "drop_before", times=500)
    order = await till.order_bills()
    await till.pay_by_code(order)
    till.clock.advance(40)
    assert await shown(till) == {
        "patient_paid_not_posted": 1.0,
        "patient_paid_not_posted_oldest_seconds": 40.0,
    }


def test_what_a_person_has_to_settle_is_counted_by_kind() -> None:
    metrics = Metrics(METRICS)
    show(metrics, Pressing(manual={"payment": 2, "refund": 1}, refunds_open=3), START)
    text = metrics.render().decode()
    assert 'patient_manual{what="payment"} 2.0' in text
    assert 'patient_manual{what="posting"} 0.0' in text
    assert "patient_refunds_open 3.0" in text
