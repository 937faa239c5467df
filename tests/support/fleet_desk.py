"""Whoever is on duty, at a running demo: a staff session, and a phone that rings by our signed webhook."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import pyotp
from aiohttp import web

from kit.clock import SystemClock
from support.ports import free_port

Json = dict[str, Any]  # Any: whatever JSON a service answers


@dataclass
class Phone:
    """What rang, and when; a message with a wrong signature is refused."""

    url: str
    secret: str
    rang: list[tuple[datetime, Json]] = field(default_factory=list)
    refused: int = 0

    def of(self, incident: str) -> list[Json]:
        """The messages about one incident (`INC-000123`)."""
        return [said for _, said in self.rang if said["incident"] == incident]

    async def ring(self, request: web.Request) -> web.Response:
        """Take one message."""
        body = await request.read()
        wanted = f"sha256={hmac.new(self.secret.encode(), body, hashlib.sha256).hexdigest()}"
        if not hmac.compare_digest(wanted, request.headers.get("X-Signature", "")):
            self.refused += 1
            return web.Response(status=403)
        self.rang.append((SystemClock().utc(), json.loads(body)))
        return web.Response(status=204)


@asynccontextmanager
async def phone() -> AsyncIterator[Phone]:
    """A receiver on loopback."""
    port = free_port()
    found = Phone(f"http://127.0.0.1:{port}/ring", "a-secret-of-this-test")
    app = web.Application()
    app.router.add_post("/ring", found.ring)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield found
    finally:
        await runner.cleanup()


def paging_environ(folder: Path, called: Phone) -> dict[str, str]:
    """Settings of a fleet server that calls this phone."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("url", called.url), ("secret", called.secret)):
        (folder / name).write_text(text, encoding="utf-8")
    target = f'{{kind = "webhook", url_file = "{folder / "url"}", secret_file = "{folder / "secret"}"}}'
    return {  # inline tables of TOML
        "FLEET_PAGING__TARGETS": f"{{duty = {target}, lead = {target}}}",
        "FLEET_PAGING__LADDERS": (
            '{major = {steps = [{targets = ["duty"]}]}, critical = {steps = [{targets = ["duty", "lead"]}]}}'
        ),
    }


@dataclass
class FleetDesk:
    """A signed-in person."""

    http: aiohttp.ClientSession
    url: str

    async def get(self, path: str) -> Any:  # noqa: ANN401 - JSON
        """Read."""
        async with self.http.get(f"{self.url}/api/v1/{path}") as response:
            text = await response.text()
            assert response.ok, (path, text)
            return json.loads(text)

    async def post(self, path: str, body: Json | None = None, method: str = "POST") -> Any:  # noqa: ANN401 - JSON
        """Act."""
        headers = {"Origin": self.url, "X-Requested-By": "test"}
        url = f"{self.url}/api/v1/{path}"
        async with self.http.request(method, url, json=body, headers=headers) as response:
            text = await response.text()
            assert response.ok, (path, text)
            return json.loads(text) if text else None

    async def incidents(self, cause: str, state: str = "all") -> list[Json]:
        """Incidents of a cause, the newest first."""
        page = await self.get(f"incidents?state={state}&limit=200")
        return [one for one in page["items"] if one["cause"] == cause]

    async def order_of(self, incident: str) -> Json | None:
        """The work order of an incident."""
        page = await self.get("orders?state=all")
        found = next((one for one in page["items"] if one["incident"] == incident), None)
        return None if found is None else await self.get(f"orders/{found['id']}")


@asynccontextmanager
async def fleet_desk(facts: Json) -> AsyncIterator[FleetDesk]:
    """Sign in as the demo's administrator."""
    url = facts["dashboard_url"].rstrip("/")
    staff = facts["staff"]
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
        desk = FleetDesk(http, url)
        step_s = 30
        code = pyotp.TOTP(staff["totp_secret"]).at(int(SystemClock().utc().timestamp()) + step_s)  # the next one
        await desk.post("auth/login", {"username": staff["username"], "password": staff["password"], "totp": code})
        yield desk
