"""A kiosk's local API with the pages the agent serves, and devices that do as the test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web
from pydantic import BaseModel

from agent.devices.id_card_reader.types import DocumentType, IdDocument, Sex
from agent.devices.machine import DeviceState
from agent.devices.receipt_printer.types import Evidence, PrintOutcome, PrintState, ReceiptJob
from agent.devices.ups.types import PowerReport, PowerSource
from agent.local_api import lease, maintenance
from agent.local_api.auth import LocalToken
from agent.local_api.channel import DeviceChannel
from agent.local_api.device_news import DEVICE
from agent.local_api.dialogue import Json, Progress, Verb
from agent.local_api.feed import Feed
from agent.local_api.lease import SessionLease
from agent.local_api.status_page import add_page
from kit.web import Guard, GuardSettings, HttpServer
from support.maintenance import Bench, make_bench
from wire.envelope import Scalar
from wire.faults import Fault
from wire.profile import Capability

if TYPE_CHECKING:
    from collections.abc import Mapping


class _Nothing(BaseModel):
    pass


class Reader:
    """Reads the test document as soon as somebody puts it there."""

    def __init__(self) -> None:
        self.card = asyncio.Event()

    async def read_document(self, *, timeout_s: float) -> IdDocument | None:
        """See `IdCardReader`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self.card.wait()
        except TimeoutError:
            return None
        self.card.clear()
        resident = DocumentType.RESIDENT
        return IdDocument(resident, "赵样例", "110101199001011237", True, Sex.FEMALE, date(1990, 1, 1), None, None)  # noqa: FBT003 - the document's own order


@dataclass
class Printer:
    """Prints at once, or says that it is out of paper."""

    fault: Fault | None = None
    jobs: list[ReceiptJob] = field(default_factory=list)

    async def print_receipt(self, job: ReceiptJob) -> PrintOutcome:
        """See `ReceiptPrinter`."""
        if self.fault is not None:
            return PrintOutcome(PrintState.FAILED, Evidence.STATUS, was_sent=False, fault=self.fault)
        self.jobs.append(job)
        return PrintOutcome(PrintState.PRINTED, Evidence.PROCESS_ID, was_sent=True)


@dataclass
class Board:
    """Lights that only remember."""

    places: tuple[str, ...] = ("id_card_reader", "receipt_printer")
    levels: Mapping[str, bool | None] = field(default_factory=dict)

    async def set_light(self, place: str, mode: str) -> None:
        """See `PaperSensor`."""


@dataclass
class Ups:
    """On mains."""

    power: PowerReport = field(default_factory=lambda: PowerReport(PowerSource.MAINS, charge_percent=97))


class KioskRig:
    """The rig: its devices, and what the fleet would hear."""

    def __init__(self, folder: Path) -> None:
        self.bench: Bench = make_bench(folder)
        self.feed = Feed()
        self.reader, self.printer = Reader(), Printer()
        self.lease = SessionLease(self.bench.clock)
        self.lease.barred = lambda: self.bench.maintenance.is_open
        self.token = LocalToken("first-boot")
        self.http: HttpServer | None = None
        self._dropped: asyncio.Event = asyncio.Event()
        for component, kind, driver in (
            ("id_reader", Capability.ID_CARD_READER, self.reader),
            ("receipt_printer", Capability.RECEIPT_PRINTER, self.printer),
            ("io_board", Capability.PAPER_SENSOR, Board()),
            ("ups", Capability.UPS, Ups()),
        ):
            self.bench.devices.put(component, kind, driver)
            self.become(component)

    def become(
        self,
        component: str,
        *,
        state: DeviceState = DeviceState.READY,
        faults: Mapping[Fault, str] | None = None,
        values: Mapping[str, Scalar] | None = None,
    ) -> None:
        """A device is another way now, and pages hear it."""
        self.bench.devices.become(component, state=state, faults=faults, values=values)
        names = sorted(fault.value for fault in faults or {})
        self.feed.status(component, {**(values or {}), "device": DEVICE[state], "faults": names})

    @asynccontextmanager
    async def serving(self, port: int = 0) -> AsyncIterator[str]:
        """Serve the pages and the channel; the address."""
        app = web.Application()
        commands = {
            **lease.verbs(self.lease),
            **maintenance.verbs(self.bench.maintenance, self.bench.devices),
            "Test.Wait": Verb(_Nothing, _wait),
        }
        DeviceChannel(commands, self.feed, self.token).mount(app)
        await asyncio.to_thread(add_page, app, self.token.value)
        guard = Guard(GuardSettings(hosts=frozenset({"127.0.0.1"})))
        http = HttpServer("local-api", app, guard=guard, host="127.0.0.1", port=port)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(http.run(), name="local api")
            try:
                await http.started()
                yield http.url
            finally:
                task.cancel()


async def _wait(_request: _Nothing, progress: Progress) -> Json:
    """Wait for ever, having said so."""
    progress.event("Test.WaitingEvent", {"since": "now"})
    await asyncio.Event().wait()
    raise AssertionError
