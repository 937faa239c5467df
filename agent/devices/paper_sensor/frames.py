"""Modbus requests and answers (Application Protocol V1.1b3), framed for a serial line (RTU, V1.02) or for TCP.

Only what a board of switches and lights needs: read coils (01) and discrete inputs (02), write coils (05, 0F), read the
device's identification (2B 0E, basic objects).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntEnum

BITS_MAX = 2_000
_BUFFER_MAX = 1_024
_POLYNOMIAL = 0xA001
_EXCEPTION = 0x80
_MBAP = struct.Struct(">HHHB")
_PDU_MAX = 253
_SHORTEST_RTU = 5
_WRITE_RTU = 8
_IDENTITY_KIND, _BASIC = 0x0E, 0x01
_IDENTITY_HEAD = 6
"""Kind, code, conformity, whether more follows, the next object, number of objects."""


class Function(IntEnum):
    """Function codes."""

    READ_COILS = 0x01
    READ_INPUTS = 0x02
    WRITE_COIL = 0x05
    WRITE_COILS = 0x0F
    IDENTITY = 0x2B


class ModbusError(ValueError):
    """The bytes are no answer to the request; the text says why."""


class ModbusRefused(Exception):
    """The board answered with an exception code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"modbus exception {code}")
        self.code = code


def crc16(data: bytes) -> int:
    """The checksum of a serial line (appendix B of V1.02); sent with its low byte first."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ _POLYNOMIAL if crc & 1 else crc >> 1
    return crc


def encode_read(function: Function, address: int, count: int) -> bytes:
    """Ask for `count` bits from `address` on."""
    if not 1 <= count <= BITS_MAX:
        raise ValueError("too many bits for one request")
    return struct.pack(">BHH", function, address, count)


def encode_write_coils(address: int, bits: Sequence[bool]) -> bytes:
    """Set coils from `address` on."""
    packed = _pack(bits)
    return struct.pack(">BHHB", Function.WRITE_COILS, address, len(bits), len(packed)) + packed


def _pack(bits: Sequence[bool]) -> bytes:
    number = sum(1 << index for index, bit in enumerate(bits) if bit)
    return number.to_bytes((len(bits) + 7) // 8, "little")


def decode_bits(pdu: bytes, function: Function, count: int) -> tuple[bool, ...]:
    """The bits of an answer to a read.

    Raises:
        ModbusRefused: the board said no.
        ModbusError: it answers something else.
    """
    body = _body(pdu, function)
    size = (count + 7) // 8
    if len(body) != 1 + size or body[0] != size:
        raise ModbusError("another number of bits than asked for")
    return tuple(bool(body[1 + index // 8] >> index % 8 & 1) for index in range(count))


def check_written(pdu: bytes, request: bytes) -> None:
    """Make sure that an answer confirms a write.

    Raises:
        ModbusRefused: the board said no.
        ModbusError: it confirms something else.
    """
    if _body(pdu, Function(request[0])) != request[1:5]:
        raise ModbusError("confirms another write")


def encode_read_identity() -> bytes:
    """Ask for maker, product and revision."""
    return bytes((Function.IDENTITY, _IDENTITY_KIND, _BASIC, 0))


def decode_identity(pdu: bytes) -> dict[int, str]:
    """Object number -> text; 0 is the maker, 1 the product, 2 the revision. What does not fit into one answer is left.

    Raises:
        ModbusRefused: the board said no.
        ModbusError: it answers something else.
    """
    body = _body(pdu, Function.IDENTITY)
    if len(body) < _IDENTITY_HEAD or body[:2] != bytes((_IDENTITY_KIND, _BASIC)):
        raise ModbusError("no identification")
    found: dict[int, str] = {}
    rest = body[_IDENTITY_HEAD:]
    for _ in range(body[_IDENTITY_HEAD - 1]):
        if len(rest) < 2 or len(rest) < 2 + rest[1]:  # noqa: PLR2004 - number and length
            raise ModbusError("an identification that is cut off")
        found[rest[0]] = "".join(one for one in rest[2 : 2 + rest[1]].decode("ascii", "replace") if one.isprintable())
        rest = rest[2 + rest[1] :]
    if rest:
        raise ModbusError("an identification with something behind it")
    return found


def _identity_bytes(pdu: bytes) -> int | None:
    """How long the PDU that begins here is; None when more has to come first."""
    end = 1 + _IDENTITY_HEAD
    if len(pdu) < end:
        return None
    for _ in range(pdu[end - 1]):
        if len(pdu) < end + 2:
            return None
        end += 2 + pdu[end + 1]
    return end


def _body(pdu: bytes, function: Function) -> bytes:
    if len(pdu) > 1 and pdu[0] == function | _EXCEPTION:
        raise ModbusRefused(pdu[1])
    if not pdu or pdu[0] != function:
        raise ModbusError("answers another function")
    return pdu[1:]


def encode_rtu(unit: int, pdu: bytes) -> bytes:
    """A request on a serial line."""
    frame = bytes((unit,)) + pdu
    return frame + crc16(frame).to_bytes(2, "little")


class RtuDecoder:
    """Finds the answer of one unit to one function in what comes; noise around it is skipped."""

    def __init__(self, unit: int, function: Function) -> None:
        self._unit = unit
        self._function = function
        self._buffer = bytearray()

    def feed(self, data: bytes) -> bytes | None:
        """The answer's PDU as soon as it is whole and its checksum is right.

        Raises:
            ModbusError: noise without an end.
        """
        self._buffer += data
        if len(self._buffer) > _BUFFER_MAX:
            self._buffer.clear()
            raise ModbusError("noise on the line")
        for start in range(len(self._buffer)):
            frame = self._at(start)
            if frame is not None:
                del self._buffer[: start + len(frame)]
                return frame[1:-2]
        return None

    def _at(self, start: int) -> bytes | None:
        """The frame that begins here, if one does and it is whole."""
        if self._buffer[start] != self._unit or len(self._buffer) < start + _SHORTEST_RTU:
            return None
        function = self._buffer[start + 1]
        if function == self._function | _EXCEPTION:
            size = _SHORTEST_RTU
        elif function != self._function:
            return None
        elif function == Function.IDENTITY:
            count = _identity_bytes(bytes(self._buffer[start + 1 :]))
            if count is None or count > _PDU_MAX:
                return None
            size = 1 + count + 2
        else:
            is_read = function in {Function.READ_COILS, Function.READ_INPUTS}
            size = _SHORTEST_RTU + self._buffer[start + 2] if is_read else _WRITE_RTU
        frame = bytes(self._buffer[start : start + size])
        is_right = len(frame) == size and crc16(frame[:-2]) == int.from_bytes(frame[-2:], "little")
        return frame if is_right else None


def encode_tcp(transaction: int, unit: int, pdu: bytes) -> bytes:
    """A request over TCP."""
    return _MBAP.pack(transaction, 0, 1 + len(pdu), unit) + pdu


class TcpDecoder:
    """Finds the answer to one transaction; answers to earlier ones are dropped."""

    def __init__(self, transaction: int, unit: int) -> None:
        self._transaction = transaction
        self._unit = unit
        self._buffer = bytearray()

    def feed(self, data: bytes) -> bytes | None:
        """The answer's PDU as soon as it is whole.

        Raises:
            ModbusError: a header that is none; there is no way to find the next one.
        """
        self._buffer += data
        while len(self._buffer) >= _MBAP.size:
            transaction, protocol, length, unit = _MBAP.unpack_from(self._buffer)
            if protocol != 0 or not 1 < length <= 1 + _PDU_MAX:
                self._buffer.clear()
                raise ModbusError("no header of Modbus")
            end = _MBAP.size - 1 + length
            if len(self._buffer) < end:
                return None
            pdu = bytes(self._buffer[_MBAP.size : end])
            del self._buffer[:end]
            if transaction == self._transaction and unit == self._unit:
                return pdu
        return None
