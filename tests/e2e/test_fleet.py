"""The fleet page: counts, map and table as one selection, filters in the address, rows that move by themselves."""

from __future__ import annotations

import time

from e2e.browser import Watched
from e2e.conftest import MakeServer, Site
from e2e.marks import E2E
from e2e.signing_in import sign_in
from playwright.async_api import Locator, Page, expect

from fleet_server.registry.model import PresenceState

pytestmark = E2E


def row(page: Page, kid: str) -> Locator:
    return page.locator(f"tr[data-kid={kid}]")


def mark(page: Page, kid: str) -> Locator:
    return page.locator(f"g[data-kid={kid}]")


async def test_each_count_is_a_link_to_exactly_its_rows(page: Page) -> None:
    links = page.get_by_role("list", name="按状态计数").get_by_role("link")
    for index in range(await links.count()):
        link = links.nth(index)
        count = int((await link.locator(".number").inner_text()).strip())
        await link.click()
        await expect(link).to_have_attribute("aria-current", "true")
        await expect(page.locator(".shown")).to_have_text(f"显示 {count} / 100 台")
        await expect(page.get_by_role("grid")).to_have_attribute("aria-rowcount", str(count + 1))


async def test_filters_survive_a_reload_and_leave_the_map_in_place(site: Site, page: Page) -> None:
    await page.goto(f"{site[1]}/?presence=offline")
    await expect(page.locator("tbody tr[data-kid]")).to_have_count(3)
    await expect(page.locator("g[data-kid]")).to_have_count(100)
    await expect(page.locator("g[data-kid]:not(.pale)")).to_have_count(3)
    await page.reload()
    await expect(page.locator("tbody tr[data-kid]")).to_have_count(3)
    await page.get_by_role("button", name="清除筛选").click()
    await page.wait_for_url(f"{site[1]}/")


async def test_kiosks_that_lost_a_function_are_marked_and_found(site: Site, page: Page) -> None:
    await page.goto(f"{site[1]}/?lost=print_ticket&layout=table")
    rows = page.locator("tbody tr[data-kid]")
    lost = {kid for kid, row in site[0].hospital.kiosks.items() if any(one.state == "lost" for one in row.functions)}
    await expect(rows).to_have_count(len(lost))
    assert {await row.get_attribute("data-kid") for row in await rows.all()} == lost
    await expect(rows.first.get_by_text("4 项不可用")).to_be_attached()
    await page.get_by_role("button", name="清除筛选").click()
    await expect(page.locator("tbody .lost")).to_have_count(len(lost))


async def test_map_and_table_are_one_selection(site: Site, page: Page) -> None:
    await mark(page, "zzj-100").click()
    await page.wait_for_url("**/?kiosk=zzj-100")
    await expect(row(page, "zzj-100")).to_have_attribute("aria-selected", "true")
    await expect(row(page, "zzj-100")).to_be_in_viewport()
    await expect(page.get_by_role("region", name="选中的自助机")).to_contain_text("zzj-100")
    await row(page, "zzj-099").click(position={"x": 300, "y": 10})
    await expect(mark(page, "zzj-099")).to_have_attribute("aria-pressed", "true")
    await expect(mark(page, "zzj-100")).to_have_attribute("aria-pressed", "false")
    await page.get_by_role("button", name="取消选中").click()
    await page.wait_for_url(f"{site[1]}/")


async def test_searching_by_keyboard(site: Site, page: Page) -> None:
    await page.keyboard.press("/")
    await page.keyboard.type("zzj-04")
    await page.wait_for_url("**/?q=zzj-04")
    await expect(page.locator("tbody tr[data-kid]")).to_have_count(10)
    await page.keyboard.press("Control+a")
    await page.keyboard.type("nothing like it")
    await expect(page.get_by_text("没有符合条件的自助机")).to_be_visible()


async def test_rows_and_marks_by_keyboard(page: Page) -> None:
    first = page.locator("tbody tr[data-kid]").first
    await first.focus()
    await page.keyboard.press("j")
    second = page.locator("tbody tr[data-kid]").nth(1)
    await expect(second).to_be_focused()
    await expect(second).to_have_attribute("aria-selected", "true")
    await page.keyboard.press("k")
    await expect(first).to_be_focused()
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/kiosks/*")
    await page.go_back()
    await page.locator("g[data-kid][tabindex='0']").focus()
    await page.keyboard.press("ArrowRight")
    await page.keyboard.press(" ")
    await expect(page.locator("g[data-kid]:focus")).to_have_attribute("aria-pressed", "true")


async def test_sorting(page: Page) -> None:
    header = page.get_by_role("columnheader", name="磁盘")
    await header.get_by_role("button").click()
    await expect(header).to_have_attribute("aria-sort", "descending")
    await expect(page.locator("tbody tr[data-kid]").first).to_contain_text("93%")
    await header.get_by_role("button").click()
    await expect(header).to_have_attribute("aria-sort", "ascending")
    await header.get_by_role("button").click()
    await expect(header).to_have_attribute("aria-sort", "none")


async def test_a_change_shows_by_itself_everywhere(site: Site, page: Page) -> None:
    server, _ = site
    await expect(row(page, "zzj-002")).to_contain_text("在线")
    server.hospital.change("zzj-002", presence=PresenceState.OFFLINE)
    await server.live.push("zzj-002")
    await expect(row(page, "zzj-002")).to_contain_text("离线")
    await expect(mark(page, "zzj-002")).to_have_class("mark offline")
    await expect(page.get_by_role("link", name="离线")).to_contain_text("4")


async def test_a_thousand_kiosks(make_server: MakeServer, visitor: Watched) -> None:
    server, url = await make_server(count=1_000)
    page = visitor.page
    await sign_in(page, url, "/sign-in?next=/?layout=table")
    await expect(page.get_by_role("grid")).to_have_attribute("aria-rowcount", "1001")
    assert await page.locator("tbody tr[data-kid]").count() < 60
    scroller = page.locator(".scroller")
    await scroller.evaluate("element => { element.scrollTop = element.scrollHeight }")
    await expect(page.locator("tbody tr[data-kid]").last).to_have_attribute("aria-rowindex", "1001")
    await scroller.evaluate("element => { element.scrollTop = 0 }")
    await expect(page.locator("tbody tr[data-kid]").first).to_have_attribute("aria-rowindex", "2")
    first = await page.locator("tbody tr[data-kid]").first.get_attribute("data-kid")
    assert first is not None
    started = time.perf_counter()
    server.hospital.change(first, cpu_percent=77.0)
    await server.live.push(*server.hospital.kiosks)
    await expect(row(page, first)).to_contain_text("77%")
    assert time.perf_counter() - started < 3.0


async def test_an_empty_fleet_says_what_to_do(make_server: MakeServer, visitor: Watched) -> None:
    _, url = await make_server(count=0)
    await sign_in(visitor.page, url)
    await expect(visitor.page.get_by_text("导入资产清单后")).to_be_visible()


async def test_the_language_and_the_scheme_are_remembered(page: Page) -> None:
    await page.get_by_role("button", name="English").click()
    await expect(page.get_by_role("columnheader", name="Kiosk")).to_be_visible()
    await expect(page).to_have_title("Fleet · Kiosk Operations")
    await page.get_by_role("button", name="Switch to dark").click()
    await page.reload()
    await expect(page.get_by_role("columnheader", name="Kiosk")).to_be_visible()
    assert await page.evaluate("document.documentElement.lang + ' ' + document.documentElement.className") == "en dark"
