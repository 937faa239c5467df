"""A receipt printer without the printer: ESC/POS of the Epson family, and of Custom's kiosk printers with a presenter.

Written from Epson's command reference, the TM-T88III and TM-U220 manuals and Custom's KPM150-H and KPM210 manuals.
The core is pure: bytes and the time go in, bytes come out. `LiveReceiptPrinter` puts it on a pty or a port.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from simulators.devices.receipt_page import Item, Paper, PaperCut, Step

XON, XOFF = b"\x11", b"\x13"
_CUT_S, _MOVE_S = 0.2, 0.1
_HIGH_WATER, _LOW_WATER = 0.75, 0.25
_DLE = 0x10
_CLEAR = b"\x10\x14\x08\x01\x03\x14\x01\x06\x02\x08"


class Family(StrEnum):
    """Whose dialect it speaks."""

    EPSON = "epson"
    CUSTOM = "custom"


class PrinterFault(StrEnum):
    """What can be made to go wrong; `after` counts printed lines and pictures."""

    PAPER_LOW = "paper_low"
    PAPER_OUT = "paper_out"
    JAM = "jam"
    COVER_OPEN = "cover_open"
    CUTTER = "cutter"
    HEAD_HOT = "head_hot"
    UNRECOVERABLE = "unrecoverable"
    PRESENTER_JAM = "presenter_jam"
    NOT_TAKEN = "not_taken"
    SILENT = "silent"
    HALF_PAGE = "half_page"
    XOFF_STORM = "xoff_storm"
    SLOW = "slow"
    NO_PROCESS_ID = "no_process_id"


@dataclass(frozen=True, slots=True)
class Model:
    """How the simulated printer is built."""

    family: Family = Family.EPSON
    columns: int = 48
    charset: str = "gbk"
    dots_per_s: float = 1_600.0
    buffer_bytes: int = 4_096
    speaks_xoff: bool = False
    has_near_end: bool = True
    knows_process_id: bool = True
    take_after_s: float = 1.0
    cool_s: float = 1.0
    seed: int = 1
    information: Mapping[int, bytes] | None = None


@dataclass(slots=True)
class Sensors:
    """What the printer knows of itself."""

    paper_low: bool = False
    paper_out: bool = False
    jam: bool = False
    cover_open: bool = False
    cutter: bool = False
    head_hot: bool = False
    unrecoverable: bool = False
    ticket: bool = False
    presenter_jam: bool = False

    @property
    def is_offline(self) -> bool:
        """Whether nothing is printed now."""
        return any(
            (
                self.paper_out,
                self.jam,
                self.cover_open,
                self.cutter,
                self.head_hot,
                self.unrecoverable,
            )
        )


@dataclass(slots=True)
class _Scripted:
    fault: PrinterFault
    after: int
    times: int


_LATER = (PrinterFault.CUTTER, PrinterFault.PRESENTER_JAM, PrinterFault.NOT_TAKEN, PrinterFault.NO_PROCESS_ID)


class ReceiptPrinterCore:
    """One printer. `receipts` are what was cut off, `slips` empty pieces, `page` is what hangs out."""

    def __init__(self, model: Model | None = None) -> None:
        self.model = model or Model()
        self.sensors = Sensors()
        self.paper = Paper(self.model.columns, self.model.charset)
        self.page: list[Item] = []
        self.receipts: list[list[Item]] = []
        self.taken = self.retracted = self.drawer_kicks = self.printed = self.slips = 0
        self._buffer = bytearray()
        self._scripts: list[_Scripted] = []
        self._random = random.Random(self.model.seed)
        self._asb = 0
        self._last_asb = b""
        self._is_stopped = self._has_xoff = self._is_mute = False
        self._now_s = self._free_at_s = 0.0
        self._cool_at_s = self._take_at_s = float("inf")
        self._urgent = bytearray()
        self._clear_asked = False

    # --- what testers do ---------------------------------------------------------------------------------

    def script(self, fault: PrinterFault, *, after: int = 0, times: int = 1) -> None:
        """Let `fault` happen once `after` more lines are printed; `times` counts cuts, tickets or process ids."""
        self._scripts.append(_Scripted(fault, self.printed + after, times))
        self._fire()

    @property
    def scripted(self) -> tuple[PrinterFault, ...]:
        """What is still to happen, and what goes on that no sensor shows."""
        stopped = (PrinterFault.HALF_PAGE,) if self._is_stopped else ()
        mute = (PrinterFault.SILENT,) if self._is_mute else ()
        return (*stopped, *mute, *(script.fault for script in self._scripts))

    def repair(self) -> None:
        """Put in paper, close the cover, clear every fault; one that had stopped is switched off and on."""
        if self._is_stopped:
            self._buffer.clear()
            self.paper.drop_line()
        self._scripts.clear()
        self.sensors = Sensors(ticket=self.sensors.ticket)
        self._is_stopped = self._is_mute = False
        self._cool_at_s = float("inf")

    def take(self) -> None:
        """Take the ticket out of the mouth."""
        if self.sensors.ticket:
            self.sensors.ticket = False
            self.taken += 1
            self._take_at_s = float("inf")

    # --- the wire ----------------------------------------------------------------------------------------

    def receive(self, data: bytes, now_s: float) -> bytes:
        """Take bytes from the host; the printer's bytes."""
        if self._is_stopped:
            return b""
        self._now_s = max(now_s, self._now_s)
        self._pass_time()
        out = self._real_time(data)
        if not self._buffer:
            self._free_at_s = max(self._free_at_s, self._now_s)
        self._buffer += data
        if self._clear_asked:
            self._buffer.clear()
            self.paper.drop_line()
            self._clear_asked = False
        return self._said(out) + self.tick(now_s)

    def tick(self, now_s: float) -> bytes:
        """Print as much as the time allows; the printer's bytes."""
        if self._is_stopped:
            return b""
        self._now_s = max(now_s, self._now_s)
        self._pass_time()
        if self.sensors.is_offline:
            self._free_at_s = max(self._free_at_s, self._now_s)
        out = b""
        while self._buffer and not self.sensors.is_offline and self._free_at_s <= now_s and not self._is_stopped:
            step = self.paper.take(bytes(self._buffer))
            if step is None:
                break
            del self._buffer[: step.consumed]
            out += self._do(step)
        return self._said(out + self._flow() + self._changes())

    @property
    def buffered(self) -> int:
        """Bytes that wait to be printed."""
        return len(self._buffer)

    def _said(self, out: bytes) -> bytes:
        return b"" if self._is_mute else out

    def _real_time(self, data: bytes) -> bytes:
        """Real-time commands work wherever their bytes stand, within pictures too."""
        out = b""
        for byte in data:
            self._urgent.append(byte)
            length = _real_time_length(self._urgent)
            if length == len(self._urgent):
                out += self._obey_at_once(bytes(self._urgent))
            if length == len(self._urgent) or not length:
                self._urgent.clear()
                if not length and byte == _DLE:
                    self._urgent.append(byte)
        return out

    def _obey_at_once(self, command: bytes) -> bytes:
        match command[1], command[2]:
            case 0x04, 1 | 2 | 3 | 4 as number:
                return bytes((self._dle_eot(number),))
            case 0x04, 0x14 if self.model.family is Family.CUSTOM:
                return self._full_status()
            case 0x05, 2:
                self.sensors.cutter = False
                self._clear_asked = True
            case 0x14, 8 if command == _CLEAR:
                self._clear_asked = True
                return b"\x37\x25\x00"
            case 0x14, 1:
                self.drawer_kicks += 1
            case _:
                pass
        return b""

    def _dle_eot(self, number: int) -> int:
        sensors = self.sensors
        has_error = sensors.cutter or sensors.unrecoverable or sensors.head_hot or sensors.jam
        low = sensors.paper_low and self.model.has_near_end
        return (
            0x12
            | {
                1: 0x08 * sensors.is_offline,
                2: 0x04 * sensors.cover_open | 0x20 * sensors.paper_out | 0x40 * has_error,
                3: 0x04 * sensors.jam | 0x08 * sensors.cutter | 0x20 * sensors.unrecoverable | 0x40 * sensors.head_hot,
                4: 0x0C * (low or (sensors.paper_out and self.model.has_near_end)) | 0x60 * sensors.paper_out,
            }[number]
        )

    def _full_status(self) -> bytes:
        sensors = self.sensors
        return bytes(
            (
                0x10,
                0x0F,
                0x01 * sensors.paper_out | 0x04 * sensors.paper_low | 0x20 * sensors.ticket,
                0x02 * sensors.cover_open | 0x04 * bool(self._buffer),
                0x01 * sensors.head_hot | 0x80 * sensors.jam,
                0x01 * sensors.cutter | 0x04 * sensors.unrecoverable,
            )
        )

    def _asb_bytes(self) -> bytes:
        sensors = self.sensors
        low = sensors.paper_low and self.model.has_near_end
        return bytes(
            (
                0x10 | 0x08 * sensors.is_offline | 0x20 * sensors.cover_open,
                0x04 * sensors.jam | 0x08 * sensors.cutter | 0x20 * sensors.unrecoverable | 0x40 * sensors.head_hot,
                0x03 * low | 0x0C * sensors.paper_out,
                0x00,
            )
        )

    def _ejector_status(self) -> int:
        sensors = self.sensors
        jam = 0xC0 * sensors.presenter_jam
        return 0x01 * sensors.paper_low | 0x04 * sensors.paper_out | 0x08 * sensors.ticket | jam

    # --- the works ---------------------------------------------------------------------------------------

    def _do(self, step: Step) -> bytes:
        slow = 10.0 if self._has(PrinterFault.SLOW) else 1.0
        self._free_at_s += step.dots / self.model.dots_per_s * slow
        out = b""
        if step.item is not None and not isinstance(step.item, PaperCut):
            self.page.append(step.item)
            self.printed += 1
            self._fire()
            if self._has(PrinterFault.XOFF_STORM):
                out += (XOFF + XON) * self._random.randint(1, 3)
        return out + self._obey(step.command)

    def _obey(self, command: bytes) -> bytes:
        match command[:3]:
            case b"\x1dV":
                self._cut()
            case b"\x1d(H":
                knows = self.model.knows_process_id and not self._use(PrinterFault.NO_PROCESS_ID)
                return b"\x37\x22" + command[7:11] + b"\x00" if knows else b""
            case b"\x1dr\x01" | b"\x1dr\x31":
                return bytes((0x03 * (self.sensors.paper_low and self.model.has_near_end),))
            case b"\x1de\x02" | b"\x1de\x03" | b"\x1de\x05" | b"\x1de\x06" if self.model.family is Family.CUSTOM:
                return self._eject(command[2])
            case _ if command[:2] == b"\x1da":
                self._asb, self._last_asb = command[2], b""
            case _ if command[:2] == b"\x1dI":
                return (self.model.information or {}).get(command[2], b"")
            case _ if command[:2] == b"\x1bp":
                self.drawer_kicks += 1
        return b""

    def _cut(self) -> None:
        if self._use(PrinterFault.CUTTER):
            self.sensors.cutter = True
            return
        self._free_at_s += _CUT_S
        if self.page:
            self.receipts.append([*self.page, PaperCut(0x42)])
        else:
            self.slips += 1
        self.page = []

    def _eject(self, number: int) -> bytes:
        self._free_at_s += _MOVE_S
        match number:
            case 2 if self.sensors.ticket and not self.sensors.presenter_jam:
                self.sensors.ticket = False
                self.retracted += 1
                self._take_at_s = float("inf")
            case 3 if self._use(PrinterFault.PRESENTER_JAM):
                self.sensors.presenter_jam = True
            case 3:
                self.sensors.ticket = True
                stays = self._use(PrinterFault.NOT_TAKEN)
                self._take_at_s = float("inf") if stays else self._now_s + self.model.take_after_s
            case 5:
                self.take()
            case 6:
                return bytes((self._ejector_status(),))
            case _:
                pass
        return b""

    def _pass_time(self) -> None:
        if self._now_s >= self._cool_at_s:
            self.sensors.head_hot = False
            self._cool_at_s = float("inf")
        if self._now_s >= self._take_at_s:
            self.take()

    def _flow(self) -> bytes:
        if not self.model.speaks_xoff:
            return b""
        share = len(self._buffer) / self.model.buffer_bytes
        if share >= _HIGH_WATER and not self._has_xoff:
            self._has_xoff = True
            return XOFF
        if share <= _LOW_WATER and self._has_xoff:
            self._has_xoff = False
            return XON
        return b""

    def _changes(self) -> bytes:
        if not self._asb or (now := self._asb_bytes()) == self._last_asb:
            return b""
        self._last_asb = now
        return now

    def _fire(self) -> None:
        due = [script for script in self._scripts if script.fault not in _LATER and script.after <= self.printed]
        for script in due:
            match script.fault:
                case PrinterFault.HALF_PAGE:
                    self._is_stopped = True
                case PrinterFault.SILENT:
                    self._is_mute = True
                case PrinterFault.XOFF_STORM | PrinterFault.SLOW:
                    continue
                case PrinterFault.HEAD_HOT:
                    self.sensors.head_hot = True
                    self._cool_at_s = max(self._now_s, self._free_at_s) + self.model.cool_s
                case fault:
                    setattr(self.sensors, fault.value, True)
            self._scripts.remove(script)

    def _has(self, fault: PrinterFault) -> bool:
        return any(script.fault is fault and script.after <= self.printed for script in self._scripts)

    def _use(self, fault: PrinterFault) -> bool:
        for script in self._scripts:
            if script.fault is fault and script.after <= self.printed:
                script.times -= 1
                if script.times == 0:
                    self._scripts.remove(script)
                return True
        return False


class LiveReceiptPrinter:
    """A printer on a line of `transports`: keeps its clock running for as long as it is plugged in."""

    def __init__(self, core: ReceiptPrinterCore, tick_s: float = 0.005) -> None:
        self.core = core
        self._tick_s = tick_s
        self._send: Callable[[bytes], None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connected(self, send: Callable[[bytes], None]) -> None:
        """See `transports.Core`."""
        self._send = send
        if self._timer is None:
            self._tick()

    def received(self, data: bytes) -> None:
        """See `transports.Core`."""
        self._say(self.core.receive(data, asyncio.get_running_loop().time()))

    def close(self) -> None:
        """Stop the clock."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._tick_s, self._tick)
        self._say(self.core.tick(loop.time()))

    def _say(self, out: bytes) -> None:
        if out and self._send is not None:
            self._send(out)


def _real_time_length(begun: bytearray) -> int:
    """How long the command is that begins like this; 0 when it is none."""
    if begun[0] != _DLE:
        return 0
    if len(begun) == 1:
        return 3
    if begun[1] in {0x04, 0x05}:
        return 3
    if begun[1] != 0x14:  # noqa: PLR2004 - DC4
        return 0
    return 10 if len(begun) > 2 and begun[2] == 8 else 5  # noqa: PLR2004 - the manual's lengths
