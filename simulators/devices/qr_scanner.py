"""A scanner without the scanner: plain lines, Newland's commands, Honeywell's trigger, framed codes, Zebra's SSI.

Written from Newland's FM530 guide, Honeywell's user guides and Zebra's SSI programmer's guide. The core is pure: what
a patient shows comes in by `show`, and goes out as bytes when the scanner is lit.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

_NEWLAND = re.compile(rb"\x7e\x010000([@#])([^\x03]*)\x3b\x03")
_NEWLAND_REPLY = b"\x02\x010000"
_ACK, _NAK = b"\x06", b"\x15"
_SSI_QR = 0x1C
_SSI_REVISION, _SSI_REPLY_REVISION = 0xA3, 0xA4
_SSI_ACK, _SSI_NAK, _SSI_START, _SSI_STOP, _SSI_DECODE = 0xD0, 0xD1, 0xE4, 0xE5, 0xF3
_SSI_MAX_DATA = 240
_RETRANSMITTED, _CONTINUED = 0x01, 0x02
_HISTORY = 64


class Speech(StrEnum):
    """Which dialect it speaks."""

    PLAIN = "plain"
    NEWLAND = "newland"
    HONEYWELL = "honeywell"
    SSI = "ssi"
    FRAMED = "framed"


class ScannerFault(StrEnum):
    """What can be made to go wrong, with the next `times` codes or commands."""

    TWICE = "twice"
    NO_SUFFIX = "no_suffix"
    NOISE = "noise"
    OVERLONG = "overlong"
    BAD_CHECKSUM = "bad_checksum"
    SILENT = "silent"
    REFUSES = "refuses"
    UNREADABLE = "unreadable"


@dataclass(slots=True)
class _Scripted:
    fault: ScannerFault
    after: int
    times: int


_OF_COMMANDS = frozenset({ScannerFault.SILENT, ScannerFault.REFUSES})


class QrScannerCore:
    """One scanner. `always_lit` is a scanner in sense mode; others light up when they are told to."""

    def __init__(
        self,
        speech: Speech = Speech.PLAIN,
        *,
        suffix: bytes = b"\r",
        aim: str = "",
        always_lit: bool | None = None,
        revision: str = "PAABLS00-001-R00",
    ) -> None:
        self.speech = speech
        self.is_lit = self._stays_lit = speech is Speech.PLAIN if always_lit is None else always_lit
        self.revision = revision
        self.settings: list[str] = []
        self.commands: list[str] = []
        self.acknowledged = self.shown = 0
        self._suffix = suffix
        self._aim = aim.encode("ascii")
        self._scripts: list[_Scripted] = []
        self._buffer = bytearray()
        self._unacknowledged: list[tuple[bytes, int]] = []
        self._send: Callable[[bytes], None] = lambda _: None

    def script(self, fault: ScannerFault, *, after: int = 0, times: int = 1) -> None:
        """Let `fault` happen once `after` more codes, or commands, went well."""
        self._scripts.append(_Scripted(fault, after, times))

    @property
    def scripted(self) -> tuple[ScannerFault, ...]:
        """What is still to happen."""
        return tuple(script.fault for script in self._scripts if script.times > 0)

    def repair(self) -> None:
        """Forget all scripted faults."""
        self._scripts.clear()

    def connected(self, send: Callable[[bytes], None]) -> None:
        """See `transports.Core`."""
        self._send = send
        self._buffer.clear()
        self._unacknowledged.clear()

    def show(self, code: str | bytes) -> bool:
        """Hold a code before the scanner; False when it is dark."""
        if not self.is_lit:
            return False
        data = code.encode("utf-8") if isinstance(code, str) else code
        self.shown += 1
        fault = self._due(of_commands=False)
        if fault is ScannerFault.UNREADABLE:
            data = b"\xff\xfe\x81\x00" + data
        if fault is ScannerFault.OVERLONG:
            data = data.ljust(6_000, b"9")
        if fault is ScannerFault.NOISE:
            self._send(b"\x02\x01\xf3\x00")
        for _ in range(2 if fault is ScannerFault.TWICE else 1):
            self._emit(data, fault)
        self.is_lit = self._stays_lit
        return True

    def received(self, data: bytes) -> None:
        """See `transports.Core`."""
        self._buffer += data
        match self.speech:
            case Speech.NEWLAND:
                self._newland()
            case Speech.HONEYWELL | Speech.FRAMED:
                self._honeywell()
            case Speech.SSI:
                self._ssi()
            case Speech.PLAIN:
                self._buffer.clear()
        del self._buffer[:-_HISTORY]

    # --- codes -------------------------------------------------------------------------------------------

    def _emit(self, data: bytes, fault: ScannerFault | None) -> None:
        if self.speech is Speech.FRAMED:
            self._send(b"\x02s" + data + (b"" if fault is ScannerFault.NO_SUFFIX else b"\x03\x04"))
            return
        if self.speech is not Speech.SSI:
            self._send(self._aim + data + (b"" if fault is ScannerFault.NO_SUFFIX else self._suffix))
            return
        chunks = [data[at : at + _SSI_MAX_DATA] for at in range(0, len(data), _SSI_MAX_DATA)] or [b""]
        for number, chunk in enumerate(chunks):
            status = 0 if number == len(chunks) - 1 else _CONTINUED
            self._unacknowledged.append((bytes((_SSI_QR,)) + chunk, status))
        self._send_first(is_broken=fault is ScannerFault.BAD_CHECKSUM)

    def _send_first(self, *, is_broken: bool = False, is_again: bool = False) -> None:
        """SSI: one packet at a time, the next when this one is acknowledged."""
        if self._unacknowledged:
            data, status = self._unacknowledged[0]
            raw = _packet(_SSI_DECODE, data, status | (_RETRANSMITTED if is_again else 0))
            self._send(raw[:-1] + bytes((raw[-1] ^ 0x55,)) if is_broken else raw)

    def _due(self, *, of_commands: bool) -> ScannerFault | None:
        for script in self._scripts:
            if (script.fault in _OF_COMMANDS) is not of_commands or script.times <= 0:
                continue
            if script.after > 0:
                script.after -= 1
                continue
            script.times -= 1
            return script.fault
        return None

    # --- commands ----------------------------------------------------------------------------------------

    def _newland(self) -> None:
        while found := _NEWLAND.search(self._buffer):
            storage, body = found.group(1), found.group(2)
            del self._buffer[: found.end()]
            fault = self._due(of_commands=True)
            if fault is ScannerFault.SILENT:
                continue
            mark = _NAK if fault is ScannerFault.REFUSES else _ACK
            settings = body.split(b";")
            if fault is None:
                for setting in settings:
                    self._set(setting.decode("ascii"), is_kept=storage == b"@")
            self._send(_NEWLAND_REPLY + storage + b";".join(part + mark for part in settings) + b"\x3b\x03")

    def _set(self, setting: str, *, is_kept: bool) -> None:
        if setting.startswith("SCNTRG"):
            self._light(is_on=setting.endswith("1"))
        else:
            self.settings.append(("@" if is_kept else "#") + setting)

    def _light(self, *, is_on: bool) -> None:
        self.commands.append("on" if is_on else "off")
        self.is_lit = is_on or self._stays_lit

    def _honeywell(self) -> None:
        while (at := self._buffer.find(b"\x0d")) >= 0:
            command = bytes(self._buffer[: at + 1])
            del self._buffer[: at + 1]
            if command in {b"\x16\x54\x0d", b"\x16\x55\x0d"} and self._due(of_commands=True) is None:
                self._light(is_on=command[1] == ord("T"))

    def _ssi(self) -> None:
        while self._buffer and len(self._buffer) >= self._buffer[0] + 2:
            end = self._buffer[0] + 2
            raw = bytes(self._buffer[:end])
            del self._buffer[:end]
            if (sum(raw[:-2]) + int.from_bytes(raw[-2:], "big")) & 0xFFFF:
                self._send(_packet(_SSI_NAK, b"\x01"))
                continue
            self._obey(raw[1])

    def _obey(self, opcode: int) -> None:
        if opcode == _SSI_ACK:
            self.acknowledged += 1
            del self._unacknowledged[:1]
            self._send_first()
            return
        if opcode == _SSI_NAK:
            self._send_first(is_again=True)
            return
        fault = self._due(of_commands=True)
        if fault is ScannerFault.SILENT:
            return
        if fault is ScannerFault.REFUSES:
            self._send(_packet(_SSI_NAK, b"\x02"))
        elif opcode == _SSI_REVISION:
            self._send(_packet(_SSI_REPLY_REVISION, f"{self.revision} 0 0 0 0 0 0 0 0".encode("ascii")))
        else:
            if opcode in {_SSI_START, _SSI_STOP}:
                self._light(is_on=opcode == _SSI_START)
            self._send(_packet(_SSI_ACK))


def _packet(opcode: int, data: bytes = b"", status: int = 0) -> bytes:
    body = bytes((4 + len(data), opcode, 0x00, status)) + data
    return body + (-sum(body) & 0xFFFF).to_bytes(2, "big")
