"""What the pages do when the server is silent, wrong or away: old data stays, and says how old it is."""

from __future__ import annotations

from e2e.browser import Watched
from e2e.conftest import Site
from e2e.marks import E2E
from e2e.signing_in import sign_in
from e2e.test_fleet import row
from playwright.async_api import Page, expect

from fleet_server.registry.model import PresenceState

pytestmark = E2E


async def test_a_gap_is_noticed_and_asked_for(site: Site, page: Page) -> None:
    server, _ = site
    before = server.live.seq
    server.hospital.change("zzj-001", presence=PresenceState.OFFLINE)
    await server.live.push("zzj-001", lose=True)
    await server.live.push("zzj-002")
    await expect(row(page, "zzj-001")).to_contain_text("离线")
    assert server.live.subscriptions[-1] == {"topic": "kiosks", "since": before}


async def test_a_cut_connection_comes_back_with_what_was_missed(site: Site, page: Page) -> None:
    server, _ = site
    before = server.live.seq
    await server.live.cut()
    server.hospital.change("zzj-001", presence=PresenceState.OFFLINE)
    await server.live.push("zzj-001", lose=True)
    await expect(row(page, "zzj-001")).to_contain_text("离线")
    await expect(page.locator(".badge")).to_have_class("badge fresh")
    assert {"topic": "kiosks", "since": before} in server.live.subscriptions


async def test_a_silent_server_makes_the_badge_age_and_the_page_keep_its_rows(site: Site, visitor: Watched) -> None:
    server, url = site
    page = visitor.page
    await page.clock.install()
    await sign_in(page, url)
    await expect(page.locator(".badge")).to_have_class("badge fresh")
    server.live.is_silent = True
    await page.clock.run_for(17_000)
    await expect(page.locator(".badge")).to_have_class("badge ageing")
    await page.clock.run_for(20_000)
    await expect(page.locator(".badge")).to_have_class("badge stale")
    await expect(page.get_by_role("alert")).to_contain_text("连接已中断")
    await expect(row(page, "zzj-001")).to_be_visible()
    server.live.is_silent = False
    await page.clock.run_for(60_000)
    await expect(page.locator(".badge")).to_have_class("badge fresh")
    await expect(page.get_by_role("alert")).to_have_count(0)


async def test_a_failing_server_is_said_and_can_be_tried_again(site: Site, page: Page, visitor: Watched) -> None:
    server, _ = site
    server.is_failing = True
    await page.locator("a.kid").first.click()
    await expect(page.get_by_role("alert")).to_contain_text("服务器暂时不可用", timeout=15_000)
    server.is_failing = False
    await page.get_by_role("button", name="重试").first.click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("zzj-088")
    visitor.complaints.clear()


async def test_without_a_server_at_the_start_the_page_says_so_and_gets_in_later(site: Site, visitor: Watched) -> None:
    server, url = site
    page = visitor.page
    await sign_in(page, url)
    server.is_failing = True
    await page.reload()
    await expect(page.get_by_role("alert")).to_contain_text("无法连接服务器")
    server.is_failing = False
    await expect(row(page, "zzj-088")).to_be_visible(timeout=15_000)
    visitor.complaints.clear()
