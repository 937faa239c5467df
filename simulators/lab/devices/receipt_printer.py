"""The receipt printer of a lab: what it printed stays here as items, lines and pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

from simulators.devices.boot_loader import BootLoader
from simulators.devices.receipt_page import Item, PrintedLine
from simulators.devices.receipt_printer import Family, LiveReceiptPrinter, Model, PrinterFault, ReceiptPrinterCore
from simulators.devices.transports import PtyServer, TcpServer
from simulators.lab.actions import Arguments, Group, NoArguments, action, labelled, table
from simulators.lab.device import WIRED, Fact, FactValue, Kind, Tone
from simulators.lab.errors import ActionRefused
from simulators.lab.firmware import ACTIONS, FACTS, SERIES, FlashableDevice

_TICK_S = 0.02
_KEPT = 200
_FIRMWARE = 65
"""Which GS I asks for the version."""


def _said(text: str) -> bytes:
    return b"_" + text.encode("ascii") + b"\x00"


_MODELS: Mapping[str, Model] = {
    "custom-kpm150h": Model(
        Family.CUSTOM, charset="gb2312", take_after_s=5.0, dots_per_s=1_200.0, knows_process_id=False
    ),
    "epson-tm-t88vi": Model(
        columns=42,
        charset="gb18030",
        dots_per_s=2_100.0,
        information={65: b"_3.01\x00", 66: b"_EPSON\x00", 67: b"_TM-T88VI\x00", 68: b"_LAB0000001\x00"},
    ),
    "lab-escpos_printer": Model(
        columns=42,
        charset="gb18030",
        dots_per_s=2_100.0,
        information={
            _FIRMWARE: _said(SERIES["lab-escpos_printer"].first),
            67: b"_LAB-PRINT\x00",
            68: b"_LAB0000002\x00",
        },
    ),
    "generic-escpos80": Model(charset="gb2312", knows_process_id=False, has_near_end=False, dots_per_s=1_200.0),
}


def _version(model: Model) -> str | None:
    said = (model.information or {}).get(_FIRMWARE)
    return None if said is None else said[1:-1].decode("ascii")


class JamAt(Arguments):
    """Where it jams."""

    line: int = labelled(7, "第几行", "Line", ge=1, le=10_000)


class Taking(Arguments):
    """How long a ticket hangs in the mouth before the patient takes it."""

    after_s: float = labelled(5.0, "多少秒后取走", "Taken after (s)", ge=0, le=3_600)
    forgets: bool = labelled(default=False, zh="忘记取走", en="The patient forgets it")


class PrinterScript(Arguments):
    """A fault after so many more printed lines."""

    fault: PrinterFault = labelled(..., "故障", "Fault")
    after: int = labelled(0, "先打印几行", "Lines before", ge=0, le=10_000)
    times: int = labelled(1, "多少次", "Times", ge=1, le=100_000)


@dataclass(frozen=True, slots=True)
class Receipt:
    """One receipt that was cut off; numbers start at 1 and are never given twice."""

    number: int
    items: tuple[Item, ...]


def text_of(items: tuple[Item, ...]) -> str:
    """The characters on a receipt."""
    return "\n".join(item.text for item in items if isinstance(item, PrintedLine))


class ReceiptPrinter(FlashableDevice):
    """An ESC/POS printer, with a presenter where the model has one."""

    kind = Kind.RECEIPT_PRINTER
    zh, en = "凭条打印机", "Receipt printer"
    models = tuple(_MODELS)
    facts = (
        Fact("paper_low", "纸将尽", "Paper low", Tone.ALARM),
        Fact("paper_out", "缺纸", "Paper out", Tone.ALARM),
        Fact("jam", "卡纸", "Jammed", Tone.ALARM),
        Fact("cover_open", "上盖打开", "Cover open", Tone.ALARM),
        Fact("cutter", "切刀故障", "Cutter", Tone.ALARM),
        Fact("head_hot", "打印头过热", "Head hot", Tone.ALARM),
        Fact("presenter_jam", "出票口卡住", "Presenter jammed", Tone.ALARM),
        Fact("unrecoverable", "不可恢复错误", "Unrecoverable error", Tone.ALARM),
        Fact("ticket", "凭条在出口", "A ticket in the mouth", Tone.LIGHT),
        Fact("lines", "已打行数", "Lines printed"),
        Fact("receipts", "已出凭条", "Receipts"),
        Fact("taken", "被取走", "Taken"),
        Fact("retracted", "被收回", "Retracted"),
        *FACTS,
    )

    def __init__(self, component: str, model: str, line: PtyServer | TcpServer) -> None:
        super().__init__(component, model, line)
        self.receipts: list[Receipt] = []
        self._given = 0
        self._live: LiveReceiptPrinter | None = None
        line.core = self.make_core(model)

    def make_core(self, model: str, /) -> BootLoader:
        """See `ByteDevice`."""
        if self._live is not None:
            self._collect()
            self._live.close()
        self.core = ReceiptPrinterCore(_MODELS[model])
        self._live = LiveReceiptPrinter(self.core, _TICK_S)
        return self.booted(self._live, model, self._install)

    def _install(self, version: str) -> None:
        model = self.core.model
        self.core.model = replace(model, information={**(model.information or {}), _FIRMWARE: _said(version)})

    async def __aexit__(self, *exc: object) -> None:
        await super().__aexit__(*exc)
        if self._live is not None:
            self._live.close()

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        return self

    def state(self) -> dict[str, FactValue]:
        """See `Device`."""
        core, sensors = self.core, self.core.sensors
        return {
            "paper_low": sensors.paper_low,
            "paper_out": sensors.paper_out,
            "jam": sensors.jam,
            "cover_open": sensors.cover_open,
            "cutter": sensors.cutter,
            "head_hot": sensors.head_hot,
            "presenter_jam": sensors.presenter_jam,
            "unrecoverable": sensors.unrecoverable,
            "ticket": sensors.ticket,
            "lines": core.printed,
            "receipts": self._given,
            "taken": core.taken,
            "retracted": core.retracted,
            **self.boot_state(_version(core.model)),
        }

    def armed(self) -> tuple[str, ...]:
        """See `Device`."""
        return (*super().armed(), *(fault.value for fault in self.core.scripted))

    def tick(self, _: float, /) -> None:
        """See `Device`."""
        self._collect()

    @property
    def columns(self) -> int:
        """Characters in a line."""
        return self.core.model.columns

    def hanging(self) -> tuple[Item, ...]:
        """What is printed and not cut off yet."""
        return tuple(self.core.page)

    def _collect(self) -> None:
        """Take over what was cut off, the newest are kept."""
        for items in self.core.receipts:
            self._given += 1
            self.receipts.append(Receipt(self._given, tuple(items)))
        self.core.receipts.clear()
        del self.receipts[:-_KEPT]

    async def paper_low(self, _: NoArguments) -> None:
        """The roll is near its end."""
        self.core.script(PrinterFault.PAPER_LOW)

    async def paper_out(self, _: NoArguments) -> None:
        """The roll is empty."""
        self.core.script(PrinterFault.PAPER_OUT)

    async def refill(self, _: NoArguments) -> None:
        """A new roll."""
        self.core.sensors.paper_low = self.core.sensors.paper_out = False

    async def jam_at_line(self, arguments: JamAt) -> None:
        """Jam once so many more lines are printed."""
        self.core.script(PrinterFault.JAM, after=arguments.line)

    async def open_cover(self, _: NoArguments) -> None:
        """Open it."""
        self.core.script(PrinterFault.COVER_OPEN)

    async def close_cover(self, _: NoArguments) -> None:
        """Close it."""
        self.core.sensors.cover_open = False

    async def cutter(self, _: NoArguments) -> None:
        """The cutter is stuck at the next cut."""
        self.core.script(PrinterFault.CUTTER)

    async def take_receipt(self, _: NoArguments) -> None:
        """The patient takes the ticket."""
        if not self.core.sensors.ticket:
            raise ActionRefused("出口没有凭条 · no ticket in the mouth")
        self.core.take()

    async def taking(self, arguments: Taking) -> None:
        """How fast the patient is."""
        after_s = float("inf") if arguments.forgets else arguments.after_s
        self.core.model = replace(self.core.model, take_after_s=after_s)

    async def script(self, arguments: PrinterScript) -> None:
        """Let something go wrong."""
        self.core.script(arguments.fault, after=arguments.after, times=arguments.times)

    async def repair(self, _: NoArguments) -> None:
        """Put in paper, close, clear, switch off and on."""
        self.core.repair()
        self.boot.repair()

    actions = table(
        (
            action("take_receipt", "取走凭条", "Take the receipt", Group.PATIENT, NoArguments, take_receipt),
            action("taking", "取票习惯", "How the patient takes it", Group.PATIENT, Taking, taking),
            action("refill", "换纸", "New roll", Group.STAFF, NoArguments, refill),
            action("cover_open", "打开上盖", "Open the cover", Group.STAFF, NoArguments, open_cover),
            action("cover_close", "合上上盖", "Close the cover", Group.STAFF, NoArguments, close_cover),
            action("repair", "修好（清卡纸、重启）", "Repair", Group.STAFF, NoArguments, repair),
            action("paper_low", "纸将尽", "Paper low", Group.WEAR, NoArguments, paper_low),
            action("paper_out", "缺纸", "Paper out", Group.WEAR, NoArguments, paper_out),
            action("jam_at_line", "打到某行卡纸", "Jam at a line", Group.WEAR, JamAt, jam_at_line),
            action("cutter", "切刀卡住", "Cutter stuck", Group.WEAR, NoArguments, cutter),
            action("script", "其他故障", "Other faults", Group.WEAR, PrinterScript, script),
            *ACTIONS,
        ),
        WIRED,
    )
