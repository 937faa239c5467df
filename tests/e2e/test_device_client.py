"""The pages' TypeScript client of the device API, in a real browser against the agent's own channel."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from e2e.browser import Watched
from e2e.kiosk_rig import KioskRig
from e2e.marks import E2E
from e2e.serving import ROOT
from playwright.async_api import Page

from agent.local_api.auth import LocalToken
from support.ports import free_port
from support.waiting import wait_for
from wire.faults import Fault
from wire.presence import Activity

pytestmark = E2E
SOURCE = ROOT / "web_kit" / "src" / "devices"
BUNDLER = ROOT / "node_modules" / ".bin" / "rolldown"
PARTS = ("browser", "session", "failure", "../live/browser")
TRY = "(work) => work.then((value) => ({ value }), (error) => ({ reason: error.reason, code: error.errorCode }))"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def client(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Give the client as one script that defines `kiosk`."""
    if not BUNDLER.exists():
        pytest.fail("the bundler is missing: npm ci")
    folder = tmp_path_factory.mktemp("client")
    entry, script = folder / "entry.ts", folder / "client.js"
    lines = "\n".join(f'export * from "{SOURCE / name}";' for name in PARTS)
    await asyncio.to_thread(entry.write_text, lines)
    bundling = await asyncio.create_subprocess_exec(
        str(BUNDLER), str(entry), "--format", "iife", "--name", "kiosk", "--file", str(script),
        env={"PATH": f"{ROOT / '.venv' / 'bin'}:/usr/bin:/bin"}, stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert await bundling.wait() == 0
    return await asyncio.to_thread(script.read_text)


@pytest_asyncio.fixture(loop_scope="session")
async def rig(tmp_path: Path) -> AsyncIterator[tuple[KioskRig, str]]:
    made = KioskRig(tmp_path)
    async with made.serving() as url:
        yield made, url


async def connect(page: Page, url: str, client: str) -> None:
    """Open a page that the agent serves, and the client in it."""
    await page.goto(f"{url}/maintenance")
    await page.evaluate(f"{client}; window.kiosk = kiosk; window.attempt = {TRY}; 0")
    await page.evaluate("window.devices = kiosk.connectDevices(); window.devices.connected()")


async def holds(page: Page, condition: str) -> None:
    """Wait for a condition; Playwright's own way would break the page's policy."""

    async def is_so() -> bool:
        return bool(await page.evaluate(condition))

    await wait_for(is_so, what=condition)


async def test_status_commands_events_and_cancel(rig: tuple[KioskRig, str], visitor: Watched, client: str) -> None:
    kiosk, url = rig
    page = visitor.page
    await connect(page, url, client)
    assert await page.evaluate("devices.components.value.get('ups')") == {"device": "online", "faults": []}
    kiosk.become("receipt_printer", values={"paper": "low"}, faults={Fault.PAPER_LOW: ""})
    await holds(page, "devices.components.value.get('receipt_printer').paper === 'low'")
    said = await page.evaluate(
        """async () => {
          const leaving = new AbortController(), heard = [];
          const onEvent = (event) => { heard.push(event.name); leaving.abort(); };
          const ended = await attempt(devices.call("Test.Wait", {}, { signal: leaving.signal, onEvent }));
          const late = await attempt(devices.call("Test.Wait", {}, { timeoutMs: 20 }));
          const wrong = await attempt(devices.call("Session.End", { lease: "nobody's" }));
          return { heard, ended: ended.reason, late: late.reason, wrong };
        }"""
    )
    assert said == {
        "heard": ["Test.WaitingEvent"],
        "ended": "canceled",
        "late": "timeOut",
        "wrong": {"reason": "commandErrorCode", "code": "noSession"},
    }


async def test_a_session_is_kept_and_given_back(rig: tuple[KioskRig, str], visitor: Watched, client: str) -> None:
    kiosk, url = rig
    page = visitor.page
    await connect(page, url, client)
    await page.evaluate(
        """async () => {
          window.keeper = new kiosk.SessionKeeper(devices, kiosk.browserEnvironment);
          await keeper.begin({ isPatientThere: () => true, onOver: (end) => (window.over = end) });
          await keeper.pay(true);
        }"""
    )
    assert kiosk.lease.activity() is Activity.PAYING
    await page.evaluate("keeper.pay(false).then(() => keeper.end())")
    assert kiosk.lease.activity() is Activity.IDLE
    assert await page.evaluate("over") == "ended"


async def test_an_agent_that_comes_back_is_found_again(tmp_path: Path, visitor: Watched, client: str) -> None:
    kiosk, port, page = KioskRig(tmp_path), free_port(), visitor.page
    async with kiosk.serving(port) as url:
        await connect(page, url, client)
        await page.evaluate("window.open_one = attempt(devices.call('Test.Wait', {})); window.marked = true; 0")
    assert await page.evaluate("open_one") == {"reason": "connection_lost", "code": None}
    refused = await page.evaluate("attempt(devices.call('Session.State', {}))")
    assert refused["reason"] == "not_connected"
    async with kiosk.serving(port):
        await page.evaluate("devices.connected()")
        assert (await page.evaluate("devices.call('Session.State', {})"))["activity"] == "idle"
    kiosk.token = LocalToken("next-boot")
    async with kiosk.serving(port):
        await page.wait_for_selector('meta[content="next-boot"]', state="attached")
    visitor.complaints.clear()  # refused connections are what this is about
