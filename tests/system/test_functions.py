"""The paper of a real agent's printer runs out, and people see it: over a real broker, within two seconds."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pyotp
import pytest

from agent.app import Agent, prepare
from agent.settings import DevicesSettings, LocalApiSettings, Settings
from kit.clock import SystemClock
from kit.supervise import spawn
from simulators.devices.receipt_printer import LiveReceiptPrinter, PrinterFault, ReceiptPrinterCore
from simulators.devices.transports import TcpServer
from support.hospital import Hospital
from support.identities import install_identity
from support.receipt_rig import EPSON
from support.tree import ROOT
from support.waiting import wait_for
from wire.device_api import DeviceMessage

pytestmark = [pytest.mark.system, pytest.mark.timeout(60)]
KID = "sim-0001"
SOON_S = 2.0
KIOSK = "model: K\ntitle_zh: 一\ntitle_en: One\ndevices: [{component: receipt_printer, device: epson-tm-t88vi}]\n"
ACCOUNT = {"username": "li.na", "password": "correct horse battery staple", "display_name": "李娜"}


def _agent(site: Hospital, folder: Path, printer: TcpServer) -> Agent:
    (folder / "kiosks").mkdir()
    (folder / "kiosks" / "k.yaml").write_text(KIOSK, encoding="utf-8")
    (folder / "devices").symlink_to(ROOT / "firmware_profiles" / "devices")
    prepare(folder / "data")
    install_identity(site, KID, folder / "data")
    ports = {"receipt_printer": f"{printer.host}:{printer.port}"}
    settings = Settings(
        data_dir=folder / "data",
        local_api=LocalApiSettings(port=0),
        devices=DevicesSettings(kiosk_profile=folder / "kiosks" / "k.yaml", ports=ports),
    )
    return Agent(settings, SystemClock(), "boot")


@asynccontextmanager
async def signed_in(site: Hospital) -> AsyncIterator[aiohttp.ClientSession]:
    """Somebody in front of the dashboard."""
    token = await asyncio.to_thread((site.fleet_dir / "first-admin.token").read_text, "ascii")
    headers = {"X-Requested-By": "test", "Origin": site.base_url}
    async with aiohttp.ClientSession(
        f"{site.base_url}", headers=headers, cookie_jar=aiohttp.CookieJar(unsafe=True)
    ) as http:
        made = await http.post("/api/v1/auth/first-admin", json={**ACCOUNT, "token": token.strip()})
        secret = (await made.json())["totp_secret"]
        form = {name: ACCOUNT[name] for name in ("username", "password")}
        answer = await http.post("/api/v1/auth/login", json={**form, "totp": pyotp.TOTP(secret).now()})
        assert answer.status < 300, await answer.text()
        yield http


async def _lost(http: aiohttp.ClientSession) -> list[dict[str, Any]]:  # Any: JSON
    answer = await http.get("/api/v1/kiosks", params={"function_lost": "print_ticket"})
    return [kiosk for kiosk in (await answer.json())["items"] if kiosk["kid"] == KID]


async def test_paper_that_runs_out_is_seen_by_pages_and_people(sqlite_site: Hospital, tmp_path: Path) -> None:
    site, core = sqlite_site, ReceiptPrinterCore(EPSON)
    await site.start_server()
    await asyncio.to_thread(
        site.run, "fleet_server", "lab-identities", "--count", "1", "--out", str(site.identities_dir)
    )
    live = LiveReceiptPrinter(core)
    async with TcpServer(live) as printer, signed_in(site) as http:
        agent, stop = await asyncio.to_thread(_agent, site, tmp_path, printer), asyncio.Event()
        heard: list[DeviceMessage] = []
        agent.feed.join(heard.append)

        async def states() -> dict[str, str]:
            answer = await http.get(f"/api/v1/kiosks/{KID}")
            return {one["function"]: one["state"] for one in (await answer.json())["functions"]}

        async def is_available() -> bool:
            return set((await states()).values()) == {"available"}

        async with asyncio.TaskGroup() as group:
            serving = spawn(group, agent.run(stop=stop), "agent")
            await wait_for(is_available, timeout_s=20.0, what="functions in the fleet")
            started_s = time.monotonic()
            core.script(PrinterFault.PAPER_OUT)
            await wait_for(lambda: _lost(http), timeout_s=10.0, what="the lost function in the fleet")
            took_s = time.monotonic() - started_s
            (kiosk,) = await _lost(http)
            (ticket,) = [one for one in kiosk["functions"] if one["function"] == "print_ticket"]
            assert ticket["because"] == [{"component": "receipt_printer", "code": "paper_out"}]
            assert [(one["consumable"], one["level"]) for one in kiosk["consumables"]] == [("paper", "empty")]
            pages = [message for message in heard if message.header.name == "Common.FunctionsChanged"]
            assert json.dumps(pages[-1].payload).count('"lost"') == 2
            assert [one.state for one in agent.view.state().functions] == ["lost", "lost"]
            core.repair()
            await wait_for(is_available, timeout_s=10.0, what="functions after the refill")
            stop.set()
            await serving
    live.close()
    assert took_s < SOON_S
