"""Pictures of every page in both languages, to be looked at: `python tests/e2e/gallery.py [DIRECTORY]`.

Needs the built pages (`npm run build`); the server is the mock one with 100 kiosks.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from e2e import mock_server
from e2e.browser import Visit, chromium, visit
from e2e.mock_casework import INCIDENT, ORDER
from e2e.mock_duty import TOKEN
from e2e.serving import DIST, serving
from e2e.signing_in import sign_in
from playwright.async_api import Browser, Page

from fleet_server.staff.permissions import Role, permissions_of

PAGES = (
    ("fleet", "/"),
    ("fleet-offline", "/?presence=offline"),
    ("fleet-selected", "/?kiosk=zzj-021&area=门诊楼"),
    ("kiosk", "/kiosks/zzj-021"),
    ("kiosk-week", "/kiosks/zzj-033?range=7d&presence=7d"),
    ("enrolment", "/enrolment"),
    ("incidents", "/incidents"),
    ("incident", f"/incidents/{INCIDENT}"),
    ("orders", "/orders"),
    ("order", f"/orders/{ORDER}"),
    ("duty", "/duty"),
    ("ack", f"/ack#{TOKEN}"),
    ("sla", "/sla"),
    ("audit", "/audit"),
    ("not-found", "/nowhere"),
)
LOOKS = (("zh-CN", "light"), ("en", "light"), ("zh-CN", "dark"))


async def main(directory: Path) -> None:
    """Take them all."""
    directory.mkdir(parents=True, exist_ok=True)
    async with serving(mock_server.MockServer(DIST)) as (server, url), chromium() as browser:
        server.staff.permissions = permissions_of(Role)
        for language, scheme in LOOKS:
            await _look(browser, server, url, directory, (language, scheme))


async def _look(
    browser: Browser, server: mock_server.MockServer, url: str, directory: Path, look: tuple[str, str]
) -> None:
    language, scheme = look
    suffix = f"{language}-{scheme}"
    async with visit(browser, Visit(language=language, scheme=scheme)) as watched:
        page = watched.page
        await page.goto(f"{url}/sign-in")
        await _shoot(page, directory / f"sign-in-{suffix}.png")
        server.has_admin = False
        await page.goto(f"{url}/first-admin#{mock_server.FIRST_ADMIN_TOKEN}")
        await _shoot(page, directory / f"first-admin-{suffix}.png")
        await page.fill("input[name=username]", "li.na")
        await page.fill("input[name=name]", "李娜")
        await page.fill("input[name=new-password]", "correct horse battery")
        await page.fill("input[name=repeat]", "correct horse battery")
        await page.press("input[name=repeat]", "Enter")
        await page.wait_for_selector("svg[role=img]")
        await _shoot(page, directory / f"first-admin-totp-{suffix}.png")
        await sign_in(page, url)
        for name, path in PAGES:
            await page.goto(f"{url}{path}")
            await _shoot(page, directory / f"{name}-{suffix}.png", is_full=name.startswith("kiosk"))
        await page.set_viewport_size({"width": 390, "height": 844})
        await page.goto(f"{url}/kiosks/zzj-021")
        await _shoot(page, directory / f"kiosk-phone-{suffix}.png", is_full=True)
        await page.set_viewport_size({"width": 1280, "height": 800})
        await page.goto(f"{url}/")
        await _shoot(page, directory / f"fleet-1280-{suffix}.png")
    print(suffix, watched.complaints)  # noqa: T201 - for the person who looks


async def _shoot(page: Page, file: Path, *, is_full: bool = False) -> None:
    await page.wait_for_load_state("networkidle")
    await page.screenshot(path=file, full_page=is_full, animations="disabled")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1] if len(sys.argv) > 1 else "var/gallery")))
