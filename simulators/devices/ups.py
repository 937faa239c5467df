"""A UPS without the UPS: upsd's side of the NUT line protocol, and what can go wrong with power.

The core is pure: bytes in, bytes out; `simulators.devices.transports` puts it on a port.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

_LINE_LIMIT = 4_096


class UpsFault(StrEnum):
    """What can be made to go wrong; it lasts until `repair`."""

    MAINS_LOST = "mains_lost"
    BATTERY_LOW = "battery_low"
    BATTERY_WORN = "battery_worn"
    OVERLOAD = "overload"
    FORCED_SHUTDOWN = "forced_shutdown"
    STALE = "stale"
    DRIVER_GONE = "driver_gone"
    SILENT = "silent"
    GARBAGE = "garbage"
    HALF_ANSWER = "half_answer"


@dataclass(slots=True)
class UpsCore:
    """State of one UPS called `name`."""

    name: str = "ups"
    maker: str = "Simulated"
    model: str = 'UPS "1000"'
    charge: int = 100
    runtime_s: int = 1_800
    up: set[UpsFault] = field(default_factory=set)
    _buffer: bytes = b""
    _send: Callable[[bytes], None] = field(default=lambda _: None, repr=False)

    def script(self, *faults: UpsFault) -> None:
        """Let these go wrong from now on."""
        self.up |= set(faults)

    def repair(self, *faults: UpsFault) -> None:
        """End these; all when none is named."""
        self.up -= set(faults) or set(self.up)

    @property
    def status(self) -> str:
        """`ups.status`."""
        flags = ["OB", "DISCHRG"] if UpsFault.MAINS_LOST in self.up else ["OL"]
        for fault, flag in (
            (UpsFault.BATTERY_LOW, "LB"),
            (UpsFault.BATTERY_WORN, "RB"),
            (UpsFault.OVERLOAD, "OVER"),
            (UpsFault.FORCED_SHUTDOWN, "FSD"),
        ):
            if fault in self.up:
                flags.append(flag)
        return " ".join(flags)

    def connected(self, send: Callable[[bytes], None]) -> None:
        """See `transports.Core`."""
        self._send, self._buffer = send, b""

    def received(self, data: bytes) -> None:
        """See `transports.Core`."""
        answer = self.feed(data)
        if answer:
            self._send(answer)

    def feed(self, data: bytes) -> bytes:
        """Answer the requests that are complete."""
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        self._buffer = self._buffer[-_LINE_LIMIT:]
        return b"".join(self._answer(line.decode("utf-8", "replace").split()) for line in lines)

    def _answer(self, words: list[str]) -> bytes:
        if UpsFault.SILENT in self.up:
            return b""
        if UpsFault.GARBAGE in self.up:
            return b'\x00\xff"quote\n'
        match words:
            case ["LIST", "VAR", name]:
                return self._trouble(name) or self._list()
            case ["GET", "VAR", name, variable]:
                return self._trouble(name) or self._one(variable)
            case ["LOGOUT"]:
                return b"OK Goodbye\n"
            case _:
                return b"ERR UNKNOWN-COMMAND\n"

    def _trouble(self, name: str) -> bytes:
        """Why there is no value; empty when there is."""
        if name != self.name:
            return b"ERR UNKNOWN-UPS\n"
        if UpsFault.STALE in self.up:
            return b"ERR DATA-STALE\n"
        return b"ERR DRIVER-NOT-CONNECTED\n" if UpsFault.DRIVER_GONE in self.up else b""

    def _one(self, variable: str) -> bytes:
        value = self._variables().get(variable)
        return f'VAR {self.name} {variable} "{value}"\n'.encode() if value is not None else b"ERR VAR-NOT-SUPPORTED\n"

    def _list(self) -> bytes:
        rows = [f'VAR {self.name} {variable} "{value}"' for variable, value in self._variables().items()]
        if UpsFault.HALF_ANSWER in self.up:
            return "\n".join([f"BEGIN LIST VAR {self.name}", *rows[:2]]).encode()
        return "\n".join([f"BEGIN LIST VAR {self.name}", *rows, f"END LIST VAR {self.name}", ""]).encode()

    def _variables(self) -> dict[str, str]:
        return {
            "device.mfr": _quoted(self.maker),
            "device.model": _quoted(self.model),
            "device.serial": "SIM0001",
            "ups.firmware": "1.0",
            "ups.status": self.status,
            "ups.load": "21",
            "battery.charge": str(self.charge),
            "battery.runtime": str(self.runtime_s),
            "input.voltage": "0.0" if UpsFault.MAINS_LOST in self.up else "229.5",
        }


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
