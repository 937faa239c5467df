"""A client of the simulated HIS that knows nothing of its code: addresses, header and bodies by hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp

from kit.clock import ManualClock
from kit.supervise import TaskGroup, spawn
from simulators.his.server import HisServer, Place

START = datetime(2026, 3, 2, 2, 0, tzinfo=UTC)
"""Ten o'clock in China, a Monday."""
Json = dict[str, Any]  # Any: a JSON document


@dataclass(slots=True)
class Counter:
    """A kiosk's place at the HIS, and the testers' hand on it."""

    server: HisServer
    clock: ManualClock
    http: aiohttp.ClientSession
    facts: Json
    token: str

    async def call(self, operation: str, **parameters: object) -> Json:
        """One REST operation."""
        address, headers = f"{self.facts['base_url']}/{operation}", {"X-His-Token": self.token}
        async with self.http.post(address, json=parameters, headers=headers) as response:
            found: Json = await response.json()
            return found

    async def code(self, operation: str, **parameters: object) -> int:
        """What a REST operation says in its first field."""
        return int((await self.call(operation, **parameters))["code"])

    async def invoke(self, body: bytes, kind: str = "text/xml; charset=utf-8") -> tuple[int, bytes]:
        """One SOAP request as bytes."""
        headers = {"Content-Type": kind, "SOAPAction": '""'}
        async with self.http.post(self.facts["soap_url"], data=BytesIO(body), headers=headers) as response:
            return response.status, await response.read()

    async def sim(self, method: str, path: str, **body: object) -> Json:
        """One request of a tester."""
        async with self.http.request(method, f"{self.facts['control_url']}/{path}", json=body or None) as response:
            found: Json = await response.json()
            return {**found, "status": response.status}

    async def fault(self, operation: str, fault: str, **args: object) -> None:
        """Script one."""
        assert (await self.sim("POST", "faults", operation=operation, fault=fault, **args))["status"] == 200


@asynccontextmanager
async def counter(folder: Path, clock: ManualClock, concurrency: int = 64) -> AsyncIterator[Counter]:
    """Run a HIS with its books in a folder."""
    server = await asyncio.to_thread(HisServer, clock, Place(folder, concurrency=concurrency))
    async with TaskGroup() as group:
        tasks = [spawn(group, one.run(), one.name) for one in server.services]
        await server.started()
        facts = json.loads((folder / "his.json").read_text())
        token = Path(facts["token_file"]).read_text()
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:
            yield Counter(server, clock, http, facts, token)
        for task in tasks:
            task.cancel()
