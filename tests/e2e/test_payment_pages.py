"""Testers with the simulated phone and the wallets' control page in a real browser."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio
from e2e.browser import Visit
from e2e.conftest import MakeVisitor
from e2e.marks import E2E
from e2e.test_accessible import findings_now, overflow_px
from playwright.async_api import expect

from kit.clock import SystemClock
from kit.supervise import TaskGroup, spawn
from simulators.payments.keys import Keys, prepare
from simulators.payments.server import PaymentServer, Place
from support.payment_merchant import DistantMerchant

pytestmark = E2E


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Make the keys once."""
    return prepare(tmp_path_factory.mktemp("payments"))


@pytest_asyncio.fixture(loop_scope="session")
async def merchant(keys: Keys) -> AsyncIterator[DistantMerchant]:
    """Give a merchant at running wallets."""
    clock = SystemClock()
    server = PaymentServer(keys, clock, Place())
    async with TaskGroup() as group:
        tasks = [spawn(group, one.run(), one.name) for one in server.services]
        await server.started()
        async with aiohttp.ClientSession() as http:
            yield DistantMerchant(server.http.url, clock.utc, http, keys)
        for task in tasks:
            task.cancel()


async def test_a_phone_shows_a_code_and_enters_the_password(
    merchant: DistantMerchant, make_visitor: MakeVisitor
) -> None:
    watched = await make_visitor(Visit(width=390, height=844))
    page = watched.page
    await page.goto(f"{merchant.base_url}/sim/phone")
    await page.get_by_label("需要输入密码").check()
    await page.get_by_role("button", name="微信付款码").click()
    await expect(page.locator("#digits")).not_to_be_empty()
    code = await page.locator("#digits").inner_text()
    assert await page.locator("#picture").evaluate("one => one.decode().then(() => one.naturalWidth > 0)")
    assert (await merchant.code_pay("ORDER0001", code)).status == 202
    await page.get_by_role("button", name="输入密码并支付").click()
    await expect(page.get_by_text("已支付")).to_be_visible()
    assert (await merchant.query("ORDER0001")).json["trade_state"] == "SUCCESS"
    assert await overflow_px(page) == 0
    assert await findings_now(page) == []
    assert watched.complaints == []


async def test_a_tester_scripts_a_fault_and_sees_what_happened(
    merchant: DistantMerchant, make_visitor: MakeVisitor
) -> None:
    watched = await make_visitor(Visit())
    page = watched.page
    await page.goto(f"{merchant.base_url}/sim/")
    await page.locator("#operation").select_option("wechat.codepay")
    await page.locator("#fault").select_option("http_500")
    await page.locator("#args").fill("code=BANK_ERROR status=500")
    await page.get_by_role("button", name="加入脚本").click()
    await expect(page.locator("#faults li")).to_have_count(1)
    code = await merchant.code()
    assert (await merchant.code_pay("ORDER0001", code)).json["code"] == "BANK_ERROR"
    assert (await merchant.code_pay("ORDER0001", code)).status == 200
    await expect(page.get_by_text("ORDER0001")).to_be_visible()
    await expect(page.locator("#faults li")).to_have_count(0)
    assert await findings_now(page) == []
    assert watched.complaints == []
