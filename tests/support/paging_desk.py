"""Alarms, incidents and paging on one store, with a real receiver of webhooks on loopback."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from fleet_server.alerts.model import AlarmEdge, AlarmOrigin
from fleet_server.alerts.store import AlarmStore
from fleet_server.incidents.duty import Fence, IncidentDuty, unfenced
from fleet_server.incidents.model import Incident
from fleet_server.incidents.service import OPEN_STATES, IncidentService
from fleet_server.incidents.store import IncidentStore
from fleet_server.paging.duty import PagingDuty, PagingParts
from fleet_server.paging.ports import OrderFeed
from fleet_server.paging.service import RosterService
from fleet_server.paging.store import PagingStore, RosterStore
from fleet_server.settings import PagingSettings
from kit.clock import ManualClock
from kit.store import Database
from support.incident_world import Grid
from wire.faults import FACTS, Fault
from wire.uplink import Edge

SECRET = "a shared secret of two machines"
LADDERS: dict[str, Any] = {  # Any: settings as they are read
    "major": {"steps": [{"targets": ["duty"]}, {"after_s": 300, "targets": ["second"]}], "repeat_s": 600}
}


@dataclass
class Receiver:
    """Somebody's webhook."""

    heard: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    signatures: list[bool] = field(default_factory=list)
    status: int = 200
    port: int = 0

    async def take(self, request: web.Request) -> web.Response:
        """Check a message and keep it."""
        body = await request.read()
        wanted = f"sha256={hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()}"
        self.signatures.append(hmac.compare_digest(wanted, request.headers.get("X-Signature", "")))
        if self.status == 200:
            self.heard.append((request.headers["Idempotency-Key"], json.loads(body)))
        return web.Response(status=self.status)


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """Listen on a free port."""
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/page", receiver.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.port = runner.addresses[0][1]
    try:
        yield receiver
    finally:
        await runner.cleanup()


class Desk:
    """Alarms, incidents and paging on one store."""

    def __init__(self, database: Database, clock: ManualClock, folder: Path, receiver: Receiver) -> None:
        self.database, self.clock, self.receiver = database, clock, receiver
        self.alarms, self.incident_store = AlarmStore(database), IncidentStore(database)
        self.incidents = IncidentService(database, self.incident_store, clock)
        self.correlate = IncidentDuty(database, self.alarms, self.incident_store, Grid(), clock)
        self.store = PagingStore(database)
        self.accounts = frozenset({"wang", "li", "zhao"})
        self._url, self._secret = folder / "url", folder / "secret"
        self._url.write_text(f"http://127.0.0.1:{receiver.port}/page\n")
        self._secret.write_text(SECRET)
        self.settings = self.with_settings()
        self.orders: OrderFeed | None = None
        self.duty = self.fresh_duty()
        self.started = [self.duty]

    def with_settings(self, *targets: str, **changed: object) -> PagingSettings:
        """Settings with these targets besides `duty` and `second`."""
        target = {"kind": "webhook", "url_file": self._url, "secret_file": self._secret}
        named = dict.fromkeys(("duty", "second", *targets), target)
        return PagingSettings.model_validate({"targets": named, "ladders": LADDERS, **changed})

    async def open_names(self) -> frozenset[str]:
        """The accounts that are open."""
        return self.accounts

    def roster(self) -> RosterService:
        """Who is on duty."""
        return RosterService(RosterStore(self.database), self.settings, self.open_names, self.clock)

    def fresh_duty(self, fence: Fence = unfenced) -> PagingDuty:
        """Give a duty with no memory, as after a restart."""
        parts = PagingParts(
            self.database,
            self.store,
            self.incidents,
            self.settings,
            self.clock,
            fence,
            "https://fleet.test",
            self.roster(),
            self.orders,
        )
        return PagingDuty(parts)

    async def renew(self, settings: PagingSettings) -> None:
        """Start anew with other settings."""
        self.settings = settings
        self.duty = self.fresh_duty()
        self.started.append(self.duty)

    async def alarm(self, kid: str = "kiosk-1", *, up: bool = True, fault: Fault = Fault.PAPER_OUT) -> None:
        """Raise or clear an alarm of a printer."""
        now, edge = self.clock.utc(), Edge.RAISE if up else Edge.CLEAR
        change = AlarmEdge(kid, "printer", fault.value, edge, FACTS[fault].severity, now, AlarmOrigin.KIOSK)
        await self.alarms.apply([change], now)

    async def works(self, seconds: float = 0.0) -> None:
        """Let time pass, then let both duties have a turn."""
        self.clock.advance(seconds)
        await self.correlate.turn()
        await self.duty.turn()

    async def incident(self) -> Incident:
        """The one that is open."""
        (found,) = await self.incidents.incidents(OPEN_STATES, limit=10)
        return found

    async def close(self) -> None:
        """End every duty that was started."""
        for duty in {*self.started, self.duty}:
            await duty.close()

    @property
    def told(self) -> int:
        """So many messages were heard."""
        return len(self.receiver.heard)

    @property
    def heard(self) -> list[dict[str, Any]]:  # Any: JSON documents
        """What they said."""
        return [page for _, page in self.receiver.heard]
