"""Debian's Chromium under Playwright, and what every page must satisfy: no policy violations, no script errors."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, async_playwright

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CHROMIUM: Final = "/usr/bin/chromium"
FLAGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@dataclass
class Watched:
    """A page with everything its console complained about."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    def note(self, message: ConsoleMessage) -> None:
        """Keep errors; the browser reports requests that failed on purpose too, those tests clear the list."""
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)


@dataclass(frozen=True)
class Visit:
    """A person's window and preferences."""

    width: int = 1440
    height: int = 900
    language: str = "zh-CN"
    scheme: str = "light"


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Start the browser."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def visit(browser: Browser, visit_as: Visit | None = None) -> AsyncIterator[Watched]:
    """Open an empty page."""
    how = visit_as or Visit()
    context: BrowserContext = await browser.new_context(
        viewport={"width": how.width, "height": how.height}, timezone_id="Asia/Shanghai", locale=how.language
    )
    await context.add_init_script(
        f"localStorage.getItem('language') ?? localStorage.setItem('language', '{how.language}');"
        f"localStorage.getItem('scheme') ?? localStorage.setItem('scheme', '{how.scheme}')"
    )
    page = await context.new_page()
    watched = Watched(page)
    page.on("console", watched.note)
    page.on("pageerror", lambda error: watched.complaints.append(str(error)))
    try:
        yield watched
    finally:
        await context.close()
