"""A real Alertmanager tells a real fleet server: an alert becomes an alarm, and its end ends it."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from simulators.demo.fleet_client import FleetClient
from support.fleet_desk import FleetDesk
from support.hospital import Hospital, hospital
from support.observability import tool
from support.ports import free_port
from support.processes import Child
from support.stores import StoreFactory, database_url, postgres_server, stores
from support.tree import ROOT
from support.waiting import wait_for

__all__ = ["database_url", "postgres_server", "stores"]

CONFIG = ROOT / "dashboards" / "alertmanager" / "alertmanager.yml"
PASSWORD = "correct horse battery"


def test_amtool_takes_the_shipped_configuration() -> None:
    done = subprocess.run(
        [tool("amtool"), "check-config", str(CONFIG)], capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 receivers" in done.stdout


@pytest.fixture
async def site(stores: StoreFactory, service_dir: Path) -> AsyncIterator[Hospital]:
    url = stores.empty("sqlite")
    async with hospital(service_dir, url) as found:
        yield found
    stores.discard(url)


async def desk_of(site: Hospital, http: aiohttp.ClientSession) -> FleetDesk:
    """The first administrator, signed in."""
    client = FleetClient(http, site.base_url)
    token = (site.fleet_dir / "first-admin.token").read_text(encoding="ascii").strip()
    answer = await client.first_admin(token, "chief", PASSWORD)
    await client.sign_in("chief", PASSWORD, answer["totp_secret"])
    return FleetDesk(http, site.base_url)


def configured(folder: Path, site: Hospital, token: str, port: int) -> Child:
    """The shipped configuration with this test's address and token, sending at once."""
    (folder / "token").write_text(token, encoding="ascii")
    text = CONFIG.read_text(encoding="utf-8")
    text = text.replace("http://127.0.0.1:8080", site.base_url)
    text = text.replace("/etc/prometheus/fleet-alertmanager.token", str(folder / "token"))
    text = text.replace("group_wait: 5s", "group_wait: 1s").replace("group_interval: 30s", "group_interval: 1s")
    (folder / "alertmanager.yml").write_text(text, encoding="utf-8")
    command = [
        tool("prometheus-alertmanager"),
        f"--config.file={folder / 'alertmanager.yml'}",
        f"--storage.path={folder / 'alertmanager'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    return Child("alertmanager", command, folder / "alertmanager.log")


@pytest.mark.system
@pytest.mark.timeout(120)
async def test_an_alert_fires_and_resolves_for_real(site: Hospital, service_dir: Path) -> None:
    await site.start_server(roles="api,duties")
    port = free_port()
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
        staff = await desk_of(site, http)
        made = await staff.post("tokens", {"name": "alertmanager", "permissions": ["alarms.report"], "days": 30})
        with configured(service_dir, site, made["token"], port):
            await wait_for(lambda: _is_up(http, port), timeout_s=30.0, what="Alertmanager")
            labels = {"alertname": "BackupOld", "fault": "backup_old", "component": "backup", "severity": "major"}
            alert: dict[str, Any] = {"labels": labels, "startsAt": "2026-11-24T00:00:00Z"}
            await _send(http, port, alert)
            found = await wait_for(lambda: _alarms(staff), timeout_s=30.0, what="the alarm", poll_s=0.2)
            assert (found[0]["code"], found[0]["component"], found[0]["origin"]) == ("backup_old", "backup", "server")
            await _send(http, port, alert | {"endsAt": "2026-11-24T00:00:01Z"})
            await wait_for(lambda: _none(staff), timeout_s=30.0, what="its end", poll_s=0.2)


async def _is_up(http: aiohttp.ClientSession, port: int) -> bool:
    try:
        async with http.get(f"http://127.0.0.1:{port}/-/ready") as response:
            return response.ok
    except aiohttp.ClientError:
        return False


async def _send(http: aiohttp.ClientSession, port: int, alert: dict[str, Any]) -> None:
    async with http.post(f"http://127.0.0.1:{port}/api/v2/alerts", json=[alert]) as response:
        assert response.ok, await response.text()


async def _alarms(staff: FleetDesk) -> list[dict[str, Any]]:
    page = await staff.get("alarms?kid=server&state=open")
    return [alarm for alarm in page["items"] if alarm["code"] == "backup_old"]


async def _none(staff: FleetDesk) -> bool:
    return await _alarms(staff) == []
