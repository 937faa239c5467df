"""A lab with one full kiosk and its control API, in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from kit.supervise import spawn
from simulators.lab.kiosk import DEMO_FULL, Via
from simulators.lab.lab import Lab
from simulators.lab.serving import LabServer

QUICK = tuple(place for place in DEMO_FULL if place.via is not Via.PCSC)
"""All devices but the one that needs a pcscd of its own."""


@dataclass
class Engineer:
    """A program on the control API."""

    http: aiohttp.ClientSession
    url: str
    server: LabServer

    async def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        async with self.http.request(method, self.url + path, json=body) as response:
            return response.status, await response.json(content_type=None)

    async def do(self, component: str, action: str, **arguments: object) -> dict[str, Any]:
        status, answer = await self.try_to(component, action, arguments)
        assert status == 200, answer
        assert isinstance(answer, dict)
        return answer

    async def try_to(self, component: str, action: str, arguments: Mapping[str, object]) -> tuple[int, Any]:
        body = {"action": action, "arguments": arguments}
        return await self.ask("POST", f"/api/v1/kiosks/kiosk-1/devices/{component}/actions", body)

    async def state(self, component: str) -> dict[str, Any]:
        status, answer = await self.ask("GET", f"/api/v1/kiosks/kiosk-1/devices/{component}")
        assert status == 200
        state: dict[str, Any] = answer["state"]
        return state

    @property
    def lab(self) -> Lab:
        return self.server.lab

    def core(self, component: str) -> Any:  # noqa: ANN401 - the core of whichever simulator
        return self.lab.device("kiosk-1", component).core  # type: ignore[attr-defined]  # tests look inside


@asynccontextmanager
async def running(lab: Lab, folder: Path) -> AsyncIterator[Engineer]:
    """The lab, up, and a tester who has the token."""
    server = LabServer(lab, folder)
    async with asyncio.TaskGroup() as group:
        tasks = [spawn(group, service.run(), service.name) for service in server.services]
        await lab.started()
        await server.http.started()
        headers = {"Authorization": f"Bearer {server.token}"}
        async with aiohttp.ClientSession(headers=headers) as http:
            yield Engineer(http, server.http.url, server)
        for task in tasks:  # together: streams of events end with the lab, and the server waits for them
            task.cancel()
        await asyncio.wait(tasks)
