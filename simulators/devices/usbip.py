"""A simulated USB device for a real kernel: served over USB/IP, attached there with vhci_hcd.

Source: the kernel's Documentation/usb/usbip_protocol.rst, and chapter 9 of the USB 2.0 specification for requests and
descriptors. What a host's transfer waits for it gets when it is full or a short packet ends it; a transfer that the
host gives up gets what was there, as on a real bus.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from dataclasses import dataclass
from typing import Self, cast

from simulators.devices.transports import Core, LinkFaults, Piece, Tap
from simulators.devices.usb_gadget import PACKET_BYTES, GadgetFacts

BUS_ID = "1-1"
_VERSION, _REQUEST_IMPORT, _REPLY_IMPORT, _REQUEST_LIST, _REPLY_LIST = 0x0111, 0x8003, 0x0003, 0x8005, 0x0005
_OPERATION = struct.Struct(">HHI")
_DEVICE = struct.Struct(">256s32sIIIHHHBBBBBB")
_HEADER = struct.Struct(">IIIII")
_SUBMIT = struct.Struct(">IiiiI8s")
_DONE = struct.Struct(">iiiii8x")
_UNLINK = struct.Struct(">I24x")
_UNLINKED = struct.Struct(">i24x")
_HEADER_BYTES, _BUS_ID_BYTES = 48, 32
_CMD_SUBMIT, _CMD_UNLINK, _RET_SUBMIT, _RET_UNLINK = 1, 2, 3, 4
_OUT = 0
_TRANSFER_MAX = 1_048_576
_FULL_SPEED = 2
_STALLED, _GONE_BACK = -32, -104
_CONFIGURATION = 1
_PRINTER, _PRINTER_BELOW = 7, (1, 2)
"""USB's printer class: subclass printers, protocol with a way back."""
_DEVICE_KIND, _CONFIGURATION_KIND = 1, 2


@dataclass(slots=True)
class _Waiting:
    """A transfer to the host that has to wait."""

    number: int
    size: int


class UsbipServer:
    """One device on a TCP port of this machine, for one host at a time."""

    def __init__(self, core: Core, facts: GadgetFacts, faults: LinkFaults | None = None, port: int = 0) -> None:
        self.core = core
        self.facts = facts
        self.faults = faults if faults is not None else LinkFaults()
        self.tap: Tap | None = None
        self.host = "127.0.0.1"
        self.port = port
        self._server: asyncio.Server | None = None
        self._session: _Session | None = None

    @property
    def is_plugged(self) -> bool:
        """Whether a host can attach it."""
        return self._server is not None

    @property
    def is_attached(self) -> bool:
        """Whether a host has."""
        return self._session is not None and self._session.is_imported

    async def plug(self) -> None:
        """Listen, on the same port as before."""
        if self._server is None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(lambda: _Session(self), self.host, self.port)
            self.port = int(self._server.sockets[0].getsockname()[1])

    def unplug(self) -> None:
        """Pull the plug: the kernel on the other side sees the device leave."""
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._session is not None:
            self._session.cut()
            self._session = None

    async def __aenter__(self) -> Self:
        await self.plug()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.unplug()

    def joined(self, session: _Session) -> None:
        """A host came; an earlier one has lost the device."""
        if self._session is not None and self._session is not session:
            self._session.cut()
        self._session = session

    def left(self, session: _Session) -> None:
        """A host went."""
        if self._session is session:
            self._session = None


class _Session(asyncio.Protocol):
    """One host's connection."""

    def __init__(self, server: UsbipServer) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._waiting: deque[_Waiting] = deque()
        self._packets: deque[bytes] = deque()
        self.is_imported = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # of a server on TCP

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._transport = None
        self._server.left(self)

    def cut(self) -> None:
        """End it at once."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._transport is not None and (self._request() if self.is_imported else self._operation()):
            pass

    # --- before the device is imported -------------------------------------------------------------------

    def _operation(self) -> bool:
        """Answer one operation; whether there was one."""
        if len(self._buffer) < _OPERATION.size:
            return False
        version, code, _ = _OPERATION.unpack_from(self._buffer)
        size = _OPERATION.size + (_BUS_ID_BYTES if code == _REQUEST_IMPORT else 0)
        if version != _VERSION or code not in {_REQUEST_IMPORT, _REQUEST_LIST}:
            self.cut()
            return False
        if len(self._buffer) < size:
            return False
        asked, self._buffer = self._buffer[_OPERATION.size : size], self._buffer[size:]
        if code == _REQUEST_LIST:
            interface = bytes((self._server.facts.interface_class, 0, 0, 0))
            self._write(_OPERATION.pack(_VERSION, _REPLY_LIST, 0) + struct.pack(">I", 1) + self._device() + interface)
            return True
        if asked.rstrip(b"\0").decode("ascii", "replace") != BUS_ID:
            self._write(_OPERATION.pack(_VERSION, _REPLY_IMPORT, 1))
            return True
        self._write(_OPERATION.pack(_VERSION, _REPLY_IMPORT, 0) + self._device())
        self.is_imported = True
        self._server.joined(self)
        self._server.core.connected(self._send)
        return True

    def _device(self) -> bytes:
        facts = self._server.facts
        vendor, product = _ids(facts)
        name = BUS_ID.encode("ascii")
        return _DEVICE.pack(
            b"/simulated/" + name,
            name,
            facts.bus,
            2,
            _FULL_SPEED,
            vendor,
            product,
            0x0100,
            0,
            0,
            0,
            _CONFIGURATION,
            1,
            1,
        )

    # --- transfers ---------------------------------------------------------------------------------------

    def _request(self) -> bool:
        """Take one request; whether there was one."""
        if len(self._buffer) < _HEADER_BYTES:
            return False
        command, number, _, direction, end = _HEADER.unpack_from(self._buffer)
        if command == _CMD_UNLINK:
            (meant,) = _UNLINK.unpack_from(self._buffer, _HEADER.size)
            self._buffer = self._buffer[_HEADER_BYTES:]
            self._give_up(number, meant)
            return True
        if command != _CMD_SUBMIT:
            self.cut()
            return False
        _, size, _, _, _, setup = _SUBMIT.unpack_from(self._buffer, _HEADER.size)
        if not 0 <= size <= _TRANSFER_MAX:
            self.cut()
            return False
        total = _HEADER_BYTES + (size if direction == _OUT else 0)
        if len(self._buffer) < total:
            return False
        data, self._buffer = self._buffer[_HEADER_BYTES:total], self._buffer[total:]
        if end == 0:
            self._control(number, setup, size)
        elif direction == _OUT:
            self._done(number, actual=size)
            self._took(data)
        else:
            self._waiting.append(_Waiting(number, size))
            self._serve()
        return True

    def _took(self, data: bytes) -> None:
        if self._server.tap is not None:
            self._server.tap(data, from_device=False)
        self._server.core.received(data)

    def _give_up(self, number: int, meant: int) -> None:
        """The host wants a transfer back: it gets what is there for it, or nothing."""
        found = next((one for one in self._waiting if one.number == meant), None)
        status = 0
        if found is not None:
            self._waiting.remove(found)
            data = self._gathered(found.size)
            if data:
                self._done(meant, data)
            else:
                status = _GONE_BACK
        self._write(_HEADER.pack(_RET_UNLINK, number, 0, 0, 0) + _UNLINKED.pack(status))

    def _serve(self) -> None:
        """End the transfers that are full or have their short packet."""
        while self._waiting:
            size, ends = 0, False
            for packet in self._packets:
                size += len(packet)
                ends = len(packet) < PACKET_BYTES or size + PACKET_BYTES > self._waiting[0].size
                if ends:
                    break
            if not ends:
                return
            waiting = self._waiting.popleft()
            self._done(waiting.number, self._gathered(waiting.size))

    def _gathered(self, size: int) -> bytes:
        found = b""
        while self._packets and len(found) + len(self._packets[0]) <= size:
            packet = self._packets.popleft()
            found += packet
            if len(packet) < PACKET_BYTES:
                break
        return found

    def _control(self, number: int, setup: bytes, size: int) -> None:
        kind, request, value, index, length = struct.unpack("<BBHHH", setup)
        del index
        answer = _standard(self._server.facts, kind, request, value)
        if answer is None:
            self._done(number, status=_STALLED)
        else:
            self._done(number, answer[: min(length, size)])

    def _done(self, number: int, data: bytes = b"", *, status: int = 0, actual: int | None = None) -> None:
        count = len(data) if actual is None else actual
        self._write(_HEADER.pack(_RET_SUBMIT, number, 0, 0, 0) + _DONE.pack(status, count, 0, 0, 0) + data)

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    # --- what the device says ----------------------------------------------------------------------------

    def _send(self, data: bytes) -> None:
        for piece in self._server.faults.pieces(data):
            if piece.delay_s > 0:
                self._loop.call_later(piece.delay_s, self._put, piece)
            else:
                self._put(piece)

    def _put(self, piece: Piece) -> None:
        if self._server.tap is not None and piece.data:
            self._server.tap(piece.data, from_device=True)
        for start in range(0, len(piece.data), PACKET_BYTES):
            self._packets.append(piece.data[start : start + PACKET_BYTES])
        self._serve()
        if piece.is_last_ever:
            self._loop.call_soon(self._server.unplug)


def _ids(facts: GadgetFacts) -> tuple[int, int]:
    vendor, _, product = facts.usb_id.partition(":")
    return int(vendor, 16), int(product, 16)


def _standard(facts: GadgetFacts, kind: int, request: int, value: int) -> bytes | None:
    """The answer to a standard request; None for one that is refused."""
    match kind, request:
        case 0x80, 0x06:
            return _descriptor(facts, value >> 8)
        case 0x80, 0x08:
            return bytes((_CONFIGURATION,))
        case ((0x80 | 0x81 | 0x82), 0x00):
            return b"\0\0"
        case (0x00, 0x09) | (0x01, 0x0B) | (0x02, 0x01) | (0x00, 0x05):
            return b""
        case _:
            return None


def _descriptor(facts: GadgetFacts, kind: int) -> bytes | None:
    vendor, product = _ids(facts)
    if kind == _DEVICE_KIND:
        return struct.pack("<BBHBBBBHHHBBBB", 18, 1, 0x0200, 0, 0, 0, 64, vendor, product, 0x0100, 0, 0, 0, 1)
    if kind == _CONFIGURATION_KIND:
        below = _PRINTER_BELOW if facts.interface_class == _PRINTER else (0, 0)
        ends = [struct.pack("<BBBBHB", 7, 5, one, 2, PACKET_BYTES, 0) for one in (facts.pipe_in, facts.pipe_out)]
        interface = struct.pack("<9B", 9, 4, 0, 0, len(ends), facts.interface_class, *below, 0)
        body = interface + b"".join(ends)
        return struct.pack("<BBHBBBBB", 9, 2, 9 + len(body), 1, _CONFIGURATION, 0, 0x80, 50) + body
    return None
