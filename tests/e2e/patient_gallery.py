"""Pictures of the screens patients see, to be looked at: `python tests/e2e/patient_gallery.py DEMO.json [DIRECTORY]`.

Needs a running demo with a full kiosk; the patients are the hospital's made-up ones, from number `FIRST` on.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import aiohttp
from e2e.browser import Visit, chromium, visit
from e2e.serving import ROOT
from playwright.async_api import Browser, Page

from support.kiosk_journey import Demo

FIRST = 60
BENCH = "kiosk-1"
PORTRAIT, LANDSCAPE = (1080, 1920), (1920, 1080)
LOOKS = (
    ("zh-CN", PORTRAIT, ()),
    ("en", PORTRAIT, ()),
    ("zh-CN", LANDSCAPE, ()),
    ("en", LANDSCAPE, ("elder",)),
    ("zh-CN", PORTRAIT, ("elder",)),
    ("zh-CN", PORTRAIT, ("low",)),
    ("en", PORTRAIT, ("elder", "low")),
)
WAIT_MS = 20_000


@dataclass
class Walk:
    """One look: a language, a direction, the modes that are on."""

    demo: Demo
    page: Page
    url: str
    directory: Path
    name: str
    language: str
    modes: tuple[str, ...]
    texts: dict[str, str]
    numbers: Any = field(default_factory=count)

    async def shoot(self, screen: str) -> None:
        """A picture of the page as it is."""
        await self.page.wait_for_timeout(350)
        await self.page.screenshot(path=self.directory / f"{self.name}-{next(self.numbers):02d}-{screen}.png")

    async def press(self, key: str) -> None:
        """Press the button with that text."""
        await self.page.get_by_role("button", name=self.texts[key]).first.click(timeout=WAIT_MS)

    async def asked(self, key: str) -> None:
        """Wait for the screen with that title."""
        await self.page.get_by_text(self.texts[key]).first.wait_for(timeout=WAIT_MS)

    async def begin(self) -> None:
        """The page anew, in this look."""
        await self.page.goto(self.url)
        await self.page.locator("button.start").wait_for(timeout=WAIT_MS)
        if self.language == "en":
            await self.page.get_by_role("button", name="English").click()
        for mode in self.modes:
            await self.press(f"bar.{mode}")

    async def identify(self, task: str, person: int) -> None:
        """From the first touch to the question whether it is you."""
        await self.page.locator("button.start").click()
        await self.press(task)
        await self.asked("identify.title")
        await self.demo.device(BENCH, "id_reader", "insert_card", person=person)
        await self.asked("confirm.title")
        await self.demo.device(BENCH, "id_reader", "remove_card")


async def main(facts: Path, directory: Path) -> None:
    """Take them all."""
    directory.mkdir(parents=True, exist_ok=True)
    people = count(FIRST)
    async with aiohttp.ClientSession() as http, chromium() as browser:
        demo = Demo(http, json.loads(facts.read_text(encoding="utf-8")))
        for language, size, modes in LOOKS:
            await _look(browser, demo, directory, (language, size, modes), people)


async def _look(
    browser: Browser,
    demo: Demo,
    directory: Path,
    look: tuple[str, tuple[int, int], tuple[str, ...]],
    people: count[int],
) -> None:
    language, size, modes = look
    texts = json.loads((ROOT / f"kiosk_ui/src/i18n/{language}.json").read_text(encoding="utf-8"))
    name = "-".join([language, "portrait" if size == PORTRAIT else "landscape", *modes])
    url = f"{demo.facts['kiosks'][0]['local_api_url']}/kiosk/"
    async with visit(browser, Visit(*size)) as watched:
        walk = Walk(demo, watched.page, url, directory, name, language, modes, texts)
        await _paying(walk, next(people))
        await _registering(walk, next(people))


async def _paying(walk: Walk, person: int) -> None:
    await walk.begin()
    await walk.shoot("idle")
    await walk.press("bar.help")
    await walk.shoot("help")
    await walk.press("help.close")
    await walk.page.locator("button.start").click()
    await walk.shoot("home")
    await walk.press("tile.pay_bill")
    await walk.shoot("identify")
    await walk.press("identify.type")
    await walk.shoot("number")
    await walk.begin()
    await walk.demo.bill(person)
    await walk.identify("tile.pay_bill", person)
    await walk.shoot("confirm")
    await walk.press("confirm.me")
    await walk.page.locator("button.primary").first.wait_for(timeout=WAIT_MS)
    await walk.shoot("bill")
    await walk.page.locator("button.primary").first.click()
    await walk.asked("pay.choose")
    await walk.shoot("pay")
    await walk.page.get_by_role("button", name=walk.texts["channel.alipay"]).click()
    await walk.page.locator(".qr").wait_for(timeout=WAIT_MS)
    await walk.shoot("pay-qr")
    await _pay_by_phone(walk.demo)
    await walk.page.locator(".ticks").wait_for(timeout=WAIT_MS)
    await walk.shoot("ticks")
    await walk.page.get_by_role("button", name=walk.texts["done.finish"]).wait_for(timeout=40_000)
    await walk.shoot("takeaway")
    await walk.press("done.finish")
    await walk.page.locator("button.start").wait_for(timeout=WAIT_MS)


async def _pay_by_phone(demo: Demo) -> None:
    """A phone pays what the newest code on a screen asks for."""
    wallets = demo.facts["platform"]["payments_url"]
    async with demo.http.get(f"{wallets}state") as response:
        trades = (await response.json())["trades"]
    waiting = [trade for trade in trades if trade.get("qr") and trade["state"] != "SUCCESS"]
    async with demo.http.post(f"{wallets}phone/pay", json={"qr": waiting[-1]["qr"]}) as response:
        assert response.ok, await response.text()


async def _registering(walk: Walk, person: int) -> None:
    await walk.begin()
    await walk.identify("tile.register", person)
    await walk.press("confirm.me")
    choice = walk.page.locator("button.choice:not([disabled])").first
    for screen in ("departments", "doctors", "slots"):
        await choice.wait_for(timeout=WAIT_MS)
        await walk.page.wait_for_timeout(500)
        await walk.shoot(screen)
        await choice.click()
    await walk.page.locator("button.primary.big").wait_for(timeout=WAIT_MS)
    await walk.shoot("hold")
    await walk.press("frame.quit")
    await walk.page.locator("button.start").wait_for(timeout=WAIT_MS)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else "var/patient-gallery")))
