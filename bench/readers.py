"""What the agent adds to its readers: a document, a smart card's commands, and the way of a status to a page."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, Final

import yaml

from agent.devices.id_card_reader import frames
from agent.devices.id_card_reader.driver import FRAMINGS, SdtIdCardReader
from agent.links.base import ByteLink
from agent.links.serial_port import SerialLink, SerialSettings
from bench import ROOT
from bench.figures import percentile
from bench.harness import Better, Goal, Row, interleave, load_note, row
from bench.lab import lab
from kit.clock import SystemClock
from kit.supervise import spawn
from simulators.demo.hospital import assets
from simulators.devices.id_card_reader import IdCardReaderCore, SimulatedCard
from simulators.devices.receipt_printer import LiveReceiptPrinter, Model, ReceiptPrinterCore
from simulators.devices.transports import PtyServer, Send, TcpServer
from simulators.people import People
from support.broker import free_port
from support.device_page import Page, open_page
from support.owner import RecordingOwner
from support.processes import Child
from support.receipt_rig import EPSON_ANSWERS
from support.waiting import wait_for
from wire.profile import DeviceProfile

BAUD, BITS_PER_BYTE = 115_200, 10
READS, LAPS = 8, 5
CHANGES = 60
APDUS = 10_000
COMPONENT = "receipt_printer"
START_S = 20.0
_PROFILE = ROOT / "firmware_profiles" / "devices" / "generic-sdt-serial.yaml"
_ANSWER_BYTES: Final = 1_295
_TIMEOUT_S = 10.0


async def readers() -> list[Row]:
    """All rows."""
    return [*await _documents(), *await _status(), *await _apdus()]


# --- a document ----------------------------------------------------------------------------------------------


class Paced:
    """A device whose bytes need the time of a serial line, both ways."""

    def __init__(self, core: IdCardReaderCore) -> None:
        self._core = core
        self._free_at_s = 0.0

    def connected(self, send: Send) -> None:
        """See `Core`."""

        def later(data: bytes) -> None:
            self._after(len(data), lambda: send(data))

        self._core.connected(later)

    def received(self, data: bytes) -> None:
        """See `Core`."""
        self._after(len(data), lambda: self._core.received(data))

    def _after(self, count: int, work: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        self._free_at_s = max(self._free_at_s, loop.time()) + count * BITS_PER_BYTE / BAUD
        loop.call_at(self._free_at_s, work)


@asynccontextmanager
async def _reader() -> AsyncIterator[tuple[IdCardReaderCore, ByteLink]]:
    profile = DeviceProfile.model_validate(yaml.safe_load(_PROFILE.read_text(encoding="utf-8")))
    core = IdCardReaderCore()
    with tempfile.TemporaryDirectory() as folder:
        async with PtyServer(Paced(core), Path(folder) / "tty") as server:
            link = SerialLink(str(server.path), SerialSettings.of(profile.link))
            await link.open()
            try:
                yield core, link
            finally:
                await link.close()


async def _documents() -> list[Row]:
    profile = DeviceProfile.model_validate(yaml.safe_load(_PROFILE.read_text(encoding="utf-8")))
    card = SimulatedCard(People(7).person())
    async with AsyncExitStack() as stack:
        core, link = await stack.enter_async_context(_reader())
        bare_core, bare_link = await stack.enter_async_context(_reader())
        driver = SdtIdCardReader(link, profile, RecordingOwner(), SystemClock())
        await driver.start()
        group = await stack.enter_async_context(asyncio.TaskGroup())
        running = spawn(group, driver.run(), "driver")
        for each in (core, bare_core):
            each.put(card)
        await wait_for(lambda: driver.is_card_present, what="the card")
        framing = FRAMINGS[profile.dialect]

        async def ask(request: frames.Request, count: int) -> None:
            await bare_link.write(framing.encode(request), timeout_s=_TIMEOUT_S)
            heard = 0
            while heard < count:
                heard += len(await bare_link.read(timeout_s=_TIMEOUT_S))

        # found and selected, so that the bare side reads the same card
        await ask(frames.FIND, 15)
        await ask(frames.SELECT, 19)

        async def ours() -> float:
            started_s = monotonic()
            for _ in range(READS):
                assert await driver.read_document(timeout_s=_TIMEOUT_S) is not None
            return (monotonic() - started_s) / READS * 1_000

        async def bare() -> float:
            started_s = monotonic()
            for _ in range(READS):
                await ask(frames.READ_BASE, _ANSWER_BYTES)
            return (monotonic() - started_s) / READS * 1_000

        figures = await interleave({"ours": ours, "bare": bare}, LAPS)
        running.cancel()
    note = f"a resident card at 115,200 baud, parsed, while the driver goes on searching{load_note()}"
    return [row("readers.document", "ms", figures["ours"], figures["bare"], Goal(Better.LESS, 1.05), note)]


# --- a status ------------------------------------------------------------------------------------------------


class Timed:
    """A printer that knows when its last byte went out."""

    def __init__(self, printer: LiveReceiptPrinter) -> None:
        self._printer = printer
        self.sent_s = 0.0

    def connected(self, send: Send) -> None:
        """See `Core`."""

        def timed(data: bytes) -> None:
            send(data)
            self.sent_s = monotonic()

        self._printer.connected(timed)

    def received(self, data: bytes) -> None:
        """See `Core`."""
        self._printer.received(data)


async def _status() -> list[Row]:
    core = ReceiptPrinterCore(Model(information=EPSON_ANSWERS))
    live = LiveReceiptPrinter(core)
    timed = Timed(live)
    took_ms = []
    with tempfile.TemporaryDirectory() as name:
        async with TcpServer(timed) as port, _page(Path(name), f"{port.host}:{port.port}") as page:
            for number in range(CHANGES):
                core.sensors.paper_out = number % 2 == 0
                await page.until(partial(_says_paper, {"out"} if core.sensors.paper_out else {"full"}))
                took_ms.append((monotonic() - timed.sent_s) * 1_000)
    live.close()
    goal = Goal(Better.LESS, 50.0, absolute=True)
    note = f"99 of 100; median {statistics.median(took_ms):.1f} ms; paper out and in, printer to WebSocket{load_note()}"
    return [row("readers.status_to_page", "ms", percentile(took_ms, 0.99), None, goal, note)]


def _says_paper(wanted: AbstractSet[str], said: Mapping[str, Any]) -> bool:
    payload = said.get("payload") or {}
    return payload.get("component") == COMPONENT and payload.get("paper") in wanted


@asynccontextmanager
async def _page(folder: Path, printer: str) -> AsyncIterator[Page]:
    """A real agent with one printer, and a page on its WebSocket that knows the printer."""
    (folder / "kiosks").mkdir()
    (folder / "devices").symlink_to(ROOT / "firmware_profiles" / "devices")
    kiosk = folder / "kiosks" / "bench.yaml"
    place = f"{{component: {COMPONENT}, device: epson-tm-t88vi, port: '{printer}'}}"
    kiosk.write_text(f"model: bench\ntitle_zh: 测试\ntitle_en: bench\ndevices:\n  - {place}\n", encoding="utf-8")
    port = free_port()
    settings = {
        **os.environ,
        "KIOSK_DATA_DIR": str(folder / "agent"),
        "KIOSK_SERIAL": assets(1)[0].serial,
        "KIOSK_LOCAL_API__PORT": str(port),
        "KIOSK_DEVICES__KIOSK_PROFILE": str(kiosk),
    }
    with Child("agent", [sys.executable, "-m", "agent", "run"], folder / "agent.log", env=settings) as child:
        await wait_for(lambda: child.listens_on(port), timeout_s=START_S, what="the agent's local API")
        token = (folder / "agent" / "token").read_text(encoding="ascii").strip()
        async with open_page(port, token) as page:
            await page.until(partial(_says_paper, {"full"}))
            yield page


# --- smart cards ---------------------------------------------------------------------------------------------


async def _apdus() -> list[Row]:
    with tempfile.TemporaryDirectory() as name:
        async with lab(Path(name)) as bench:
            await bench.do("card_reader", "insert", kind="social_security")
            argv = [sys.executable, "-m", "bench.apdus", bench.place["ports"]["card_reader"], str(APDUS)]
            environ = {**os.environ, **bench.place["environment"]}
            done = await asyncio.to_thread(
                subprocess.run,
                argv,
                env=environ,
                cwd=ROOT,
                check=True,
                capture_output=True,
                text=True,
                timeout=300.0,
            )
    laps = [json.loads(line) for line in done.stdout.splitlines()]
    bare, watched, ours = (statistics.median(lap[name] for lap in laps) for name in ("bare", "watched", "ours"))
    note = f"bare SCardTransmit while our link watches the reader, {APDUS} to a virtual card{load_note()}"
    through = f"through the link, its thread and deadline{load_note()}"
    return [
        row("readers.apdu_while_watched", "APDU/s", watched, bare, Goal(Better.MORE, 0.95), note),
        row("readers.apdu_through_link", "APDU/s", ours, bare, Goal(Better.MORE, 0.5), through),
    ]
