"""Testers at the bench page, with a whole agent on the devices: what they do is what the agent's own pages show."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from e2e.browser import Visit, Watched
from e2e.conftest import MakeVisitor
from e2e.marks import E2E
from e2e.test_accessible import overflow_px, serious_findings
from playwright.async_api import Locator, Page, expect

from support.lab_agent import LabAgent, agent_on_lab
from support.waiting import wait_for

pytestmark = [*E2E, pytest.mark.timeout(120)]


@pytest_asyncio.fixture(loop_scope="session")
async def kiosk(tmp_path: Path) -> AsyncIterator[LabAgent]:
    async with agent_on_lab(tmp_path, "demo_firmware") as found:
        await wait_for(lambda: not found.unready, timeout_s=30.0, what="all devices")
        yield found


def card(page: Page, component: str) -> Locator:
    return page.locator(f'[data-component="{component}"]')


async def press(page: Page, component: str, label: str) -> None:
    await card(page, component).get_by_role("button", name=label, exact=True).first.click()


async def maintenance(page: Page, kiosk: LabAgent) -> None:
    await page.goto(f"{kiosk.agent_url}/maintenance")
    await page.locator("#staff").fill("2017")
    await page.locator("#code").fill(await kiosk.maintenance_code())
    await page.locator("#enter").click()
    await expect(page.locator(".device")).to_have_count(9)


async def test_a_testers_round(kiosk: LabAgent, make_visitor: MakeVisitor) -> None:
    """Cards, a code, a receipt, a report and the camera: held out on the one page, taken on the other."""
    bench = (await make_visitor(Visit(height=1000))).page
    desk = (await make_visitor(Visit(width=1080, height=1920))).page
    await bench.goto(kiosk.bench_url)
    await expect(bench.locator("[data-component]")).to_have_count(9)
    await maintenance(desk, kiosk)

    await press(desk, "id_reader", "读测试证件")
    await press(bench, "id_reader", "放上证件")
    await expect(card(desk, "id_reader").locator(".result.passed")).to_contain_text("居民身份证")
    await press(desk, "card_reader", "读测试卡")
    await press(bench, "card_reader", "插入卡")
    await expect(card(desk, "card_reader").locator(".result.passed")).to_contain_text("社保卡")
    await press(desk, "scanner", "扫测试码")
    await press(bench, "scanner", "出示码")
    await expect(card(desk, "scanner").locator(".result")).to_be_visible()

    await press(desk, "receipt_printer", "打印测试凭条")
    await expect(card(desk, "receipt_printer")).to_contain_text("请看打印效果", timeout=20_000)
    await expect(card(bench, "receipt_printer").locator("img").first).to_be_visible()
    await desk.locator('[id^="good-"]').click()
    await press(desk, "report_printer", "打印测试页")
    await expect(card(desk, "report_printer")).to_contain_text("请看打印效果", timeout=20_000)
    await expect(card(bench, "report_printer").locator(".job-state.completed")).to_be_visible()
    await desk.locator('[id^="good-"]').click()

    await expect(card(bench, "camera").get_by_role("img")).to_be_visible()
    size = await card(bench, "camera").locator("img").evaluate("image => image.naturalWidth")
    assert size >= 320
    await desk.locator("#close").click()
    await expect(desk.locator("main")).to_contain_text("维护已结束")


async def test_what_patients_can_do_follows_the_paper_within_two_seconds(
    kiosk: LabAgent, make_visitor: MakeVisitor
) -> None:
    bench, status = (await make_visitor()).page, (await make_visitor()).page
    await bench.goto(kiosk.bench_url)
    await status.goto(kiosk.agent_url)
    pay = status.locator("#functions li", has_text="缴费").first
    await expect(pay).to_contain_text("可用", timeout=10_000)
    await card(bench, "receipt_printer").get_by_role("button", name=re.compile("^故障")).click()
    await bench.get_by_role("dialog").get_by_role("button", name="缺纸", exact=True).click()
    await expect(pay).to_contain_text("缺纸", timeout=4_000)  # two seconds, and two between looks of the page
    await expect(card(bench, "receipt_printer")).to_have_attribute("data-mood", "alarmed")


async def test_every_look_is_accessible_and_fits(kiosk: LabAgent, make_visitor: MakeVisitor) -> None:
    visitor: Watched = await make_visitor()
    page = visitor.page
    findings: dict[str, list[str]] = {}
    await page.goto(kiosk.bench_url)
    await expect(page.locator("[data-component]")).to_have_count(9)
    for width in (1440, 390):
        await page.set_viewport_size({"width": width, "height": 844})
        for language in ("zh-CN", "en"):
            where = f"{width} {language}"
            findings[where] = await serious_findings(page, is_live=True)
            if await overflow_px(page) > 0:
                findings[where].append("wider than the window")
            await page.get_by_role("button", name="English" if language == "zh-CN" else "中文", exact=True).click()
    await card(page, "scanner").get_by_role("button", name=re.compile("^故障")).click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    findings["faults"] = await serious_findings(page, is_live=True)
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="操作记录").click()
    findings["log"] = await serious_findings(page, is_live=True)
    for path in ("/", "/maintenance"):
        await page.goto(f"{kiosk.agent_url}{path}")
        await expect(page.locator("h1")).not_to_be_empty()
        findings[path] = await serious_findings(page, is_live=True)
        if await overflow_px(page) > 0:
            findings[path].append("wider than the window")
    assert [f"{place}: {finding}" for place, found in findings.items() for finding in found] == []


async def test_a_card_is_put_down_without_a_mouse(kiosk: LabAgent, visitor: Watched) -> None:
    page = visitor.page
    await page.goto(kiosk.bench_url)
    put = card(page, "id_reader").get_by_role("button", name="放上证件", exact=True)
    await expect(put).to_be_visible()
    for _ in range(20):
        await page.keyboard.press("Tab")
        if await put.evaluate("button => button === document.activeElement"):
            break
    await page.keyboard.press("Enter")
    await wait_for(lambda: kiosk.tester.core("id_reader").card is not None, what="a card on the reader")


async def test_firmware_is_put_on_a_scanner(kiosk: LabAgent, make_visitor: MakeVisitor) -> None:
    bench = (await make_visitor()).page
    page = (await make_visitor(Visit(width=1080, height=1920))).page
    await bench.goto(kiosk.bench_url)
    await maintenance(page, kiosk)
    scanner, dialog = card(page, "scanner"), page.get_by_role("dialog")
    await expect(scanner.locator(".offer")).to_contain_text(["LAB-R01 → LAB-R02", "不能从当前版本直接更新"])
    await scanner.get_by_role("button", name="更新固件").click()
    await expect(dialog).to_contain_text("请勿断电")
    assert await serious_findings(page) == []
    await dialog.get_by_role("button", name="取消").click()
    await expect(dialog).to_be_hidden()
    await scanner.get_by_role("button", name="更新固件").press("Enter")
    await dialog.get_by_role("button", name="开始更新").press("Enter")
    await expect(scanner.get_by_role("progressbar")).to_be_visible()
    await expect(scanner.locator(".result.passed")).to_contain_text("LAB-R02", timeout=20_000)
    await expect(scanner.locator(".offer")).to_contain_text(["LAB-R02 → LAB-R03"])
    await expect(card(bench, "scanner")).to_contain_text("LAB-R02")


@pytest.mark.slow
async def test_firmware_that_a_printer_refuses_is_put_on_it_the_second_time(
    kiosk: LabAgent, make_visitor: MakeVisitor
) -> None:
    bench = (await make_visitor()).page
    page = (await make_visitor(Visit(width=1080, height=1920))).page
    await bench.goto(kiosk.bench_url)
    await maintenance(page, kiosk)
    printer = card(page, "receipt_printer")
    await kiosk.tester.do("receipt_printer", "flash_fault", fault="cancel")
    await printer.get_by_role("button", name="更新固件").click()
    await page.locator("#firmware-go").click()
    failed = printer.locator(".result.failed")
    await expect(failed).to_contain_text("设备拒绝了固件", timeout=60_000)
    await expect(failed).to_contain_text("固件更新中断")
    await expect(card(bench, "receipt_printer")).to_contain_text("等待固件")
    await printer.get_by_role("button", name="更新固件").click()
    await page.locator("#firmware-go").click()
    await expect(printer.locator(".result.passed")).to_contain_text("LAB-P02", timeout=30_000)
