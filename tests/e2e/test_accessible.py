"""Every page in both languages and schemes: no serious finding of axe, nothing wider than its window."""

from __future__ import annotations

import json

import pytest
from e2e import mock_server
from e2e.browser import Visit, Watched
from e2e.conftest import MakeVisitor, Site
from e2e.marks import E2E
from e2e.mock_casework import INCIDENT, ORDER
from e2e.mock_duty import TOKEN
from e2e.serving import AXE
from e2e.signing_in import sign_in
from playwright.async_api import Page

from fleet_server.staff.permissions import Role, permissions_of

pytestmark = [*E2E, pytest.mark.timeout(120)]
PAGES = (
    "/",
    "/?kiosk=zzj-021&presence=offline",
    "/?layout=map",
    "/kiosks/zzj-021",
    "/enrolment",
    "/incidents",
    f"/incidents/{INCIDENT}",
    "/orders",
    f"/orders/{ORDER}",
    "/duty",
    "/sla",
    "/audit",
    "/nowhere",
)
WAYS_IN = ("/sign-in", f"/first-admin#{mock_server.FIRST_ADMIN_TOKEN}", "/recover", f"/ack#{TOKEN}")
LOOKS = (
    Visit(language="zh-CN", scheme="light"),
    Visit(language="en", scheme="dark"),
    Visit(width=1280, height=720, language="en", scheme="light"),
)


async def serious_findings(page: Page) -> list[str]:
    await page.wait_for_load_state("networkidle")
    return [finding for finding in await findings_now(page) if finding.startswith(("serious", "critical"))]


async def findings_now(page: Page) -> list[str]:
    """All that axe finds on a page whose caller has waited for what it shows: live pages never stop loading."""
    await page.evaluate(AXE.read_text(encoding="utf-8"))
    rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]
    found = await page.evaluate(
        "rules => axe.run(document, {runOnly: rules, resultTypes: ['violations']}).then(r => r.violations)", rules
    )
    return [
        f"{item['impact']} {item['id']}: {json.dumps([node['html'][:160] for node in item['nodes'][:3]])}"
        for item in found
    ]


async def overlaps(page: Page) -> list[str]:
    """Controls that lie on top of each other, by their texts."""
    found: list[str] = await page.evaluate(
        """() => {
            const seen = [...document.querySelectorAll("button")].filter((one) => one.checkVisibility());
            const boxes = seen.map((one) => [one.textContent.trim(), one.getBoundingClientRect()]);
            return boxes.flatMap(([name, a], at) => boxes.slice(at + 1)
                .filter(([, b]) => a.left + 1 < b.right && b.left + 1 < a.right)
                .filter(([, b]) => a.top + 1 < b.bottom && b.top + 1 < a.bottom)
                .map(([other]) => `${name} / ${other}`));
        }"""
    )
    return found


async def overflow_px(page: Page) -> int:
    wider: int = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return wider


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: f"{look.width}-{look.language}-{look.scheme}")
async def test_every_page(site: Site, make_visitor: MakeVisitor, look: Visit) -> None:
    visitor = await make_visitor(look)
    findings: dict[str, list[str]] = {}
    for path in WAYS_IN:
        await visitor.page.goto(f"{site[1]}{path}")
        findings[path] = await serious_findings(visitor.page)
    await sign_in(visitor.page, site[1])
    site[0].staff.roles = list(Role)
    site[0].staff.permissions = permissions_of(Role)
    for path in PAGES:
        await visitor.page.goto(f"{site[1]}{path}")
        findings[path] = await serious_findings(visitor.page)
        if await overflow_px(visitor.page) > 0:
            findings[path].append("wider than the window")
    assert [f"{path}: {finding}" for path, found in findings.items() for finding in found] == []


async def test_the_kiosk_page_on_an_engineers_phone(site: Site, make_visitor: MakeVisitor) -> None:
    visitor: Watched = await make_visitor(Visit(width=390, height=844))
    await sign_in(visitor.page, site[1], "/sign-in?next=/kiosks/zzj-021")
    assert await serious_findings(visitor.page) == []
    assert await overflow_px(visitor.page) == 0
    for path in ("/enrolment", "/duty", f"/ack#{TOKEN}", f"/incidents/{INCIDENT}", f"/orders/{ORDER}"):
        await visitor.page.goto(f"{site[1]}{path}")
        assert await serious_findings(visitor.page) == []
        assert await overflow_px(visitor.page) == 0, path


async def test_the_open_dialog(site: Site, page: Page) -> None:
    await page.goto(f"{site[1]}/kiosks/zzj-021")
    await page.get_by_role("button", name="撤销身份").click()
    await page.get_by_role("dialog").wait_for()
    assert await serious_findings(page) == []
