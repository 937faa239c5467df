"""The A4 printer of a lab."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from simulators.devices.report_printer import JobState, PrinterFault, ReportPrinterCore
from simulators.devices.report_printer_server import ReportPrinterServer
from simulators.lab.actions import Arguments, Group, NoArguments, action, labelled, table
from simulators.lab.device import WIRED, Fact, FactValue, Kind, Swap, Tone, WiredDevice
from simulators.lab.relay import Relay

_PAGE_S = 0.25
_MODELS = ("generic-ipp_everywhere", "pantum-bp5100dn")


class JamAfter(Arguments):
    """Where it jams."""

    pages: int = labelled(0, "先打几页", "Pages before", ge=0, le=10_000)


class ReportScript(Arguments):
    """A fault after so many more pages or messages."""

    fault: PrinterFault = labelled(..., "故障", "Fault")
    after: int = labelled(0, "先正常几页/几次", "Pages or messages before", ge=0, le=10_000)
    times: int = labelled(1, "多少次", "Times", ge=1, le=100_000)


@dataclass(frozen=True, slots=True)
class Report:
    """One job."""

    number: int
    name: str
    state: JobState
    pages: int
    printed: int
    sides: str


class ReportPrinter(WiredDevice):
    """An IPP printer; the host reaches it through a relay that can fail."""

    kind = Kind.REPORT_PRINTER
    zh, en = "报告打印机 (A4)", "Report printer (A4)"
    models = _MODELS
    facts = (
        Fact("media_empty", "缺纸", "Media empty", Tone.ALARM),
        Fact("media_low", "纸少", "Media low", Tone.ALARM),
        Fact("jam", "卡纸", "Jammed", Tone.ALARM),
        Fact("door_open", "盖板打开", "Door open", Tone.ALARM),
        Fact("toner_low", "墨粉少", "Toner low", Tone.ALARM),
        Fact("toner_empty", "墨粉用尽", "Toner empty", Tone.ALARM),
        Fact("output_full", "出纸盘满", "Output full", Tone.ALARM),
        Fact("printing", "正在打印", "Printing", Tone.LIGHT),
        Fact("pages", "已打页数", "Pages"),
        Fact("jobs", "作业数", "Jobs"),
    )

    def __init__(self, component: str, model: str, now_s: Callable[[], float], port: int = 0) -> None:
        self.core = self._made(model)
        self._server = ReportPrinterServer(self.core, now_s)
        relay = Relay(lambda: self._server.port, port)
        super().__init__(component, model, relay, lambda: f"ipp://127.0.0.1:{relay.port}/ipp/print")

    @staticmethod
    def _made(model: str) -> ReportPrinterCore:
        name = "Pantum BP5100DN Series" if model == "pantum-bp5100dn" else "Simulated A4"
        return ReportPrinterCore(model=name, page_s=_PAGE_S)

    async def __aenter__(self) -> Self:
        await self._server.open()
        await super().__aenter__()
        self.core.uri = self.port
        return self

    async def __aexit__(self, *exc: object) -> None:
        await super().__aexit__(*exc)
        await self._server.close()

    def state(self) -> dict[str, FactValue]:
        """See `Device`."""
        core = self.core
        mechanical = {fact.name: PrinterFault(fact.name) in core.up for fact in self.facts[:7]}
        return {
            **mechanical,
            "printing": any(job.is_open for job in core.jobs.values()),
            "pages": core.pages_total,
            "jobs": len(core.jobs),
        }

    def armed(self) -> tuple[str, ...]:
        """See `Device`."""
        return tuple(fault.value for fault in self.core.scripted)

    def reports(self) -> list[Report]:
        """All jobs, oldest first."""
        return [
            Report(job.number, job.name, job.state, job.pages, job.printed, job.sides)
            for job in self.core.jobs.values()
        ]

    def tick(self, now_s: float, /) -> None:
        """See `Device`."""
        self.core.advance(now_s)

    async def swap(self, arguments: Swap) -> None:
        """See `Device`."""
        self.model = self.known_model(arguments.model)
        self.plug.unplug()
        self.core = self._server.core = self._made(self.model)
        self.core.uri = self.port
        await self.plug.plug()

    def _up(self, fault: PrinterFault) -> None:
        self.core.up.add(fault)

    async def media_empty(self, _: NoArguments) -> None:
        """The tray is empty."""
        self._up(PrinterFault.MEDIA_EMPTY)

    async def media_low(self, _: NoArguments) -> None:
        """The tray is almost empty."""
        self._up(PrinterFault.MEDIA_LOW)

    async def refill(self, _: NoArguments) -> None:
        """Paper is in."""
        self.core.repair(PrinterFault.MEDIA_EMPTY, PrinterFault.MEDIA_LOW)

    async def jam(self, arguments: JamAfter) -> None:
        """Jam after so many more pages."""
        if arguments.pages:
            self.core.script(PrinterFault.JAM, after=arguments.pages)
        else:
            self._up(PrinterFault.JAM)

    async def door_open(self, _: NoArguments) -> None:
        """Open the door."""
        self._up(PrinterFault.DOOR_OPEN)

    async def door_close(self, _: NoArguments) -> None:
        """Close it."""
        self.core.repair(PrinterFault.DOOR_OPEN)

    async def toner_low(self, _: NoArguments) -> None:
        """Toner is low."""
        self._up(PrinterFault.TONER_LOW)

    async def new_toner(self, _: NoArguments) -> None:
        """A new cartridge."""
        self.core.repair(PrinterFault.TONER_LOW, PrinterFault.TONER_EMPTY)

    async def script(self, arguments: ReportScript) -> None:
        """Let something go wrong."""
        self.core.script(arguments.fault, after=arguments.after, times=arguments.times)

    async def repair(self, _: NoArguments) -> None:
        """All is well."""
        self.core.forget_scripts()
        self.core.repair()

    actions = table(
        (
            action("refill", "加纸", "Refill the tray", Group.STAFF, NoArguments, refill),
            action("door_open", "打开盖板", "Open the door", Group.STAFF, NoArguments, door_open),
            action("door_close", "合上盖板", "Close the door", Group.STAFF, NoArguments, door_close),
            action("new_toner", "换墨粉", "New toner", Group.STAFF, NoArguments, new_toner),
            action("repair", "修好", "Repair", Group.STAFF, NoArguments, repair),
            action("media_empty", "缺纸", "Media empty", Group.WEAR, NoArguments, media_empty),
            action("media_low", "纸少", "Media low", Group.WEAR, NoArguments, media_low),
            action("jam", "卡纸", "Jam", Group.WEAR, JamAfter, jam),
            action("toner_low", "墨粉少", "Toner low", Group.WEAR, NoArguments, toner_low),
            action("script", "其他故障", "Other faults", Group.WEAR, ReportScript, script),
        ),
        WIRED,
        (action("offline", "脱机", "Offline", Group.WEAR, NoArguments, WiredDevice.lose),),
    )
