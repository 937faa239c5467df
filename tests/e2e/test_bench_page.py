"""Testers at the bench page, with a whole agent on the devices: what they do is what the agent's own pages show."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from e2e.browser import Visit, Watched
from e2e.conftest import MakeVisitor
from e2e.marks import E2E
from e2e.test_accessible import findings_now, overflow_px, serious_findings
from playwright.async_api import Locator, Page, expect

from kit.web import STRICT_CSP
from support.lab_agent import LabAgent, agent_on_lab
from support.waiting import wait_for

pytestmark = [*E2E, pytest.mark.timeout(120)]
SHOWN_WITHIN_S = 2.0
"""From a click on the bench page to the agent's status page."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def kiosk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LabAgent]:
    """Give a kiosk to all tests; each leaves it in order."""
    async with agent_on_lab(tmp_path_factory.mktemp("bench")) as found:
        await wait_for(lambda: not found.unready, timeout_s=30.0, what="all devices")
        yield found


@pytest_asyncio.fixture(loop_scope="session")
async def flashable(tmp_path: Path) -> AsyncIterator[LabAgent]:
    """Give one whose devices take firmware."""
    async with agent_on_lab(tmp_path, "demo_firmware") as found:
        await wait_for(lambda: not found.unready, timeout_s=30.0, what="all devices")
        yield found


def card(page: Page, component: str) -> Locator:
    return page.locator(f'[data-component="{component}"]')


async def press(page: Page, component: str, label: str) -> None:
    await card(page, component).get_by_role("button", name=label, exact=True).first.click()


async def bench_of(kiosk: LabAgent, watched: Watched) -> Page:
    await watched.page.goto(kiosk.bench_url)
    await expect(watched.page.locator("[data-component]")).to_have_count(9)
    return watched.page


async def maintenance(page: Page, kiosk: LabAgent) -> None:
    await page.goto(f"{kiosk.agent_url}/maintenance")
    await page.locator("#staff").fill("2017")
    await page.locator("#code").fill(await kiosk.maintenance_code())
    await page.locator("#enter").click()
    await expect(page.locator(".device")).to_have_count(9)


async def test_a_testers_round(kiosk: LabAgent, make_visitor: MakeVisitor) -> None:
    """Cards, a code, a receipt, a report and the camera: held out on the one page, taken on the other."""
    bench = await bench_of(kiosk, await make_visitor(Visit(height=1000)))
    desk = (await make_visitor(Visit(width=1080, height=1920))).page
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


async def test_what_patients_can_do_follows_the_paper(kiosk: LabAgent, make_visitor: MakeVisitor) -> None:
    bench, status = await bench_of(kiosk, await make_visitor()), (await make_visitor()).page
    await status.goto(kiosk.agent_url)
    ticket = status.locator("[data-function=print_ticket]")
    await expect(ticket).to_contain_text("可用", timeout=10_000)
    await press(bench, "receipt_printer", "故障…")
    await bench.get_by_role("dialog").get_by_role("button", name="缺纸", exact=True).click()
    await expect(ticket).to_have_text("打印号条不可用 · 凭条打印机: 缺纸", timeout=SHOWN_WITHIN_S * 1_000)
    await expect(status.locator("#alarms")).to_contain_text("缺纸 · 凭条打印机")
    await expect(card(bench, "receipt_printer")).to_have_attribute("data-mood", "alarmed")
    await bench.keyboard.press("Escape")
    await press(bench, "receipt_printer", "换纸")
    await expect(ticket).to_have_text("打印号条可用")
    await expect(card(bench, "receipt_printer")).to_have_attribute("data-mood", "plugged")


async def test_faults_that_wait_are_shown(kiosk: LabAgent, visitor: Watched) -> None:
    page = await bench_of(kiosk, visitor)
    scanner, dialog = card(page, "scanner"), page.get_by_role("dialog")
    await press(page, "scanner", "故障…")
    await dialog.get_by_text("扫码出错").click()
    form = dialog.locator('[data-action="script"]')
    await form.locator("select").select_option("同一码发两次")
    await form.get_by_role("button", name="执行").click()
    await expect(scanner).to_contain_text("已设故障：同一码发两次")
    await expect(scanner).to_have_attribute("data-mood", "armed")
    await dialog.get_by_text("应答很慢").click()
    slow = dialog.locator('[data-action="slow"]')
    await slow.get_by_label("延迟（秒）").fill("0.5")
    await slow.get_by_role("button", name="执行").click()
    await expect(scanner).to_contain_text("线路故障：应答晚 0.5 秒")
    await dialog.get_by_role("button", name="线路恢复正常").click()
    await dialog.get_by_role("button", name="关闭").click()
    await expect(page.locator(".summary")).to_have_text("9 个设备 · 1 个异常")
    await press(page, "scanner", "清除故障")
    await expect(page.locator(".summary")).to_have_text("9 个设备 · 全部正常")
    await expect(scanner).not_to_contain_text("故障：")
    await page.get_by_role("button", name="操作记录").click()
    await expect(page.locator("#log-rows li").first).to_contain_text("清除故障")


async def test_every_look_is_accessible_and_fits(kiosk: LabAgent, visitor: Watched) -> None:
    page = await bench_of(kiosk, visitor)
    findings: dict[str, list[str]] = {}

    async def look(name: str) -> None:
        findings[name] = await findings_now(page)
        if await overflow_px(page) > 0:
            findings[name].append("wider than the window")

    for width in (1440, 390):
        await page.set_viewport_size({"width": width, "height": 844})
        for language, other in (("zh-CN", "English"), ("en", "中文")):
            await expect(page.locator("html")).to_have_attribute("lang", language)
            await look(f"{width} {language}")
            await page.get_by_role("button", name=other, exact=True).click()
    await press(page, "receipt_printer", "故障…")
    await page.evaluate("document.querySelectorAll('dialog details').forEach((one) => (one.open = true))")
    await look("faults")
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="操作记录").click()
    await look("log")
    await page.goto(kiosk.agent_url)
    await expect(page.locator("#functions li")).to_have_count(14)
    await look("status")
    await page.get_by_role("button", name="English").click()
    await look("status in English")
    assert [f"{place}: {finding}" for place, found in findings.items() for finding in found] == []


async def tab_to(page: Page, target: Locator, *, key: str = "Tab") -> None:
    """Press it until the target has the keyboard, at most a hundred times."""
    await expect(target).to_be_visible()
    for _ in range(100):
        await page.keyboard.press(key)
        if await target.evaluate("element => element === document.activeElement"):
            return
    pytest.fail("the keyboard does not get there")


async def test_a_tester_without_a_mouse(kiosk: LabAgent, visitor: Watched) -> None:
    page = await bench_of(kiosk, visitor)
    reader, core = card(page, "id_reader"), kiosk.tester.core("id_reader")
    await tab_to(page, reader.get_by_role("button", name="放上证件", exact=True))
    await page.keyboard.press("Enter")
    await expect(reader).to_contain_text("居民身份证")
    faults = reader.get_by_role("button", name="故障…")
    await tab_to(page, faults)
    await page.keyboard.press("Space")
    dialog = page.get_by_role("dialog")
    await tab_to(page, dialog.locator("summary", has_text="应答出错"))
    await page.keyboard.press("Enter")
    script = dialog.locator('[data-action="script"]')
    await tab_to(page, script.get_by_label("先正常几次应答"))
    await page.keyboard.type("9999")
    await page.keyboard.press("Enter")
    await wait_for(lambda: core.scripted, what="a fault that waits")
    await page.keyboard.press("Escape")
    await expect(dialog).to_be_hidden()
    await expect(faults).to_be_focused()
    insert = card(page, "card_reader").get_by_role("button", name="插入卡", exact=True)
    await tab_to(page, insert, key="Shift+Tab")  # the last card
    await page.keyboard.press("Enter")
    await expect(card(page, "card_reader")).to_contain_text("社会保障卡")
    await press(page, "id_reader", "清除故障")
    await press(page, "id_reader", "拿走证件")
    await press(page, "card_reader", "拔出卡")
    await expect(card(page, "card_reader")).not_to_contain_text("社会保障卡")


async def test_its_policy_is_strict(kiosk: LabAgent, visitor: Watched) -> None:
    answer = await visitor.page.goto(kiosk.bench_url)
    assert answer is not None
    policy = answer.headers["content-security-policy"]
    assert policy == STRICT_CSP
    assert "unsafe" not in policy
    assert "token" not in visitor.page.url, "the token leaves the address bar"


async def test_an_address_that_is_no_longer_good_is_told(kiosk: LabAgent, visitor: Watched) -> None:
    await visitor.page.goto(f"{kiosk.tester.url}/#token=of-the-day-before")
    await expect(visitor.page.locator("main")).to_contain_text("实验室每次启动都不同")
    await expect(visitor.page.get_by_role("status")).to_have_text("未连接")
    assert any("401" in complaint for complaint in visitor.complaints)
    visitor.complaints.clear()


async def test_firmware_is_put_on_a_scanner(flashable: LabAgent, make_visitor: MakeVisitor) -> None:
    bench = (await make_visitor()).page
    page = (await make_visitor(Visit(width=1080, height=1920))).page
    await bench.goto(flashable.bench_url)
    await maintenance(page, flashable)
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
    flashable: LabAgent, make_visitor: MakeVisitor
) -> None:
    bench = (await make_visitor()).page
    page = (await make_visitor(Visit(width=1080, height=1920))).page
    await bench.goto(flashable.bench_url)
    await maintenance(page, flashable)
    printer = card(page, "receipt_printer")
    await flashable.tester.do("receipt_printer", "flash_fault", fault="cancel")
    await printer.get_by_role("button", name="更新固件").click()
    await page.locator("#firmware-go").click()
    failed = printer.locator(".result.failed")
    await expect(failed).to_contain_text("设备拒绝了固件", timeout=60_000)
    await expect(failed).to_contain_text("固件更新中断")
    await expect(card(bench, "receipt_printer")).to_contain_text("等待固件")
    await printer.get_by_role("button", name="更新固件").click()
    await page.locator("#firmware-go").click()
    await expect(printer.locator(".result.passed")).to_contain_text("LAB-P02", timeout=30_000)
