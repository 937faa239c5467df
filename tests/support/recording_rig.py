"""Devices with the recorder between them and their simulators."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.devices.machine import DeviceState
from agent.devices.manager import DeviceManager, Seen, fitted
from agent.devices.profiles import Place
from agent.devices.recording import DeviceRecording
from agent.recorder.document import lines_of
from agent.recorder.recorder import Frozen, Limits, Recorder
from kit.clock import SystemClock
from kit.supervise import spawn
from simulators.devices.id_card_reader import IdCardReaderCore
from simulators.devices.pin_pad import PinPadCore
from simulators.devices.qr_scanner import QrScannerCore, Speech
from simulators.devices.receipt_printer import LiveReceiptPrinter, Model, ReceiptPrinterCore
from simulators.devices.report_printer import ReportPrinterCore
from simulators.devices.report_printer_server import ReportPrinterServer
from simulators.devices.transports import LinkFaults, PtyServer, TcpServer
from support.waiting import wait_for
from wire.envelope import Scalar
from wire.profile import DeviceProfile, KioskDevice


class Sink:
    def __init__(self) -> None:
        self.latest: dict[str, Seen] = {}

    async def changed(self, seen: Seen) -> None:
        self.latest[seen.component] = seen

    async def happened(self, component: str, name: str, fields: object) -> None:
        pass

    def alive(self, seen: Seen) -> None:
        pass


@dataclass
class Rig:
    recorder: Recorder
    manager: DeviceManager
    sink: Sink
    kept: list[Frozen]
    cores: dict[str, Any] = field(default_factory=dict)  # each device has its own kind
    lines: dict[str, PtyServer | TcpServer] = field(default_factory=dict)

    async def until(self, component: str, state: DeviceState) -> None:
        def is_so() -> bool:
            seen = self.sink.latest.get(component)
            return seen is not None and seen.state is state

        await wait_for(is_so, what=f"{component} {state}", timeout_s=8.0)

    def frozen(self, component: str) -> bytes:
        self.recorder.freeze(component, "device_error")
        return b"".join(lines_of(self.kept[-1]))


DEVICES: dict[str, dict[str, object]] = {
    "card_reader": {"capability": "card_reader", "dialect": "pcsc", "link": {"kind": "pcsc"}},
    "id_reader": {
        "capability": "id_card_reader",
        "dialect": "sdt",
        "link": {"kind": "serial"},
        "quirks": {"find_s": 0.02, "answer_s": 0.5, "read_s": 2.0, "newest_address": True},
    },
    "scanner": {
        "capability": "qr_scanner",
        "dialect": "ssi",
        "link": {"kind": "serial"},
        "capabilities": {"triggered": True},
        "quirks": {"answer_s": 0.5},
    },
    "pin_pad": {
        "capability": "pin_pad",
        "dialect": "gz_b",
        "link": {"kind": "serial"},
        "capabilities": {"encrypts": True},
        "quirks": {"answer_s": 0.5, "poll_s": 0.1},
    },
    "receipt_printer": {
        "capability": "receipt_printer",
        "dialect": "escpos",
        "link": {"kind": "tcp", "options": {"port": 9100}},
        "capabilities": {"process_id": True, "columns": 42, "near_end": True},
        "quirks": {"clear": "dle_dc4", "poll_s": 0.1, "answer_s": 0.5, "grace_s": 0.1, "patience_s": 2.0},
    },
    "report_printer": {
        "capability": "report_printer",
        "dialect": "ipp",
        "link": {"kind": "ipp"},
        "quirks": {"poll_s": 0.05, "job_poll_s": 0.02, "answer_s": 0.5, "settle_s": 0.1},
    },
}


def place_of(name: str, port: str | None = None, quirks: Mapping[str, Scalar] | None = None) -> Place:
    profile = DeviceProfile.model_validate({"vendor": "Test", "model": name, **DEVICES[name]})
    profile = profile.model_copy(update={"quirks": {**profile.quirks, **(quirks or {})}})
    return Place(KioskDevice(component=name, device="test"), profile, port)


@asynccontextmanager
async def running(
    tmp_path: Path, *names: str, faults: LinkFaults | None = None, quirks: Mapping[str, Scalar] | None = None
) -> AsyncIterator[Rig]:
    cores: dict[str, Any] = {  # each device has its own kind
        "id_reader": IdCardReaderCore(),
        "scanner": QrScannerCore(Speech.SSI),
        "pin_pad": PinPadCore(),
        "receipt_printer": ReceiptPrinterCore(Model(columns=42, dots_per_s=20_000)),
        "report_printer": ReportPrinterCore(),
    }
    ports: dict[str, str] = {}
    lines: dict[str, PtyServer | TcpServer] = {}
    async with AsyncExitStack() as stack:
        for name in names:
            if name == "report_printer":
                server = await stack.enter_async_context(ReportPrinterServer(cores[name], time.monotonic))
                ports[name] = f"127.0.0.1:{server.port}"
            elif name == "receipt_printer":
                live = LiveReceiptPrinter(cores[name])
                stack.callback(live.close)
                tcp = await stack.enter_async_context(TcpServer(live, faults=faults))
                ports[name], lines[name] = f"{tcp.host}:{tcp.port}", tcp
            else:
                pty = await stack.enter_async_context(PtyServer(cores[name], tmp_path / name, faults))
                ports[name], lines[name] = str(pty.path), pty
        async with managed(ports, quirks) as rig:
            rig.cores, rig.lines = cores, lines
            for name in names:
                await rig.until(name, DeviceState.READY)
            yield rig


@asynccontextmanager
async def managed(ports: Mapping[str, str], quirks: Mapping[str, Scalar] | None = None) -> AsyncIterator[Rig]:
    """A manager for devices that are there."""
    kept: list[Frozen] = []
    recorder = Recorder(SystemClock(), Limits(interval_s=0.0), kept.append)
    recording = DeviceRecording(recorder)
    sink = Sink()
    devices = fitted([place_of(name, port, quirks) for name, port in ports.items()], recording.wrapped)
    manager = DeviceManager(devices, sink, SystemClock(), cap_s=0.2, watch=recording)
    async with asyncio.TaskGroup() as group:
        task = spawn(group, manager.run(), "manager")
        rig = Rig(recorder, manager, sink, kept)
        yield rig
        task.cancel()
