"""A whole day reconciled: paid at real wallets, posted in a real HIS, compared when the day is over."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, time, timedelta
from pathlib import Path

import pytest

from kit.clock import SystemClock
from patient_platform.errors import Refusal
from patient_platform.his.reading import HOSPITAL_TIME
from patient_platform.money import Fen
from patient_platform.reconciliation.model import BatchState, Code
from simulators.payments.desk import MovableClock
from simulators.payments.keys import Keys, prepare
from support.patient_site import PatientSite, patient_site

pytestmark = pytest.mark.timeout(60)  # lost answers are asked about again after seconds


@pytest.fixture(scope="module")
def site_keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Make the keys once; they are slow."""
    return prepare(tmp_path_factory.mktemp("day-keys"))


@pytest.fixture
def clock() -> MovableClock:
    """Make everybody's clock one that can be put to the next day."""
    return MovableClock(SystemClock())


@pytest.fixture
async def site(site_keys: Keys, tmp_path: Path, platform_url: str, clock: MovableClock) -> AsyncIterator[PatientSite]:
    """Run everything, on either store."""
    async with patient_site(site_keys, tmp_path, platform_url, clock=clock) as found:
        yield found


async def pay(site: PatientSite, number: int, wallet: str) -> str:
    kiosk = f"kiosk-{number}"
    order = await site.order_bills(await site.identify(number, kiosk), kiosk)
    await site.pay(order["order"], kiosk, channel=wallet, method="payment_code", code=await site.code(wallet))
    await site.until(order["order"], kiosk, advice="print")
    return str(order["order"])


async def shown(site: PatientSite) -> dict[str, float]:
    """What a scrape sees of comparisons."""
    async with site.http.get(f"{site.notify_url}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    rows = [line.rpartition(" ") for line in lines if line.startswith("patient_reconciliation_")]
    return {name: float(value) for name, _, value in rows}


async def test_a_day_that_balances_and_what_is_found_when_it_does_not(site: PatientSite, clock: MovableClock) -> None:
    day = clock.utc().astimezone(HOSPITAL_TIME).date()
    for number, wallet in ((1, "wechat"), (2, "alipay"), (3, "wechat")):
        await pay(site, number, wallet)
    back = await pay(site, 4, "alipay")
    await site.call("POST", f"orders/{back}/refund", kiosk="kiosk-4")
    await site.until(back, "kiosk-4", advice="refunded")
    with pytest.raises(Refusal, match="over"):
        await site.platform.reconciliation.run(day)
    clock.offset_s = timedelta(days=1, hours=2).total_seconds()
    site.wallets.desk.bills_at_any_time = True
    batches = await site.platform.reconciliation.run(day)
    assert [(batch.state, batch.counts, batch.is_balanced) for batch in batches] == [
        (BatchState.DONE, {"OK": 2}, True),
        (BatchState.DONE, {"OK": 3}, True),
    ]
    assert all(batch.ours.paid_fen == batch.theirs.paid_fen for batch in batches)
    began = datetime.combine(day, time.min, HOSPITAL_TIME).timestamp()
    balanced = await shown(site)
    for wallet, count in (("wechat", 2.0), ("alipay", 3.0)):
        assert balanced[f'patient_reconciliation_day_timestamp_seconds{{channel="{wallet}"}}'] == began
        assert balanced[f'patient_reconciliation_balanced{{channel="{wallet}"}}'] == 1.0
        assert balanced[f'patient_reconciliation_outcomes{{channel="{wallet}",code="OK"}}'] == count
    lost = next(iter(site.his.desk.hospital.books.trades))
    del site.his.desk.hospital.books.trades[lost]
    await site.wallet_fault("alipay.bill", "wrong_amount")
    again = await site.platform.reconciliation.run(day)
    assert [batch.version for batch in again] == [2, 2]
    wechat, alipay = again
    assert [finding.code for finding in wechat.findings] == [Code.L1]
    assert wechat.findings[0].trade_no == lost
    assert not wechat.is_balanced
    assert not alipay.is_balanced
    found = await shown(site)
    ended = [batch.made_at.timestamp() for batch in again]
    assert [
        found[f'patient_reconciliation_end_timestamp_seconds{{channel="{wallet}"}}'] for wallet in ("wechat", "alipay")
    ] == ended
    assert found['patient_reconciliation_balanced{channel="wechat"}'] == 0.0
    assert found['patient_reconciliation_outcomes{channel="wechat",code="L1"}'] == 1.0
    assert found['patient_reconciliation_outcomes{channel="wechat",code="S1"}'] == 0.0
    assert found['patient_reconciliation_balanced{channel="alipay"}'] == 0.0  # its bill was no good
    kept = await site.platform.reconciliation.latest(day)
    assert {batch.channel: batch.version for batch in kept} == {batch.channel: 2 for batch in again}
    assert [finding.trade_no for batch in kept for finding in batch.findings if finding.code is Code.L1] == [lost]
    assert sum((await site.platform.orders.balances()).values()) == Fen(0)


async def test_37_a_bill_that_is_late_or_damaged_is_never_balanced(site: PatientSite, clock: MovableClock) -> None:
    day = clock.utc().astimezone(HOSPITAL_TIME).date()
    await pay(site, 5, "wechat")
    clock.offset_s = timedelta(days=1, hours=2).total_seconds()
    site.wallets.desk.bills_at_any_time = True
    await site.wallet_fault("wechat.bill_file", "malformed")
    await site.wallet_fault("alipay.bill", "http_500")
    wechat, alipay = await site.platform.reconciliation.run(day)
    assert wechat.state is BatchState.INVALID
    assert alipay.state is BatchState.WAITING
    assert not wechat.is_balanced
    assert not alipay.is_balanced
