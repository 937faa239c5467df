"""A whole agent with the demonstration's profile on the devices of a lab, both in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from agent.app import Agent, prepare
from agent.maintenance.access import FILE, CodeFile
from agent.settings import DevicesSettings, LocalApiSettings, Settings
from kit.clock import SystemClock
from kit.supervise import spawn
from simulators.lab.card_service import CardService
from simulators.lab.devices.card_reader import CardReader
from simulators.lab.kiosk import DEMO_FIRMWARE, DEMO_FULL, LabKiosk, Via
from simulators.lab.lab import Lab, one_kiosk
from simulators.lab.serving import IMAGES
from support.card_service import socket_dir
from support.device_page import Page, open_page
from support.lab_bench import Engineer, running
from support.tree import ROOT

PROFILES = ROOT / "firmware_profiles/kiosks"
PLACES = {"demo_full": DEMO_FULL, "demo_firmware": DEMO_FIRMWARE}


@dataclass(frozen=True, slots=True)
class LabAgent:
    """Both sides of a kiosk, and pages on them."""

    tester: Engineer
    agent: Agent
    folder: Path

    @property
    def agent_url(self) -> str:
        """Where the agent's own pages are."""
        return f"http://127.0.0.1:{self.agent.local_api.port}"

    @property
    def bench_url(self) -> str:
        """The bench page with its token."""
        return f"{self.tester.url}/#token={self.tester.server.token}"

    @property
    def unready(self) -> set[str]:
        """Devices that cannot be used."""
        assert self.agent.devices is not None
        return {seen.component for seen in self.agent.devices.seen() if seen.state != "ready"}

    async def maintenance_code(self) -> str:
        """What `kiosk-agent maintenance code` prints."""
        codes = CodeFile(self.folder / "data" / FILE, self.agent.host_boot)
        return await asyncio.to_thread(codes.issue, SystemClock())


@asynccontextmanager
async def agent_on_lab(folder: Path, profile: str = "demo_full") -> AsyncIterator[LabAgent]:
    """Both, up; devices may still be starting."""
    kiosk = await asyncio.to_thread(_kiosk, folder, profile)
    stop = asyncio.Event()
    async with running(Lab([kiosk], SystemClock()), folder) as tester:
        agent = await asyncio.to_thread(_agent, folder, kiosk)
        async with asyncio.TaskGroup() as group:
            serving = spawn(group, agent.run(stop=stop), "agent")
            await agent.local_api.started()
            yield LabAgent(tester, agent, folder)
            stop.set()
            await serving


@asynccontextmanager
async def page_at_work(folder: Path) -> AsyncIterator[tuple[Engineer, Page, Agent]]:
    """Both, and a page on the agent's WebSocket."""
    async with agent_on_lab(folder) as kiosk, open_page(kiosk.agent.local_api.port, kiosk.agent.token.value) as page:
        yield kiosk.tester, page, kiosk.agent


def _agent(folder: Path, kiosk: LabKiosk) -> Agent:
    prepare(folder / "data")
    devices = DevicesSettings(
        kiosk_profile=PROFILES / f"{kiosk.profile}.yaml",
        ports=kiosk.ports,
        retry_cap_s=0.05,
        firmware_dir=folder / IMAGES,
    )
    settings = Settings(data_dir=folder / "data", local_api=LocalApiSettings(port=0), devices=devices)
    return Agent(settings, SystemClock(), "boot")


def _kiosk(folder: Path, profile: str) -> LabKiosk:
    quick = [place for place in PLACES[profile] if place.via is not Via.PCSC]
    kiosk = one_kiosk("kiosk-1", profile, quick, folder / "kiosk-1", SystemClock(), 1)
    service = CardService(folder / "pcscd", "kiosk-1")
    service.prepare(socket_dir())
    kiosk.devices["card_reader"] = CardReader("card_reader", "generic-pcsc", service)
    return kiosk
