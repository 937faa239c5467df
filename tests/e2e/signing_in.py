"""Signing in as a person does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from e2e import mock_server

if TYPE_CHECKING:
    from playwright.async_api import Page


async def sign_in(page: Page, url: str, path: str = "/sign-in", *, totp: str = mock_server.TOTP) -> None:
    """Fill the form of `path` and send it; waits for the answer's page."""
    await page.goto(f"{url}{path}")
    await page.fill("input[name=username]", mock_server.USERNAME)
    await page.fill("input[name=password]", mock_server.PASSWORD)
    await page.fill("input[autocomplete=one-time-code]", totp)
    await page.press("input[autocomplete=one-time-code]", "Enter")
    await page.wait_for_selector("header.bar")
