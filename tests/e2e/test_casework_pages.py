"""Incidents, work orders, the month of service and the audit trail, as people use them."""

from __future__ import annotations

import pytest
from e2e.browser import Watched
from e2e.conftest import Site
from e2e.marks import E2E
from e2e.mock_casework import AUDIT_ROWS, ORDER
from e2e.mock_duty import TOKEN
from playwright.async_api import Page, expect

from fleet_server.staff.permissions import Role, permissions_of

pytestmark = E2E


async def test_an_incident_is_taken_with_a_note(site: Site, page: Page) -> None:
    server, _ = site
    await page.get_by_role("link", name="事件").click()
    rows = page.get_by_role("region", name="事件列表").locator("tbody tr")
    await expect(rows).to_have_count(2)
    await expect(rows.first).to_contain_text("UPS-3F-A")  # the worst first
    await page.get_by_role("link", name="INC-000007").click()
    await expect(page.get_by_text("请携带：")).to_be_visible()
    await page.get_by_role("textbox", name="备注").fill("我去换纸")
    await page.get_by_role("button", name="接手处理").click()
    await expect(page.get_by_text("chen.wei 已接手").first).to_be_visible()
    await expect(page.get_by_text("我去换纸")).to_be_visible()
    assert [one.acknowledged_by for one in server.casework.incidents.values()] == ["chen.wei", None]
    await page.get_by_role("button", name="接手处理").click(force=True)  # says why it cannot
    assert sum(line.kind == "acknowledged" for line in next(iter(server.casework.incidents.values())).timeline) == 1


async def test_a_power_cut_lists_its_members(site: Site, page: Page) -> None:
    await page.get_by_role("link", name="事件").click()
    await page.get_by_role("link", name="INC-000008").click()
    await expect(page.get_by_role("heading", name="涉及的告警（12）")).to_be_visible()
    await page.get_by_role("link", name="zzj-003", exact=True).click()
    await expect(page).to_have_url(f"{site[1]}/kiosks/zzj-003")


async def test_an_order_is_answered_and_not_closed_without_proof(site: Site, visitor: Watched, page: Page) -> None:
    await page.get_by_role("link", name="工单").click()
    await expect(page.get_by_text("80 mm 热敏纸 x 1")).to_be_visible()
    await page.get_by_role("link", name="WO-000012").click()
    await expect(page.get_by_text("尚缺证明：")).to_be_visible()
    await expect(page.get_by_text("已用 12分钟，时限 4小时").first).to_be_visible()
    await page.get_by_role("button", name="响应", exact=True).click()
    await expect(page.locator("strong", has_text="已响应")).to_be_visible()
    await page.get_by_role("button", name="验证并关闭").click()
    await expect(page.get_by_text("设备尚未证明已修复")).to_be_visible()
    assert site[0].casework.orders[ORDER].state == "responded"
    visitor.complaints.remove("Failed to load resource: the server responded with a status of 409 (Conflict)")


async def test_a_pause_asks_for_evidence_first(site: Site, page: Page) -> None:
    await page.goto(f"{site[1]}/orders/{ORDER}")
    await page.get_by_role("button", name="申请停表").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text("请先填写内容")
    await page.keyboard.press("Escape")
    await expect(dialog).to_be_hidden()


async def test_the_month_has_its_figures_and_files(site: Site, page: Page) -> None:
    await page.get_by_role("link", name="服务考核").click()
    await expect(page.get_by_text("99.720 %")).to_be_visible()
    await expect(page.get_by_text("¥ 500.00")).to_be_visible()
    await expect(page.get_by_role("region", name="超时明细").locator("tbody tr")).to_have_count(1)
    await page.get_by_label("月份").fill("2026-02")
    await page.get_by_label("月份").dispatch_event("change")
    pdf = page.get_by_role("link", name="下载文档")
    await expect(pdf).to_have_attribute("href", "/api/v1/sla/report/file?month=2026-02&format=pdf")


async def test_duty_is_handed_over_and_taken(site: Site, page: Page) -> None:
    server, _ = site
    await page.get_by_role("link", name="值班").click()
    onsite = page.locator("section", has=page.get_by_role("heading", name="驻场"))
    await expect(onsite.get_by_role("alert").first).to_contain_text("无人值班")
    await expect(onsite.get_by_text("紧急事件只能经一个渠道通知 li.na")).to_be_visible()
    second = page.locator("section", has=page.get_by_role("heading", name="二线"))
    await expect(second).to_contain_text("呼叫阶梯用到此班线，但没有轮值表")
    await onsite.locator(".el-select__wrapper").click()
    await page.get_by_role("option", name="li.na").click()
    await onsite.locator("input[name=note]").fill("021 等纸")
    await onsite.get_by_role("button", name="交班").click()
    await expect(onsite.get_by_text("chen.wei 交班给 li.na，待确认")).to_be_visible()
    await expect(onsite.get_by_role("button", name="确认接班")).to_have_count(0)  # only the other one can
    assert server.duty.handover is not None
    server.duty.handover = server.duty.handover.model_copy(update={"gives": "li.na", "takes": "chen.wei"})
    await page.reload()
    await onsite.get_by_role("button", name="确认接班").click()
    await expect(page.get_by_text("已接班")).to_be_visible()
    assert server.duty.people == ["chen.wei"]


async def test_a_link_acknowledges_by_its_button_only(site: Site, visitor: Watched) -> None:
    server, address = site
    page = visitor.page
    await page.goto(f"{address}/ack#{TOKEN}")
    await expect(page.get_by_text("缺纸")).to_be_visible()
    await expect(page.get_by_text("zzj-002/printer")).to_be_visible()
    await page.reload()
    assert server.duty.ack.acknowledged_by is None
    await page.get_by_role("button", name="我来处理").click()
    await expect(page.get_by_role("status")).to_contain_text("已确认，呼叫已停止")
    assert server.duty.ack.acknowledged_by == "chen.wei"
    await page.goto(f"{address}/ack#another-token")
    await page.reload()
    await expect(page.get_by_role("alert")).to_contain_text("链接不存在或已超过一天")
    await expect(page.get_by_role("button", name="我来处理")).to_have_count(0)
    visitor.complaints.remove("Failed to load resource: the server responded with a status of 404 (Not Found)")


@pytest.mark.parametrize("is_whole", [True, False])
async def test_the_audit_trail_says_whether_it_is_whole(site: Site, page: Page, is_whole: bool) -> None:
    server, address = site
    server.casework.is_chain_whole = is_whole
    server.staff.roles = [Role.AUDITOR]
    server.staff.permissions = permissions_of(server.staff.roles)
    await page.goto(address)  # leads to where an auditor begins
    await expect(page).to_have_url(f"{address}/audit")
    told = page.get_by_text("链条完整") if is_whole else page.get_by_role("alert")
    await expect(told).to_be_visible()
    await expect(page.get_by_role("link", name="工单")).to_have_count(0)  # an auditor sees the trail and nothing else
    rows = page.get_by_role("region", name="审计记录").locator("tbody tr")
    await expect(rows).to_have_count(50)
    await page.get_by_role("button", name="更多").click()
    await expect(rows).to_have_count(AUDIT_ROWS)
    await page.get_by_label("操作").fill("auth.login")
    await page.get_by_role("button", name="查询").click()
    await expect(rows.first).to_contain_text("auth.login")
    await expect(rows.filter(has_text="incidents.acknowledge")).to_have_count(0)


async def test_links_of_the_header_fit_the_role(page: Page) -> None:
    names = await page.get_by_role("navigation").get_by_role("link").all_inner_texts()
    assert names == ["机群", "事件", "工单", "值班", "服务考核", "设备登记"]
