"""An engineer puts firmware on a scanner at the kiosk; the agent is a process of its own, and is killed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agent.__main__ import main
from agent.maintenance.access import FILE, CodeFile
from kit.clock import SystemClock
from simulators.devices.boot_loader import BootFault
from simulators.lab.device import Kind
from simulators.lab.devices.qr_scanner import QrScanner
from simulators.lab.firmware import write_images
from simulators.lab.kiosk import Place, Via, build
from support.device_contract import check_said
from support.device_page import Page, open_page
from support.ports import free_port
from support.processes import Child
from support.tree import ROOT
from support.waiting import wait_for

OLD, NEW = "LAB-R01", "LAB-R02"
KIOSK = """
model: one
title_zh: 一
title_en: One
devices:
  - {component: scanner, device: lab-ssi_scanner}
"""
SETTINGS = """
data_dir = "{data}"
profile_dir = "{profiles}"
log_json = false

[local_api]
port = {port}

[devices]
kiosk_profile = "one"
firmware_dir = "{images}"
retry_cap_s = 0.05

[devices.ports]
scanner = "{scanner}"
"""


@dataclass
class Kiosk:
    """A kiosk with one scanner, which outlives its agents."""

    folder: Path
    port: int
    scanner: QrScanner
    agent: Child

    @asynccontextmanager
    async def page(self) -> AsyncIterator[Page]:
        """A page once the agent answers."""
        await self.agent.ready(lambda: self.agent.listens_on(self.port))
        token = await asyncio.to_thread((self.folder / "data/token").read_text)
        async with open_page(self.port, token.strip(), check_said) as page:
            yield page

    async def enter(self, page: Page) -> Engineer:
        """Begin maintenance."""
        boot = await asyncio.to_thread(Path("/proc/sys/kernel/random/boot_id").read_text)
        code = await asyncio.to_thread(CodeFile(self.folder / "data" / FILE, boot.strip()).issue, SystemClock())
        opened = await page.ask("Maintenance.Open", {"code": code, "engineer": "2017"})
        return Engineer(page, opened["payload"]["pass_word"])

    def on_disk(self) -> bytes:
        """Everything the agent has written."""
        return b"".join(file.read_bytes() for file in (self.folder / "data").rglob("*") if file.is_file())


@dataclass
class Engineer:
    """A page with maintenance open."""

    page: Page
    pass_word: str

    async def send(self, name: str, **payload: str) -> int:
        """Begin something."""
        return await self.page.send(f"Maintenance.{name}", {"pass_word": self.pass_word, **payload})

    async def ask(self, name: str, **payload: str) -> dict[str, Any]:
        """Do something to its end."""
        return await self.page.end(await self.send(name, **payload))

    async def offers(self) -> list[tuple[str | None, str, str | None]]:
        """What the scanner runs, could get, and why it cannot."""
        answer = await self.ask("Firmware")
        return [(one.get("runs"), one["version"], one.get("why_not")) for one in answer["payload"]["offers"]]


def _prepare(folder: Path, port: int) -> None:
    (folder / "profiles/kiosks").mkdir(parents=True)
    (folder / "profiles/devices").symlink_to(ROOT / "firmware_profiles/devices")
    (folder / "profiles/kiosks/one.yaml").write_text(KIOSK, encoding="utf-8")
    names = {"data": folder / "data", "profiles": folder / "profiles", "images": folder / "images"}
    settings = SETTINGS.format(port=port, scanner=folder / "scanner", **names)
    (folder / "agent.toml").write_text(settings, encoding="utf-8")
    write_images(folder / "images")


@pytest.fixture
async def kiosk(tmp_path: Path) -> AsyncIterator[Kiosk]:
    port = free_port()
    await asyncio.to_thread(_prepare, tmp_path, port)
    scanner = build(Place("scanner", Kind.QR_SCANNER, "lab-ssi_scanner", Via.PTY), tmp_path, SystemClock().monotonic, 1)
    assert isinstance(scanner, QrScanner)
    arguments = ("--config", str(tmp_path / "agent.toml"), "run")
    async with scanner:
        with Child.of_module("agent", *arguments, log_dir=tmp_path) as agent:
            yield Kiosk(tmp_path, port, scanner, agent)


async def test_an_engineer_updates_a_scanner(kiosk: Kiosk) -> None:
    async with kiosk.page() as page:
        engineer = await kiosk.enter(page)
        await _until_offered(engineer)
        assert await engineer.offers() == [(OLD, NEW, None), (OLD, "LAB-R03", "wrongVersion")]
        refused = await engineer.ask("UpdateFirmware", component="scanner", version="LAB-R03")
        assert refused["payload"]["errorCode"] == "wrongVersion"
        done = await engineer.ask("UpdateFirmware", component="scanner", version=NEW)
        assert done["payload"]["outcome"] == "passed"
        assert done["payload"]["values"] == {"before": OLD, "wanted": NEW, "runs": NEW}
        percents = [
            said["payload"]["percent"] for said in page.heard if said["header"]["name"] == "Maintenance.PercentEvent"
        ]
        assert percents[-1] == 100
        assert await engineer.offers() == [(NEW, "LAB-R03", None)]
        closed = await engineer.ask("Close")
        assert (closed["payload"]["results"], closed["payload"]["passed"]) == (1, 1)


async def test_a_page_that_goes_away_stops_nothing(kiosk: Kiosk) -> None:
    async with kiosk.page() as page:
        engineer = await kiosk.enter(page)
        await _until_offered(engineer)
        kiosk.scanner.boot.script(BootFault.LOST_ACK, block=5)
        number = await engineer.send("UpdateFirmware", component="scanner", version=NEW)
        await wait_for(lambda: kiosk.scanner.boot.blocks >= 5)
        await page.send("Common.Cancel", {"requestIds": [number]})
        assert (await page.end(number))["header"]["completionCode"] == "canceled"
        assert (await engineer.offers())[0][1:] == (NEW, "deviceBusy")
    async with kiosk.page():
        await wait_for(lambda: kiosk.scanner.core.revision == NEW, timeout_s=15.0)


@pytest.mark.timeout(100)
async def test_an_agent_killed_in_the_middle(kiosk: Kiosk) -> None:
    async with kiosk.page() as page:
        engineer = await kiosk.enter(page)
        await _until_offered(engineer)
        kiosk.scanner.boot.script(BootFault.LOST_ACK, block=5)
        await engineer.send("UpdateFirmware", component="scanner", version=NEW)
        await wait_for(lambda: kiosk.scanner.boot.blocks >= 5)
        await asyncio.to_thread(kiosk.agent.kill9)
    assert kiosk.scanner.boot.is_erased
    kiosk.agent.start()
    async with kiosk.page() as page:
        engineer = await kiosk.enter(page)
        await _until_offered(engineer, 75.0)
        assert await engineer.offers() == [(NEW, "LAB-R03", None)]
        assert kiosk.scanner.core.revision == NEW
        assert b"device_firmware" in await asyncio.to_thread(kiosk.on_disk)


def test_what_the_command_line_tells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _prepare(tmp_path, 8600)
    arguments = ["--config", str(tmp_path / "agent.toml"), "firmware", "list"]

    def told() -> tuple[object, list[str]]:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        return ended.value.code, capsys.readouterr().out.splitlines()

    code, lines = told()
    assert (code, len(lines)) == (0, 3)
    assert lines[0].endswith(str(tmp_path / "images"))
    assert lines[1].startswith(f"scanner  {OLD} → {NEW}  lab-ssi_scanner-LAB-R02.bin  正确 (ok)")
    (tmp_path / "images/lab-ssi_scanner-LAB-R02.bin").unlink()
    (tmp_path / "images/lab-ssi_scanner-LAB-R03.bin").write_bytes(b"other")
    code, lines = told()
    assert code == 1
    assert "缺少 (missing)" in lines[1]
    assert "不会使用" in lines[2]


async def _until_offered(engineer: Engineer, timeout_s: float = 15.0) -> None:
    """Wait until the scanner could get something."""

    async def is_offered() -> bool:
        offers = await engineer.offers()
        return any(runs and why_not is None for runs, _, why_not in offers)

    await wait_for(is_offered, timeout_s=timeout_s, what="a scanner that is ready")
