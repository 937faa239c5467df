"""The engineer's page: a machine asks, its code is typed, it gets an identity, or a refusal with a reason."""

from __future__ import annotations

from e2e.browser import Watched
from e2e.conftest import Site
from e2e.marks import E2E
from playwright.async_api import Locator, Page, expect

from fleet_server.registry.model import KioskState
from wire.enrolment import EnrolmentState

pytestmark = E2E


async def request_of(site: Site, page: Page, number: str) -> Locator:
    server, url = site
    await page.goto(f"{url}/enrolment")
    return page.get_by_role("article", name=server.hospital.enrolments[number].serial)


async def test_the_right_code_gives_the_identity(site: Site, page: Page) -> None:
    server, _ = site
    card = await request_of(site, page, "0001")
    confirm = card.get_by_role("button", name="确认登记")
    await expect(confirm).to_have_accessible_description("请输入 6 位配对码")
    await card.get_by_label("配对码").fill("314159")
    await confirm.click()
    kid = server.hospital.enrolments["0001"].suggested_kid
    assert kid is not None
    await expect(page.locator("table")).to_contain_text(kid)
    await expect(page.get_by_text(f"{kid} 登记成功")).to_be_visible()
    assert server.hospital.kiosks[kid].state is KioskState.ENROLLED


async def test_wrong_codes_are_counted_and_end_the_request(site: Site, page: Page, visitor: Watched) -> None:
    card = await request_of(site, page, "0001")
    for left in (4, 3, 2, 1):
        await card.get_by_label("配对码").fill("000000")
        await card.get_by_label("配对码").press("Enter")
        await expect(card.get_by_role("alert")).to_contain_text(f"配对码与屏幕显示不一致。 还可尝试 {left} 次")
    await card.get_by_label("配对码").fill("000000")
    await card.get_by_label("配对码").press("Enter")
    await expect(page.locator("table")).to_contain_text("已拒绝")
    visitor.complaints.clear()


async def test_another_serial_number_must_be_accepted(site: Site, page: Page) -> None:
    server, _ = site
    card = await request_of(site, page, "0002")
    await card.get_by_label("配对码").fill("271828")
    await card.get_by_label("登记为").click()
    kid = next(kid for kid, row in server.hospital.kiosks.items() if row.state is KioskState.PLANNED)
    await page.get_by_role("option", name=kid).click()
    await expect(card.get_by_role("button", name="确认登记")).to_have_accessible_description("请确认序列号不一致")
    await card.get_by_role("checkbox").check()
    await card.get_by_role("button", name="确认登记").click()
    await expect(page.locator("table")).to_contain_text(kid)


async def test_a_refusal_needs_a_reason(site: Site, page: Page) -> None:
    server, _ = site
    card = await request_of(site, page, "0002")
    await card.get_by_role("button", name="拒绝…").click()
    refuse = card.get_by_role("button", name="拒绝请求")
    await expect(refuse).to_have_accessible_description("请填写原因，会记入审计")
    await card.get_by_label("拒绝原因").fill("不认识的机器")
    await refuse.click()
    await expect(page.locator("table")).to_contain_text("不认识的机器")
    assert server.hospital.enrolments["0002"].state is EnrolmentState.REFUSED


async def test_nobody_asks(site: Site, page: Page) -> None:
    server, url = site
    server.hospital.enrolments.clear()
    await page.goto(f"{url}/enrolment")
    await expect(page.get_by_text("没有待确认的请求")).to_be_visible()
