"""An engineer at the kiosk: logs in with the number pad, tries devices, changes paper, ends with a signed statement."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from e2e.browser import Visit, Watched
from e2e.conftest import MakeVisitor
from e2e.kiosk_rig import KioskRig
from e2e.marks import E2E
from e2e.test_accessible import overflow_px, serious_findings
from playwright.async_api import Page, expect

from agent.devices.machine import DeviceState
from wire.faults import Fault

pytestmark = E2E
Site = tuple[KioskRig, str]


@pytest_asyncio.fixture(loop_scope="session")
async def kiosk(tmp_path: Path) -> AsyncIterator[Site]:
    rig = KioskRig(tmp_path)
    async with rig.serving() as url:
        yield rig, url


async def log_in(page: Page, kiosk: Site) -> None:
    rig, url = kiosk
    await page.goto(f"{url}/maintenance")
    await press(page, "2017")
    await page.locator("#code").focus()
    await press(page, await rig.bench.code())
    await page.locator("#enter").click()
    await expect(page.locator(".device")).to_have_count(4)


async def press(page: Page, digits: str) -> None:
    for digit in digits:
        await page.locator(".pad").get_by_role("button", name=digit, exact=True).click()


def card(page: Page, component: str):  # type: ignore[no-untyped-def] # noqa: ANN201 - Playwright's locator
    return page.locator(f'[data-component="{component}"]')


async def test_a_whole_visit(kiosk: Site, make_visitor: MakeVisitor) -> None:
    rig, _ = kiosk
    page = (await make_visitor(Visit(width=1080, height=1920))).page
    await log_in(page, kiosk)
    reader, printer = card(page, "id_reader"), card(page, "receipt_printer")
    await reader.get_by_role("button", name="读测试证件").click()
    await expect(reader).to_contain_text("请把测试证件放到阅读器上")
    rig.reader.card.set()
    await expect(reader.locator(".result.passed")).to_contain_text("✓ 通过")
    assert "赵样例" not in await page.content()
    await printer.get_by_role("button", name="打印测试凭条").click()
    await printer.get_by_role("button", name="不正常").click()
    await expect(printer.locator(".result.failed")).to_contain_text("工程师判定不正常")
    await page.locator("#check-all").click()
    await expect(page.locator(".log li")).to_have_count(6)
    await page.locator("#close").click()
    await expect(page.locator("main")).to_contain_text("已用本机密钥签名")
    record = rig.bench.reporter.of("maintenance_close")[0]
    assert (record["actor"], record["fields"]["passed"], record["fields"]["failed"]) == ("2017", 5, 1)


async def test_paper_is_changed_with_the_printer_watching(kiosk: Site, make_visitor: MakeVisitor) -> None:
    rig, _ = kiosk
    page = (await make_visitor(Visit(width=1080, height=1920))).page
    rig.become("receipt_printer", values={"paper": "out", "cover": "closed"}, faults={Fault.PAPER_OUT: ""})
    await log_in(page, kiosk)
    await expect(card(page, "receipt_printer").locator(".faults")).to_contain_text("缺纸")
    await expect(card(page, "receipt_printer").locator(".badge")).to_have_text("有异常")
    await card(page, "receipt_printer").get_by_role("button", name="换纸").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text("打印机还没有检测到")
    rig.become("receipt_printer", values={"paper": "out", "cover": "open"}, faults={Fault.COVER_OPEN: ""})
    await expect(dialog.locator(".met")).to_contain_text("打印机已检测到")
    for step in ("取出旧纸卷", "装入新纸", "合上打印机盖"):
        await dialog.get_by_role("button", name="下一步").click()
        await expect(dialog.locator("[aria-current=step]")).to_contain_text(step)
    await dialog.get_by_role("button", name="下一步").click()
    await expect(dialog.get_by_role("alert")).to_contain_text("盖")
    rig.become("receipt_printer", values={"paper": "full", "cover": "closed"})
    for _ in range(2):
        await dialog.get_by_role("button", name="下一步").click()
    await dialog.get_by_role("button", name="打印正常，完成").click()
    await expect(dialog).to_contain_text("换纸完成")
    await dialog.get_by_role("button", name="关闭").click()
    assert rig.bench.reporter.events == [("receipt_printer", "paper.changed")]
    assert len(rig.printer.jobs) == 1


async def test_the_dialog_fits_a_phone(kiosk: Site, make_visitor: MakeVisitor) -> None:
    page = (await make_visitor(Visit(width=390, height=844))).page
    await log_in(page, kiosk)
    await card(page, "receipt_printer").get_by_role("button", name="换纸").click()
    box = await page.get_by_role("dialog").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390


async def test_who_is_not_let_in(kiosk: Site, visitor: Watched) -> None:
    rig, url = kiosk
    page = visitor.page
    await page.goto(f"{url}/maintenance")
    await page.locator("#staff").fill("2017")
    await page.locator("#code").fill("0000")
    await page.locator("#enter").click()
    await expect(page.get_by_role("alert")).to_contain_text("8 位")
    await page.locator("#code").fill("00000000")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_contain_text("维护码错误")
    lease = rig.lease.begin()
    await page.locator("#code").fill(await rig.bench.code())
    rig.bench.activity = rig.lease.activity()
    await page.locator("#enter").click()
    await expect(page.get_by_role("alert")).to_contain_text("患者正在使用本机")
    assert lease.lease is not None


async def test_a_running_test_is_cancelled_and_devices_come_and_go(kiosk: Site, visitor: Watched) -> None:
    rig, _ = kiosk
    await log_in(visitor.page, kiosk)
    reader = card(visitor.page, "id_reader")
    await reader.get_by_role("button", name="读测试证件").click()
    await reader.get_by_role("button", name="取消").click()
    await expect(visitor.page.get_by_role("alert")).to_contain_text("已取消")
    rig.become("id_reader", state=DeviceState.ABSENT, faults={Fault.UNPLUGGED: ""})
    await expect(reader.locator(".badge.bad")).to_contain_text("未连接")
    await reader.get_by_role("button", name="读测试证件").click()
    await expect(reader.locator(".result.failed")).to_be_visible()


@pytest.mark.parametrize("language", ["zh-CN", "en"])
async def test_it_is_accessible(kiosk: Site, make_visitor: MakeVisitor, language: str) -> None:
    rig, url = kiosk
    for width, height in ((1080, 1920), (1280, 800), (390, 844)):
        page = (await make_visitor(Visit(width=width, height=height))).page
        await page.goto(f"{url}/maintenance")
        if language == "en":
            await page.locator("#language").click()
        assert await serious_findings(page) == []
        assert await overflow_px(page) <= 0
        if width == 1080:
            await press(page, "2017")
            await page.locator("#code").fill(await rig.bench.code())
            await page.locator("#enter").click()
            rig.become("receipt_printer", values={"paper": "out"}, faults={Fault.PAPER_OUT: ""})
            await expect(page.locator(".faults")).to_be_visible()
            lights = "全部灯闪烁" if language == "zh-CN" else "Blink all lights"
            await page.get_by_role("button", name=lights).click()
            await expect(page.locator(".result.asked")).to_be_visible()
            assert await serious_findings(page) == []
            assert await overflow_px(page) <= 0
            await page.locator("button.paper").click()
            assert await serious_findings(page) == []


async def test_it_needs_no_more_than_its_policy_allows(kiosk: Site, visitor: Watched) -> None:
    _, url = kiosk
    answer = await visitor.page.goto(f"{url}/maintenance")
    assert answer is not None
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    await asyncio.sleep(0)
