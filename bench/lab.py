"""All devices of one kiosk, simulated in a process of their own."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from support.processes import Child
from support.waiting import wait_for

PROFILE = "demo_full"
_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Bench:
    """Its devices and a tester's hand on them."""

    place: Mapping[str, Any]
    http: aiohttp.ClientSession
    url: str

    @property
    def settings(self) -> dict[str, str]:
        """What an agent on these devices has in its environment."""
        ports = {name: port for name, port in self.place["ports"].items() if port}
        return {
            "KIOSK_DEVICES__KIOSK_PROFILE": PROFILE,
            **{f"KIOSK_DEVICES__PORTS__{name.upper()}": port for name, port in ports.items()},
            **self.place["environment"],
        }

    async def do(self, component: str, action: str, **arguments: object) -> None:
        """One action of the lab."""
        where = f"{self.url}/api/v1/kiosks/{self.place['name']}/devices/{component}/actions"
        async with self.http.post(where, json={"action": action, "arguments": arguments}) as answer:
            assert answer.ok, await answer.text()


@asynccontextmanager
async def lab(folder: Path) -> AsyncIterator[Bench]:
    """Run it; `folder` must exist."""
    command = [sys.executable, "-m", "simulators", "lab", "run", "--kiosks", "1", "--dir", str(folder)]
    file = folder / "lab.json"
    with Child("lab", [*command, "--control-port", "0"], folder / "lab.log"):
        await wait_for(file.is_file, timeout_s=_TIMEOUT_S, what="the lab")
        said = json.loads(file.read_bytes())
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {said['token']}"}) as http:
            yield Bench(said["kiosks"][0], http, said["control_url"])
