"""One kiosk's page: facts, histories, what may be done to it."""

from __future__ import annotations

from e2e.browser import Watched
from e2e.conftest import Site
from e2e.marks import E2E
from e2e.mock_hospital import consumables_with, functions_with
from e2e.signing_in import sign_in
from playwright.async_api import Page, expect

from fleet_server.registry.model import KioskState
from fleet_server.staff.permissions import Role
from wire.faults import Fault

pytestmark = E2E


async def test_everything_about_a_kiosk_is_on_its_page(site: Site, page: Page) -> None:
    await page.goto(f"{site[1]}/kiosks/zzj-021")
    await expect(page.get_by_role("heading", level=1)).to_have_text("zzj-021")
    await expect(page.locator("figure canvas")).to_have_count(5)
    await expect(page.locator(".strip rect")).not_to_have_count(0)
    await expect(page.get_by_role("heading", name="版本与证书")).to_be_visible()
    await expect(page.get_by_text("剩余 27 天")).to_be_visible()
    await expect(page.get_by_text("固件 5.02")).to_be_visible()
    events = page.locator("ol li")
    await expect(events).to_have_count(20)
    await page.get_by_role("button", name="显示更早的事件").click()
    await expect(events).to_have_count(40)


async def test_what_patients_can_do_and_what_is_left_is_told_as_it_changes(site: Site, page: Page) -> None:
    server, url = site
    kid = next(alarm.kid for alarm in server.hospital.alarms.values() if alarm.code == Fault.PAPER_OUT)
    await page.goto(f"{url}/kiosks/{kid}")
    functions = page.locator("section", has=page.get_by_role("heading", name="患者功能"))
    ticket = functions.locator("[data-function=print_ticket]")
    await expect(ticket).to_contain_text("打印号条")
    await expect(ticket).to_contain_text("凭条打印机: 缺纸")
    await expect(ticket).to_contain_text("不可用")
    await expect(functions.locator("[data-function=pay]")).to_contain_text("降级 · 不出凭条")
    await expect(functions.locator("[data-function=print_report]")).to_contain_text("可用")
    paper = page.locator("[data-consumable='receipt_printer/paper']")
    await expect(paper).to_contain_text("用尽")
    now = server.hospital.now
    server.hospital.change(kid, functions=functions_with(None, now), consumables=consumables_with(64.0))
    await server.live.push(kid)
    await expect(ticket).to_contain_text("可用")
    await expect(paper).to_contain_text("约 6 天")
    await expect(page.locator("[data-consumable='report_printer/toner']")).to_contain_text("备件 TO-5100")


async def test_ranges_are_in_the_address(site: Site, page: Page) -> None:
    await page.goto(f"{site[1]}/kiosks/zzj-021")
    telemetry = page.get_by_role("group", name="时间范围")
    await telemetry.last.get_by_role("button", name="30 天").click()
    await page.wait_for_url("**/kiosks/zzj-021?range=30d")
    await telemetry.first.get_by_role("button", name="7 天").click()
    await page.wait_for_url("**/kiosks/zzj-021?range=30d&presence=7d")
    await page.reload()
    await expect(telemetry.last.get_by_role("button", name="30 天")).to_have_attribute("aria-pressed", "true")


async def test_the_tooltip_of_a_chart_breaks_no_policy(site: Site, page: Page) -> None:
    await page.goto(f"{site[1]}/kiosks/zzj-021")
    canvas = page.locator("figure canvas").first
    await canvas.hover(position={"x": 120, "y": 60})
    await canvas.hover(position={"x": 160, "y": 60})


async def test_a_kiosk_that_is_not_there(site: Site, page: Page, visitor: Watched) -> None:
    await page.goto(f"{site[1]}/kiosks/zzj-999")
    await expect(page.get_by_role("alert")).to_contain_text("没有编号为 zzj-999 的自助机")
    visitor.complaints.clear()


async def test_a_kiosk_that_was_never_seen(site: Site, page: Page) -> None:
    kid = next(kid for kid, row in site[0].hospital.kiosks.items() if row.state is KioskState.PLANNED)
    await page.goto(f"{site[1]}/kiosks/{kid}")
    await expect(page.get_by_text("该机尚未上报部件")).to_be_visible()
    await expect(page.get_by_text("这段时间没有数据")).to_have_count(5)
    await expect(page.get_by_role("status").filter(has_text="待安装")).to_be_visible()
    await expect(page.get_by_role("button", name="撤销身份")).to_have_accessible_description(
        "自助机当前为「待安装」，不能执行此操作"
    )


async def test_an_alarm_tells_what_to_do(site: Site, page: Page) -> None:
    kid = next(alarm.kid for alarm in site[0].hospital.alarms.values() if alarm.code == Fault.PAPER_JAM)
    await page.goto(f"{site[1]}/kiosks/{kid}")
    alarms = page.locator("section", has=page.get_by_role("heading", name="当前告警"))
    await expect(alarms).to_contain_text("卡纸")
    await expect(alarms).to_contain_text("打开机盖取出卡纸")
    parts = page.locator("section", has=page.get_by_role("heading", name="部件"))
    await expect(parts.locator("li", has_text="凭条打印机")).to_contain_text("卡纸")


async def test_quarantine_and_release(site: Site, page: Page) -> None:
    server, url = site
    await page.goto(f"{url}/kiosks/zzj-021")
    await page.get_by_role("button", name="隔离", exact=True).click()
    dialog = page.get_by_role("dialog")
    send = dialog.get_by_role("button", name="隔离", exact=True)
    await expect(send).to_have_accessible_description("请填写原因，会记入审计")
    await dialog.get_by_label("原因").fill("主板更换中")
    await send.click()
    await expect(page.get_by_role("status").filter(has_text="服务器不接收该机数据")).to_be_visible()
    assert server.hospital.kiosks["zzj-021"].state == "quarantined"
    await page.get_by_role("button", name="解除隔离").click()
    await page.get_by_role("dialog").get_by_role("button", name="解除隔离").click()
    await expect(page.get_by_role("button", name="隔离", exact=True)).to_be_visible()
    assert server.hospital.kiosks["zzj-021"].state == "enrolled"


async def test_who_may_not_is_told_why(site: Site, visitor: Watched) -> None:
    server, url = site
    server.staff.roles = [Role.VIEWER]
    server.staff.permissions = frozenset({"kiosks.read", "live.read"})
    page = visitor.page
    await sign_in(page, url, "/sign-in?next=/kiosks/zzj-021")
    await expect(page.get_by_role("button", name="撤销身份")).to_have_accessible_description(
        "您没有此权限（kiosks.revoke）"
    )
    visitor.complaints.clear()
