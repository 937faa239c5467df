"""Patients at a kiosk of the whole demo: bills paid by a shown and by a scanned code, a doctor, each ending on paper.

Everything is real but the hospital: the page comes from the agent, the agent talks to simulated devices on their own
transports and to the patient platform with its certificate, the platform to wallets and a HIS on sockets.
"""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from e2e.browser import Visit, Watched
from e2e.conftest import MakeVisitor
from e2e.marks import E2E
from e2e.test_accessible import findings_now, overflow_px, overlaps
from playwright.async_api import Page, expect

from support.ports import free_port
from support.processes import Child
from support.waiting import wait_for

pytestmark = [*E2E, pytest.mark.timeout(240)]
PORTRAIT, LANDSCAPE = Visit(1080, 1920), Visit(1920, 1080)
OWN = frozenset({"his", "lab"})
"""Who people are is these simulators' own business."""
DEVICES = "/api/v1/kiosks/kiosk-1/devices"


@dataclass
class Hospital:
    """A running demo, and what testers can do to it."""

    http: aiohttp.ClientSession
    facts: dict[str, Any]

    @property
    def page_url(self) -> str:
        return f"{self.facts['kiosks'][0]['local_api_url']}/kiosk/"

    async def device(self, component: str, act: str, **arguments: object) -> None:
        """Do something to a device of the kiosk."""
        body = {"action": act, "arguments": arguments}
        async with self._lab("POST", f"{DEVICES}/{component}/actions", json=body) as response:
            assert response.status == 200, await response.text()

    async def receipts(self) -> list[str]:
        """Every paper that came out of the receipt printer, as text."""
        async with self._lab("GET", f"{DEVICES}/receipt_printer/receipts") as response:
            return [item["text"] for item in (await response.json())["items"]]

    async def phone(self, act: str, **body: object) -> dict[str, Any]:
        """Do something with a phone."""
        url = f"{self.facts['platform']['payments_url']}phone/{act}"
        async with self.http.post(url, json=body) as response:
            found: dict[str, Any] = await response.json()
            assert response.status < 300, found
            return found

    async def trades(self) -> list[dict[str, Any]]:
        """What the wallets know."""
        async with self.http.get(f"{self.facts['platform']['payments_url']}state") as response:
            found: list[dict[str, Any]] = (await response.json())["trades"]
            return found

    async def fault(self, operation: str, fault: str) -> None:
        """Script a fault of a wallet."""
        body = {"operation": operation, "fault": fault}
        async with self.http.post(f"{self.facts['platform']['payments_url']}faults", json=body) as response:
            assert response.status == 200

    def _lab(self, method: str, path: str, **options: Any) -> Any:  # noqa: ANN401 - aiohttp's own
        lab = self.facts["lab"]
        headers = {"Authorization": f"Bearer {lab['token']}"}
        return self.http.request(method, lab["control_url"] + path, headers=headers, **options)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def hospital(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Hospital]:
    """Run a demo with one full kiosk for all tests of this file."""
    folder = tmp_path_factory.mktemp("hospital")
    environ = {"DEMO_DIR": str(folder / "demo"), "DEMO_KIOSKS": "1", "DEMO_FULL": "1", "DEMO_PORT": str(free_port())}
    with Child.of_module("simulators", "demo", log_dir=folder, env=environ, name="demo") as demo:
        file = folder / "demo" / "demo.json"
        await wait_for(partial(_is_up_or_gone, demo, file), timeout_s=120.0, what="the demo")
        assert demo.is_running, demo.log()
        async with aiohttp.ClientSession() as http:
            yield Hospital(http, json.loads(file.read_bytes()))
        demo.send(signal.SIGINT)
        await wait_for(lambda: not demo.is_running, timeout_s=30.0, what="the demo ends")


def _is_up_or_gone(child: Child, file: Path) -> bool:
    return file.is_file() or not child.is_running


async def at_the_kiosk(hospital: Hospital, make_visitor: MakeVisitor, how: Visit = PORTRAIT) -> Watched:
    """Open the page and touch it."""
    visitor = await make_visitor(how)
    await visitor.page.goto(hospital.page_url)
    await visitor.page.get_by_role("button", name="点击开始").click()
    return visitor


async def identified(hospital: Hospital, page: Page, task: str, person: int) -> None:
    """Choose a task and lay an identity card on the reader."""
    await page.get_by_role("button", name=task).click()
    await expect(page.get_by_text("请出示证件或就诊码")).to_be_visible()
    await hospital.device("id_reader", "insert_card", person=person)
    await page.get_by_role("button", name="是我本人").click(timeout=15_000)
    await hospital.device("id_reader", "remove_card")


async def takes_paper_and_leaves(hospital: Hospital, page: Page, before: int) -> str:
    """The paper comes out, the page says so, the patient goes; the text on the paper."""
    await wait_for(partial(_has_more, hospital, before), timeout_s=40.0, what="a paper")
    await is_in_order(page)
    await page.get_by_role("button", name="完成").click(timeout=20_000)
    await expect(page.get_by_role("button", name="点击开始")).to_be_visible(timeout=15_000)
    return (await hospital.receipts())[-1]


async def is_in_order(page: Page) -> None:
    """No serious finding, nothing wider than the window."""
    found = await findings_now(page)
    assert [finding for finding in found if finding.startswith(("serious", "critical"))] == []
    assert await overflow_px(page) <= 0
    assert await overlaps(page) == []


async def test_a_prescription_is_paid_by_a_code_shown_to_the_scanner(
    hospital: Hospital, make_visitor: MakeVisitor
) -> None:
    before = len(await hospital.receipts())
    page = (await at_the_kiosk(hospital, make_visitor)).page
    await identified(hospital, page, "缴费", 11)
    await is_in_order(page)
    await page.get_by_role("button", name="确认，去支付").click()
    await expect(page.get_by_text("请选择付款方式")).to_be_visible()
    await is_in_order(page)
    code = await hospital.phone("code", wallet="wechat", balance_fen=10_000_000)
    await hospital.device("scanner", "scan", text=code["code"])
    text = await takes_paper_and_leaves(hospital, page, before)
    assert "微信支付" in text
    assert "缴费" in text


async def test_a_prescription_is_paid_by_a_code_on_the_screen(hospital: Hospital, make_visitor: MakeVisitor) -> None:
    before = len(await hospital.receipts())
    page = (await at_the_kiosk(hospital, make_visitor, LANDSCAPE)).page
    await identified(hospital, page, "缴费", 12)
    await page.get_by_role("button", name="确认，去支付").click()
    await page.get_by_role("button", name="支付宝").click()
    await expect(page.locator(".qr")).to_be_visible(timeout=15_000)
    await is_in_order(page)
    waiting = [trade for trade in await hospital.trades() if trade.get("qr") and trade["state"] != "SUCCESS"]
    await hospital.phone("pay", qr=waiting[-1]["qr"])
    assert "支付宝" in await takes_paper_and_leaves(hospital, page, before)


async def test_a_patient_registers_with_a_doctor(hospital: Hospital, make_visitor: MakeVisitor) -> None:
    before = len(await hospital.receipts())
    page = (await at_the_kiosk(hospital, make_visitor)).page
    await identified(hospital, page, "挂号", 13)
    await page.get_by_role("button", name="骨科").click()
    await is_in_order(page)
    await page.locator("button.choice:not([disabled])").first.click()
    await expect(page.locator("button.choice:not([disabled])").first).to_be_visible()
    await page.locator("button.choice:not([disabled])").first.click()
    await page.locator("button.primary.big").click()
    code = await hospital.phone("code", wallet="alipay", balance_fen=10_000_000)
    await expect(page.get_by_text("请选择付款方式")).to_be_visible()
    await hospital.device("scanner", "scan", text=code["code"])
    ticket = await takes_paper_and_leaves(hospital, page, before)
    assert "骨科" in ticket
    assert "门诊楼" in ticket


async def test_an_answer_that_is_lost_charges_once_and_the_page_says_so(
    hospital: Hospital, make_visitor: MakeVisitor
) -> None:
    before, trades = len(await hospital.receipts()), len(await hospital.trades())
    await hospital.fault("wechat.codepay", "drop_after")
    page = (await at_the_kiosk(hospital, make_visitor)).page
    await identified(hospital, page, "缴费", 14)
    await page.get_by_role("button", name="确认，去支付").click()
    code = await hospital.phone("code", wallet="wechat", balance_fen=10_000_000)
    await expect(page.get_by_text("请选择付款方式")).to_be_visible()
    await hospital.device("scanner", "scan", text=code["code"])
    await expect(page.get_by_text("请勿重复支付")).to_be_visible(timeout=15_000)
    await is_in_order(page)
    await page.reload()
    await expect(page.locator(".ticks")).to_be_visible(timeout=15_000)
    await takes_paper_and_leaves(hospital, page, before)
    assert len(await hospital.trades()) == trades + 1


async def test_nobody_who_paid_is_left_in_the_clear(hospital: Hospital) -> None:
    """Numbers and phones of those who paid: in no file of the whole demo but the HIS's and the laboratory's own."""
    folder = Path(hospital.facts["platform"]["data_dir"]).parent
    books = json.loads((folder / "his" / "his-books.json").read_text(encoding="utf-8"))
    people = [books["patients"][f"P{number:06d}"] for number in (11, 12, 13, 14)]
    secrets = [person[name].encode() for person in people for name in ("id_card", "phone", "card_no")]
    files = [file for file in folder.rglob("*") if file.is_file() and file.relative_to(folder).parts[0] not in OWN]
    assert len(files) > 30
    found = [(file, secret) for file in files for secret in secrets if secret in file.read_bytes()]
    assert found == []


async def _has_more(hospital: Hospital, before: int) -> bool:
    return len(await hospital.receipts()) > before
