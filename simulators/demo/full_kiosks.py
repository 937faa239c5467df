"""The demo's kiosks with devices: an agent each, on simulated devices of one lab."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from simulators.demo.facts import KioskFacts, LabFacts
from simulators.demo.hospital import Asset
from simulators.demo.plan import Plan, entry_point
from simulators.demo.processes import Children

HOST = "127.0.0.1"
PAGE = Path(__file__).resolve().parents[2] / "kiosk_ui" / "dist"
"""The page for patients, where `make web` builds it."""
Json = Mapping[str, Any]  # Any: a JSON document


@dataclass(frozen=True, slots=True)
class FullKiosk:
    """One of them; `bench` names it in the lab."""

    asset: Asset
    folder: Path
    port: int
    bench: str

    @property
    def url(self) -> str:
        """Its local API and pages."""
        return f"http://{HOST}:{self.port}"

    def settings(self, plan: Plan, place: Json, firmware_dir: str) -> str:
        """The text of its agent.toml; `place` is what the lab says of it, `firmware_dir` where device firmware is."""
        ports = {name: port for name, port in place["ports"].items() if port}
        return "\n".join(
            [
                f"data_dir = {_toml(str(self.folder))}",
                f"serial = {_toml(self.asset.serial)}",
                f"profile = {_toml(self.asset.profile)}",
                "",
                "[local_api]",
                f"port = {self.port}",
                f"kiosk_page = {_toml(str(plan.page_dir))}",
                "",
                "[fleet]",
                f"enrol_url = {_toml(f'https://localhost:{plan.ports.kiosk_api}')}",
                f"ca_file = {_toml(str(plan.fleet_dir / 'pki' / 'ca.pem'))}",
                "poll_s = 1.0",
                "",
                "[broker]",
                'host = "localhost"',
                f"port = {plan.ports.broker}",
                "",
                "[platform]",
                f"url = {_toml(f'https://localhost:{plan.ports.platform}')}",
                "",
                "[devices]",
                f"kiosk_profile = {_toml(str(place['profile']))}",
                f"firmware_dir = {_toml(firmware_dir)}",
                "",
                "[devices.ports]",
                *(f"{_toml(name)} = {_toml(port)}" for name, port in sorted(ports.items())),
                "",
            ]
        )

    def facts(self) -> KioskFacts:
        """What scripts need of it."""
        return KioskFacts(
            kid=self.asset.kid,
            kind="full",
            local_api_url=self.url,
            token_file=str(self.folder / "token"),
            cert_file=str(self.folder / "identity" / "current" / "cert.pem"),
            key_file=str(self.folder / "identity" / "current" / "key.pem"),
            bench=self.bench,
        )

    async def view(self, http: aiohttp.ClientSession, resource: str) -> Json:
        """One resource of its local API."""
        token = (self.folder / "token").read_text(encoding="ascii").strip()
        async with http.get(f"{self.url}/api/v1/{resource}", headers={"Authorization": f"Bearer {token}"}) as answer:
            found: Json = await answer.json()
            return found


def full_kiosks(plan: Plan, assets: Sequence[Asset]) -> list[FullKiosk]:
    """The first kiosks of the hospital."""
    return [
        FullKiosk(asset, plan.agents_dir / asset.kid, port, f"kiosk-{number}")
        for number, (asset, port) in enumerate(zip(assets, plan.ports.local_apis, strict=False), start=1)
    ]


class Lab:
    """The process with all simulated devices."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._file = plan.lab_dir / "lab.json"

    async def start(self, children: Children) -> None:
        """Start it; it is there as soon as `is_up`."""
        plan = self._plan
        self._file.unlink(missing_ok=True)
        await asyncio.to_thread(_copy_page, plan.page_dir)
        command = [entry_point("kiosk-sim"), "lab", "run", "--kiosks", str(plan.full), "--dir", str(plan.lab_dir)]
        command += ["--control-port", str(plan.ports.lab), "--seed", str(plan.seed)]
        await children.start("lab", command)

    async def is_up(self) -> bool:
        """Whether every device is plugged in."""
        return self._file.is_file()

    def facts(self) -> LabFacts:
        """Where testers find it."""
        said = self._said()
        return LabFacts(bench_url=said["bench_url"], control_url=said["control_url"], token=said["token"])

    async def start_agent(self, children: Children, kiosk: FullKiosk) -> None:
        """Start the agent of one kiosk on its devices."""
        said = self._said()
        place = next(one for one in said["kiosks"] if one["name"] == kiosk.bench)
        settings = kiosk.settings(self._plan, place, str(said["firmware_dir"]))
        kiosk.folder.mkdir(parents=True, exist_ok=True)
        file = kiosk.folder / "agent.toml"
        await asyncio.to_thread(file.write_text, settings, encoding="utf-8")
        command = [entry_point("kiosk-agent"), "--config", str(file), "run"]
        await children.start(f"agent-{kiosk.asset.kid}", command, place.get("environment"))

    def _said(self) -> Json:
        said: Json = json.loads(self._file.read_bytes())
        return said


def _copy_page(to: Path) -> None:
    """The page as it is now: building it anew does not take it from under a running demo."""
    shutil.rmtree(to, ignore_errors=True)
    if PAGE.is_dir():
        shutil.copytree(PAGE, to)


def _toml(text: str) -> str:
    """A TOML string: JSON's escapes are among its own."""
    return json.dumps(text, ensure_ascii=False)
