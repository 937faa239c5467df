"""A simulated receipt printer behind a real port or a real pty, and a driver on it."""

from __future__ import annotations

import asyncio
import os
import tty
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import yaml

from agent.devices.receipt_printer.driver import EscposReceiptPrinter
from agent.devices.types import DeviceFacts, DeviceStatus
from agent.errors import DeviceFault
from agent.links.base import LinkError, LinkLost, LinkTimeout
from kit.clock import ManualClock
from simulators.devices.receipt_printer import Family, Model, ReceiptPrinterCore
from support.tree import ROOT
from wire.envelope import Scalar
from wire.faults import Fault
from wire.profile import DeviceProfile

TICK_S = 0.005


class Transport(StrEnum):
    TCP = "tcp"
    PTY = "pty"


@dataclass
class FakeOwner:
    statuses: list[DeviceStatus] = field(default_factory=list)
    events: list[tuple[str, Mapping[str, Scalar]]] = field(default_factory=list)
    signs: int = 0

    def status(self, status: DeviceStatus) -> None:
        self.statuses.append(status)

    def event(self, name: str, fields: Mapping[str, Scalar] | None = None) -> None:
        self.events.append((name, fields or {}))

    def alive(self) -> None:
        self.signs += 1

    @property
    def faults(self) -> set[Fault]:
        return set(self.statuses[-1].faults) if self.statuses else set()

    @property
    def values(self) -> Mapping[str, Scalar]:
        return self.statuses[-1].values if self.statuses else {}


@dataclass
class Bench:
    core: ReceiptPrinterCore
    driver: EscposReceiptPrinter
    owner: FakeOwner
    clock: ManualClock
    facts: DeviceFacts
    running: asyncio.Task[None]
    cut_off: Callable[[], None]


class StreamLink:
    """A `ByteLink` on asyncio streams, whatever they come from."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.name = "test"
        self.is_open = True

    async def open(self) -> None:
        self.is_open = True

    async def read(self, *, timeout_s: float) -> bytes:
        try:
            async with asyncio.timeout(timeout_s):
                data = await self._reader.read(65_536)
        except TimeoutError:
            raise LinkTimeout("read") from None
        except OSError as error:
            raise LinkLost("read") from error
        if not data:
            raise LinkLost("closed")
        return data

    async def write(self, data: bytes, *, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                self._writer.write(data)
                await self._writer.drain()
        except TimeoutError:
            raise LinkTimeout("write") from None
        except OSError as error:
            raise LinkLost("write") from error

    def discard(self) -> int:
        return 0

    async def close(self) -> None:
        self.is_open = False
        self._writer.close()


async def _tick(core: ReceiptPrinterCore, send: Callable[[bytes], None]) -> None:
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(TICK_S)
        if out := core.tick(loop.time()):
            send(out)


@asynccontextmanager
async def on_tcp(core: ReceiptPrinterCore) -> AsyncIterator[tuple[StreamLink, Callable[[], None]]]:
    loop = asyncio.get_running_loop()
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        while data := await reader.read(4_096):
            writer.write(core.receive(data, loop.time()))

    def abort() -> None:
        writers[-1].transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    link = StreamLink(*await asyncio.open_connection(host, port))
    async with asyncio.TaskGroup() as group:
        ticking = group.create_task(_tick(core, lambda out: writers[-1].write(out) if writers else None))
        try:
            yield link, abort
        finally:
            ticking.cancel()
            await link.close()
            for writer in writers:
                writer.transport.abort()
            server.close()


async def _streams(read_fd: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(os.dup(read_fd), "rb", 0))
    transport, protocol = await loop.connect_write_pipe(
        asyncio.streams.FlowControlMixin, os.fdopen(os.dup(read_fd), "wb", 0)
    )
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


@asynccontextmanager
async def _on_pty(core: ReceiptPrinterCore) -> AsyncIterator[tuple[StreamLink, Callable[[], None]]]:
    loop = asyncio.get_running_loop()
    master, slave = os.openpty()
    tty.setraw(slave)
    os.set_blocking(master, False)

    is_open = True

    def send(out: bytes) -> None:
        os.write(master, out)

    def reply(out: bytes) -> None:
        if is_open:
            send(out)

    def arrived() -> None:
        with suppress(OSError):
            if out := core.receive(os.read(master, 4_096), loop.time()):
                send(out)

    loop.add_reader(master, arrived)
    link = StreamLink(*await _streams(slave))

    def cut_off() -> None:
        nonlocal is_open
        if is_open:
            is_open = False
            loop.remove_reader(master)
            os.close(master)

    async with asyncio.TaskGroup() as group:
        ticking = group.create_task(_tick(core, reply))
        try:
            yield link, cut_off
        finally:
            ticking.cancel()
            cut_off()
            await link.close()
            os.close(slave)


def load_profile(name: str, **changes: Scalar) -> DeviceProfile:
    path: Path = ROOT / "firmware_profiles" / "devices" / f"{name}.yaml"
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    for key, value in changes.items():
        part = "quirks" if key in document["quirks"] else "capabilities"
        document[part][key] = value
    return DeviceProfile.model_validate(document)


@asynccontextmanager
async def printing(
    profile: DeviceProfile, model: Model, transport: Transport = Transport.TCP, *, is_running: bool = True
) -> AsyncIterator[Bench]:
    core = ReceiptPrinterCore(model)
    connected = on_tcp(core) if transport is Transport.TCP else _on_pty(core)
    async with connected as (link, cut_off):
        owner, clock = FakeOwner(), ManualClock()
        driver = EscposReceiptPrinter(link, profile, owner, clock)
        facts = await driver.start()
        async with asyncio.TaskGroup() as group:
            running = group.create_task(_quietly(driver) if is_running else asyncio.sleep(0))
            try:
                yield Bench(core, driver, owner, clock, facts, running, cut_off)
            finally:
                running.cancel()


async def _quietly(driver: EscposReceiptPrinter) -> None:
    with suppress(LinkError, DeviceFault):
        await driver.run()


EPSON_ANSWERS = {67: b"_TM-T88VI\x00", 65: b"_40.02 ESC/POS\x00", 68: b"_X2AB000001\x00"}
EPSON = Model(columns=42, dots_per_s=20_000, information=EPSON_ANSWERS)
CUSTOM = Model(family=Family.CUSTOM, charset="gb2312", dots_per_s=20_000, knows_process_id=False, take_after_s=0.3)
QUICK: Mapping[str, Scalar] = {"poll_s": 0.1, "patience_s": 1.5, "answer_s": 0.3, "grace_s": 0.1}
