"""Getting in: sign-in, first administrator, and being sent back where one wanted to go."""

from __future__ import annotations

import pytest
from e2e import mock_server
from e2e.browser import Watched
from e2e.conftest import Site
from e2e.marks import E2E
from e2e.signing_in import sign_in
from playwright.async_api import expect

from fleet_server.staff.model import Reset

pytestmark = E2E
CODE = "input[autocomplete=one-time-code]"


async def test_a_wrong_code_is_refused_in_plain_words_and_only_the_code_is_asked_again(
    site: Site, visitor: Watched
) -> None:
    page = visitor.page
    await page.goto(f"{site[1]}/sign-in")
    await page.fill("input[name=username]", mock_server.USERNAME)
    await page.fill("input[name=password]", mock_server.PASSWORD)
    await page.fill(CODE, "000000")
    await page.press(CODE, "Enter")
    await expect(page.get_by_role("alert")).to_contain_text("用户名、密码或验证码不正确")
    await expect(page.locator(CODE)).to_have_value("")
    await expect(page.locator("input[name=password]")).to_have_value(mock_server.PASSWORD)
    assert all("401" in complaint for complaint in visitor.complaints)
    visitor.complaints.clear()


async def test_the_button_says_what_is_missing(site: Site, visitor: Watched) -> None:
    page = visitor.page
    await page.goto(f"{site[1]}/sign-in")
    button = page.get_by_role("button", name="登录", exact=True)
    await expect(button).to_have_attribute("aria-disabled", "true")
    await expect(button).to_have_accessible_description("请输入用户名")
    await page.fill("input[name=username]", "chen.wei")
    await page.fill("input[name=password]", "x")
    await expect(button).to_have_accessible_description("请输入 6 位动态验证码")
    await page.fill(CODE, "12 34-56789")
    await expect(page.locator(CODE)).to_have_value("123456")
    await expect(button).to_have_attribute("aria-disabled", "false")
    assert all("401" in complaint for complaint in visitor.complaints)
    visitor.complaints.clear()


async def test_one_is_taken_where_one_wanted_to_go(site: Site, visitor: Watched) -> None:
    page = visitor.page
    await page.goto(f"{site[1]}/kiosks/zzj-021?range=7d")
    await expect(page.get_by_role("status")).to_contain_text("请先登录")
    visitor.complaints.clear()
    await page.fill("input[name=username]", mock_server.USERNAME)
    await page.fill("input[name=password]", mock_server.PASSWORD)
    await page.fill(CODE, mock_server.TOTP)
    await page.press(CODE, "Enter")
    await page.wait_for_url("**/kiosks/zzj-021?range=7d")
    await expect(page.get_by_role("heading", level=1)).to_have_text("zzj-021")


@pytest.mark.parametrize("elsewhere", ["//evil.example/", "https://evil.example/", "/\\evil.example"])
async def test_nobody_is_sent_to_another_site(site: Site, visitor: Watched, elsewhere: str) -> None:
    await sign_in(visitor.page, site[1], f"/sign-in?next={elsewhere}")
    await visitor.page.wait_for_selector("[data-kid]")
    assert visitor.page.url == f"{site[1]}/"


async def test_the_first_administrator(site: Site, visitor: Watched) -> None:
    server, url = site
    server.has_admin = False
    page = visitor.page
    await page.goto(f"{url}/first-admin#{mock_server.FIRST_ADMIN_TOKEN}")
    await expect(page.locator("input[name=token]")).to_have_value(mock_server.FIRST_ADMIN_TOKEN)
    await page.fill("input[name=username]", "li.na")
    await page.fill("input[name=name]", "李娜")
    await page.fill("input[name=new-password]", "correct horse battery")
    await page.fill("input[name=repeat]", "correct horse")
    await expect(page.get_by_role("alert")).to_contain_text("两次输入的密码不一致")
    await page.fill("input[name=repeat]", "correct horse battery")
    await page.get_by_role("button", name="创建管理员").click()
    await expect(page.get_by_role("img", name="身份验证器二维码")).to_be_visible()
    await expect(page.locator(".secret")).to_have_text("JBSW Y3DP EHPK 3PXP JBSW Y3DP EHPK 3PXP")
    await page.get_by_role("link", name="已绑定").click()
    await page.wait_for_url("**/sign-in")
    assert server.has_admin


async def test_a_used_token_is_refused(site: Site, visitor: Watched) -> None:
    page = visitor.page
    await page.goto(f"{site[1]}/first-admin#used-token")
    for name, text in (("username", "li.na"), ("name", "李娜"), ("new-password", "x" * 12), ("repeat", "x" * 12)):
        await page.fill(f"input[name={name}]", text)
    await page.get_by_role("button", name="创建管理员").click()
    await expect(page.get_by_role("alert")).to_contain_text("一次性令牌不正确或已被使用")
    assert all("403" in complaint for complaint in visitor.complaints)
    visitor.complaints.clear()


async def test_back_in_after_phone_and_password_were_lost(site: Site, visitor: Watched) -> None:
    server, url = site
    server.recovery = Reset.BOTH
    page = visitor.page
    await page.goto(f"{url}/sign-in")
    await page.get_by_role("link", name="丢失了手机或密码？").click()
    await page.fill("input[name=token]", "wrong-token")
    await page.get_by_role("button", name="下一步").click()
    await expect(page.get_by_role("alert")).to_contain_text("已过期")
    assert all("40" in complaint for complaint in visitor.complaints)
    visitor.complaints.clear()
    await page.fill("input[name=token]", mock_server.RECOVERY_TOKEN)
    await page.get_by_role("button", name="下一步").click()
    await expect(page.get_by_role("status")).to_contain_text("陈伟")
    await expect(page.locator("input[name=username]")).to_have_value(mock_server.USERNAME)
    await page.fill("input[name=new-password]", "correct horse battery")
    await page.fill("input[name=repeat]", "correct horse battery")
    await page.get_by_role("button", name="恢复账户").click()
    await expect(page.get_by_role("img", name="身份验证器二维码")).to_be_visible()
    await page.get_by_role("link", name="已绑定").click()
    await page.wait_for_url("**/sign-in")
    assert server.recovered is not None
    assert (server.recovered.password, server.recovered.totp) == ("correct horse battery", None)


async def test_a_link_leads_to_what_was_not_lost(site: Site, visitor: Watched) -> None:
    server, url = site
    page = visitor.page
    server.recovery = Reset.PASSWORD
    await page.goto(f"{url}/recover#{mock_server.RECOVERY_TOKEN}")
    await page.fill("input[name=new-password]", "correct horse battery")
    await page.fill("input[name=repeat]", "correct horse battery")
    await page.fill(CODE, mock_server.TOTP)
    await page.press(CODE, "Enter")
    await expect(page.get_by_role("status")).to_contain_text("密码已更改")
    assert server.recovered is not None
    assert server.recovered.totp == mock_server.TOTP
    server.recovery = Reset.TOTP
    await page.get_by_role("link", name="返回登录").click()
    await page.wait_for_url("**/sign-in")
    await page.goto(f"{url}/recover#{mock_server.RECOVERY_TOKEN}")
    await page.fill("input[name=password]", mock_server.PASSWORD)
    await page.press("input[name=password]", "Enter")
    await expect(page.get_by_role("img", name="身份验证器二维码")).to_be_visible()


async def test_signing_out_and_a_session_that_ends(site: Site, visitor: Watched) -> None:
    server, url = site
    page = visitor.page
    await sign_in(page, url)
    await page.get_by_role("button", name="账户菜单").click()
    await page.get_by_role("menuitem", name="退出登录").click()
    await page.wait_for_url("**/sign-in")
    assert server.sessions == set()
    await sign_in(page, url, "/sign-in?next=/enrolment")
    server.sessions.clear()
    await page.wait_for_url("**/sign-in?next=/enrolment")
    assert all("401" in complaint for complaint in visitor.complaints)
    visitor.complaints.clear()
