"""A board of switches and lights without the board: Modbus, as a serial line or as TCP has it.

Written from the Modbus specifications. The core is pure: bytes in, bytes out;
`simulators.devices.transports` puts it on a pty or a port.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

_RTU_REQUEST = {0x01: 8, 0x02: 8, 0x05: 8, 0x2B: 7}
_IDENTITY = 0x2B
_CHUNK = 4_096


class BoardFault(StrEnum):
    """What can be made to go wrong with so many answers."""

    SILENT = "silent"
    BAD_CHECKSUM = "bad_checksum"
    NOISE = "noise"
    HALF_ANSWER = "half_answer"
    WRONG_UNIT = "wrong_unit"
    EXCEPTION = "exception"
    OLD_ANSWER = "old_answer"


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (0xA001 if value & 1 else 0)
        table.append(value)
    return tuple(table)


_TABLE = _crc_table()


def _checksum(data: bytes) -> bytes:
    value = 0xFFFF
    for byte in data:
        value = (value >> 8) ^ _TABLE[(value ^ byte) & 0xFF]
    return struct.pack("<H", value)


def _is_short(pdu: bytes) -> bool:
    """Whether a request says less than its function needs."""
    needs = 5
    if pdu[0] == 0x0F and len(pdu) >= needs:  # noqa: PLR2004 - write multiple coils
        needs = 6 + (int.from_bytes(pdu[3:5], "big") + 7) // 8
    return len(pdu) < needs


@dataclass(slots=True)
class IoBoardCore:
    """Inputs, lights and what is scripted."""

    unit: int = 1
    framing: str = "rtu"
    inputs: list[bool] = field(default_factory=lambda: [False] * 16)
    lights: list[bool] = field(default_factory=lambda: [False] * 16)
    identity: tuple[str, ...] = ()
    """Maker, product, revision; a board without them knows no such question."""
    answers: int = 0
    _bouncing: dict[int, int] = field(default_factory=dict)
    _scripts: dict[BoardFault, int] = field(default_factory=dict)
    _buffer: bytes = b""
    _send: Callable[[bytes], None] = field(default=lambda _: None, repr=False)
    _last: bytes = b""

    def script(self, fault: BoardFault, *, times: int = 1) -> None:
        """Let the next `times` answers go wrong."""
        self._scripts[fault] = times

    @property
    def scripted(self) -> tuple[BoardFault, ...]:
        """What is still to happen."""
        return tuple(fault for fault, left in self._scripts.items() if left > 0)

    def repair(self) -> None:
        """Forget all scripted faults."""
        self._scripts.clear()
        self._bouncing.clear()

    def bounce(self, channel: int, *, reads: int) -> None:
        """Let an input chatter through so many reads."""
        self._bouncing[channel] = reads

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
        self._buffer = (self._buffer + data)[-_CHUNK:]
        found = b""
        while (request := self._request()) is not None:
            unit, head, pdu = request
            if unit == self.unit:
                found += self._frame(head, self._identified(pdu) if pdu[0] == _IDENTITY else self._answer(pdu))
        return found

    def _request(self) -> tuple[int, bytes, bytes] | None:
        if self.framing == "tcp":
            if len(self._buffer) < 8:  # noqa: PLR2004 - a header and a function
                return None
            (length,) = struct.unpack_from(">H", self._buffer, 4)
            if length < 2 or len(self._buffer) < 6 + length:  # noqa: PLR2004 - a unit and a function
                self._buffer = b"" if length < 2 else self._buffer  # noqa: PLR2004 - the same
                return None
            whole, self._buffer = self._buffer[: 6 + length], self._buffer[6 + length :]
            return whole[6], whole[:4], whole[7:]
        while len(self._buffer) >= 2:  # noqa: PLR2004 - unit and function
            size = _RTU_REQUEST.get(self._buffer[1])
            if self._buffer[1] == 0x0F:  # noqa: PLR2004 - write multiple coils
                size = 9 + self._buffer[6] if len(self._buffer) > 6 else 9  # noqa: PLR2004 - its byte count
            if size is not None and len(self._buffer) < size:
                return None
            frame = self._buffer[: size or 0]
            if frame and _checksum(frame[:-2]) == frame[-2:]:
                self._buffer = self._buffer[len(frame) :]
                return frame[0], b"", frame[1:-2]
            self._buffer = self._buffer[1:]
        return None

    def _due(self, fault: BoardFault) -> bool:
        left = self._scripts.get(fault, 0)
        self._scripts[fault] = max(0, left - 1)
        return left > 0

    def _answer(self, pdu: bytes) -> bytes:
        code = 4 if self._due(BoardFault.EXCEPTION) else 3 if _is_short(pdu) else 0
        if code:
            return bytes((pdu[0] | 0x80, code))
        function, address, amount = struct.unpack_from(">BHH", pdu)
        bank = self.lights if function in {0x01, 0x05, 0x0F} else self.inputs
        size = 1 if function == 0x05 else amount  # noqa: PLR2004 - one coil
        if address + size > len(bank):
            return bytes((function | 0x80, 2))
        match function:
            case 0x01 | 0x02:
                bits = [self._level(function, address + index) for index in range(amount)]
                packed = bytes(
                    sum(1 << index for index, bit in enumerate(bits[start : start + 8]) if bit)
                    for start in range(0, amount, 8)
                )
                return bytes((function, len(packed))) + packed
            case 0x05:
                bank[address] = amount == 0xFF00  # noqa: PLR2004 - on
                return pdu[:5]
            case 0x0F:
                for index in range(amount):
                    bank[address + index] = bool(pdu[6 + index // 8] >> index % 8 & 1)
                return pdu[:5]
            case _:
                return bytes((function | 0x80, 1))

    def _identified(self, pdu: bytes) -> bytes:
        """Read device identification, the basic objects."""
        if self._due(BoardFault.EXCEPTION) or not self.identity:
            return b"\xab\x01"
        if pdu[1:] != b"\x0e\x01\x00":
            return b"\xab\x03"
        objects = [bytes((number, len(text))) + text.encode("ascii") for number, text in enumerate(self.identity)]
        return b"\x2b\x0e\x01\x01\x00\x00" + bytes((len(objects),)) + b"".join(objects)

    def _level(self, function: int, channel: int) -> bool:
        if function == 0x01:
            return self.lights[channel]
        left = self._bouncing.get(channel, 0)
        if left > 0:
            self._bouncing[channel] = left - 1
        return self.inputs[channel] ^ bool(left % 2)

    def _frame(self, head: bytes, pdu: bytes) -> bytes:
        self.answers += 1
        unit = self.unit + 1 if self._due(BoardFault.WRONG_UNIT) else self.unit
        if self.framing == "tcp":
            frame = head + struct.pack(">HB", 1 + len(pdu), unit) + pdu
        else:
            frame = bytes((unit,)) + pdu
            frame += _checksum(frame)
        old, self._last = self._last, frame
        if self._due(BoardFault.SILENT):
            return b""
        if self._due(BoardFault.BAD_CHECKSUM):
            return frame[:-1] + bytes((frame[-1] ^ 0x55,))
        if self._due(BoardFault.HALF_ANSWER):
            return frame[: len(frame) // 2]
        if self._due(BoardFault.OLD_ANSWER):
            return old + frame
        return b"\x00\xff" + frame if self._due(BoardFault.NOISE) else frame
