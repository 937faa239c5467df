"""The pages on the whole product, small: a real server, a real broker, kiosks that speak the real protocol."""

from __future__ import annotations

import json
import signal
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pyotp
import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from e2e.browser import Watched
from e2e.marks import E2E
from playwright.async_api import Page, expect

from kit.clock import SystemClock
from support.ports import free_port
from support.processes import Child
from support.waiting import wait_for
from wire.enrolment import pairing_code

pytestmark = [*E2E, pytest.mark.timeout(180)]
KIOSKS = 4
NEWCOMER = "asset_no,serial,place,area,floor,profile\nNEW-1,SN-E2E-1,试验台,试验区,1F,lobby-2024\n"


@pytest_asyncio.fixture(loop_scope="session")
async def demo(service_dir: Path) -> AsyncIterator[dict[str, Any]]:  # Any: `demo.json`
    """Run the demo; gives what it wrote for scripts."""
    folder = service_dir / "demo"
    environ = {"DEMO_DIR": str(folder), "DEMO_KIOSKS": str(KIOSKS), "DEMO_PORT": str(free_port())}
    with Child.of_module("simulators", "demo", log_dir=service_dir, env=environ) as child:
        file = folder / "demo.json"
        await wait_for(file.is_file, timeout_s=90.0, what="demo.json")
        yield json.loads(file.read_bytes())
        child.send(signal.SIGINT)
        await wait_for(lambda: not child.is_running, timeout_s=30.0, what="the demo ends")


async def sign_in(page: Page, demo: dict[str, Any]) -> None:
    staff = demo["staff"]
    await page.goto(f"{demo['dashboard_url'].rstrip('/')}/sign-in")
    await page.fill("input[name=username]", staff["username"])
    await page.fill("input[name=password]", staff["password"])
    # The demo signed in itself a moment ago, and no code is taken twice: the next one is already good.
    code = pyotp.TOTP(staff["totp_secret"]).at(SystemClock().utc(), counter_offset=1)
    await page.fill("input[autocomplete=one-time-code]", code)
    await page.press("input[autocomplete=one-time-code]", "Enter")
    await page.wait_for_selector("header.bar")


async def ask_for_an_identity(demo: dict[str, Any], serial: str) -> str:
    """Do what an agent without identity does; returns the code on its screen."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kiosk")])
    csr = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    form = {"csr": csr.public_bytes(serialization.Encoding.PEM).decode(), "serial": serial, "model": "lobby-2024"}
    context = ssl.create_default_context(cafile=demo["mqtt"]["ca_file"])
    url = f"{demo['kiosk_api_url'].rstrip('/')}/enrol/v1/requests"
    async with aiohttp.ClientSession() as session, session.post(url, json=form, ssl=context) as answer:
        assert answer.status < 300, await answer.text()
        nonce: str = (await answer.json())["nonce"]
    der = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return pairing_code(der, nonce)


async def import_assets(page: Page, csv: str) -> None:
    """Send an asset list as the signed-in person."""
    report = await page.evaluate(
        "csv => fetch('/api/v1/assets/import', {method: 'POST', body: JSON.stringify({csv}), "
        "headers: {'Content-Type': 'application/json', 'X-Requested-By': 'test'}}).then(r => r.json())",
        csv,
    )
    assert (report["created"], report["errors"]) == (1, [])


async def test_from_sign_in_to_a_new_kiosk(demo: dict[str, Any], visitor: Watched) -> None:
    page = visitor.page
    await sign_in(page, demo)
    await expect(page.locator("tbody tr[data-kid]")).to_have_count(KIOSKS)
    await expect(page.get_by_role("link", name="在线")).to_contain_text(str(KIOSKS), timeout=30_000)
    full = next(kiosk["kid"] for kiosk in demo["kiosks"] if kiosk["kind"] == "full")
    figures = page.locator(f"tr[data-kid={full}] .figure")
    await expect(figures.first).to_contain_text("%", timeout=40_000)
    await expect(page.locator(".badge")).to_have_class("badge fresh")

    async with page.expect_response("**/telemetry?*") as answer:
        await page.locator(f"tr[data-kid={full}] a.kid").click()
    histories = await (await answer.value).json()
    moments = [point["at"] for series in histories["series"] for point in series["points"]]
    assert moments
    assert histories["since"] <= min(moments)
    assert max(moments) <= histories["until"]
    await expect(page.get_by_role("heading", level=1)).to_have_text(full)
    await expect(page.locator("figure canvas")).not_to_have_count(0, timeout=40_000)
    await expect(page.locator(".strip rect.online")).not_to_have_count(0)
    await expect(page.get_by_text("Debian GNU/Linux 12")).to_be_visible()

    await import_assets(page, NEWCOMER)
    code = await ask_for_an_identity(demo, "SN-E2E-1")
    await page.get_by_role("link", name="设备登记").click()
    card = page.get_by_role("article", name="SN-E2E-1")
    await card.get_by_label("配对码").fill("000000" if code != "000000" else "000001")
    await card.get_by_label("配对码").press("Enter")
    await expect(card.get_by_role("alert")).to_contain_text("还可尝试 4 次")
    assert len(visitor.complaints) == 1
    visitor.complaints.clear()
    await card.get_by_label("配对码").fill(code)
    await card.get_by_label("配对码").press("Enter")
    await expect(page.locator("table")).to_contain_text("已确认")
    await page.get_by_role("link", name="new-1").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("new-1")
    await expect(page.get_by_role("button", name="撤销身份")).to_have_attribute("aria-disabled", "false")
