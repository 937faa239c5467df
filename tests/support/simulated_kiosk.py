"""A whole agent with simulated devices on real lines, and a page on its WebSocket."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from agent.app import Agent, prepare
from agent.settings import DevicesSettings, LocalApiSettings, Settings
from kit.clock import SystemClock
from kit.supervise import spawn
from simulators.devices.id_card_reader import IdCardReaderCore
from simulators.devices.io_board import IoBoardCore
from simulators.devices.pin_pad import PinPadCore
from simulators.devices.qr_scanner import QrScannerCore, Speech
from simulators.devices.receipt_printer import Family, LiveReceiptPrinter, Model, ReceiptPrinterCore
from simulators.devices.report_printer import ReportPrinterCore
from simulators.devices.report_printer_server import ReportPrinterServer
from simulators.devices.transports import PtyServer
from support.device_contract import check_said
from support.device_page import Page, open_page
from support.tree import ROOT
from support.waiting import wait_for

DEVICES = {
    "id_reader": "generic-sdt-serial",
    "scanner": "newland-fm530",
    "receipt_printer": "custom-kpm150h",
    "report_printer": "generic-ipp_everywhere",
    "pin_pad": "generic-gz_b_epp",
    "io_board": "waveshare-modbus_rtu_io8",
}
QUICK = [name for name in DEVICES if name != "receipt_printer"]


@dataclass
class Kiosk:
    """A kiosk on one machine with its simulated devices."""

    reader: IdCardReaderCore = field(default_factory=IdCardReaderCore)
    scanner: QrScannerCore = field(default_factory=lambda: QrScannerCore(Speech.NEWLAND))
    receipts: ReceiptPrinterCore = field(
        default_factory=lambda: ReceiptPrinterCore(
            Model(family=Family.CUSTOM, charset="gb2312", dots_per_s=16_000, take_after_s=0.5)
        )
    )
    reports: ReportPrinterCore = field(default_factory=ReportPrinterCore)
    pad: PinPadCore = field(default_factory=PinPadCore)
    board: IoBoardCore = field(default_factory=IoBoardCore)
    agent: Agent | None = None

    def is_ready(self, *components: str) -> bool:
        assert self.agent is not None
        assert self.agent.devices is not None
        return all(self.agent.devices.look(name).state == "ready" for name in components or DEVICES)


def _agent(folder: Path, report_port: int) -> Agent:
    (folder / "kiosks").mkdir()
    (folder / "devices").mkdir()
    for model in DEVICES.values():
        text = (ROOT / f"firmware_profiles/devices/{model}.yaml").read_text(encoding="utf-8")
        if "receipt_printer" in text and "quirks:" in text:
            text = text.replace("quirks:\n", "quirks:\n  poll_s: 0.1\n")
        (folder / f"devices/{model}.yaml").write_text(text, encoding="utf-8")
    rows = "".join(f"  - {{component: {name}, device: {model}}}\n" for name, model in DEVICES.items())
    (folder / "kiosks/k.yaml").write_text(f"model: K\ntitle_zh: 一\ntitle_en: One\ndevices:\n{rows}", encoding="utf-8")
    prepare(folder / "data")
    ports = {name: str(folder / name) for name in DEVICES} | {
        "report_printer": f"ipp://127.0.0.1:{report_port}/ipp/print"
    }
    devices = DevicesSettings(kiosk_profile=folder / "kiosks/k.yaml", ports=ports, retry_cap_s=0.05)
    settings = Settings(data_dir=folder / "data", local_api=LocalApiSettings(port=0), devices=devices)
    return Agent(settings, SystemClock(), "boot")


@asynccontextmanager
async def running(folder: Path, kiosk: Kiosk) -> AsyncIterator[Page]:
    """The kiosk with all its devices ready, and a page on it."""
    live = LiveReceiptPrinter(kiosk.receipts)
    async with AsyncExitStack() as stack:
        stack.callback(live.close)
        for name, core in (
            ("id_reader", kiosk.reader), ("scanner", kiosk.scanner), ("receipt_printer", live),
            ("pin_pad", kiosk.pad), ("io_board", kiosk.board),
        ):  # fmt: skip
            await stack.enter_async_context(PtyServer(core, folder / name))
        server = await stack.enter_async_context(ReportPrinterServer(kiosk.reports, time.monotonic))
        agent = kiosk.agent = await asyncio.to_thread(_agent, folder, server.port)
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            serving = spawn(group, agent.run(stop=stop), "agent")
            await agent.local_api.started()
            await wait_for(lambda: kiosk.is_ready(*QUICK), what="the devices that start at once")
            async with open_page(agent.local_api.port, agent.token.value, check_said) as page:
                yield page
            stop.set()
            await serving
