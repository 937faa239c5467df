"""A device over USB/IP, spoken to by hand as the kernel's vhci_hcd does; the kernel itself: tests/agent/links."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from simulators.devices.transports import LinkFault, Send
from simulators.devices.usb_gadget import GadgetFacts
from simulators.devices.usbip import UsbipServer
from support.waiting import wait_for

FACTS = GadgetFacts("0400:c35a", interface_class=7)
IN, OUT = 1, 0


class Echo:
    def __init__(self) -> None:
        self.got = b""
        self.send: Send = lambda _data: None

    def connected(self, send: Send) -> None:
        self.send = send

    def received(self, data: bytes) -> None:
        self.got += data
        self.send(data)


class Host:
    """Numbers and fields are those of the kernel's usbip_protocol.rst."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.number = 0
        self.readings: set[int] = set()

    async def take(self, count: int) -> bytes:
        async with asyncio.timeout(3.0):
            return await self.reader.readexactly(count)

    async def importing(self, bus_id: bytes = b"1-1") -> bytes:
        self.writer.write(struct.pack(">HHI32s", 0x0111, 0x8003, 0, bus_id))
        return await self.take(8)

    def submit(self, end: int, direction: int, size: int, *, setup: bytes = bytes(8), data: bytes = b"") -> int:
        self.number += 1
        if direction == IN:
            self.readings.add(self.number)
        head = struct.pack(">IIIII", 1, self.number, 0x0001_0002, direction, end)
        self.writer.write(head + struct.pack(">IIIII8s", 0, size, 0, 0, 0, setup) + data)
        return self.number

    def unlink(self, meant: int) -> int:
        self.number += 1
        self.writer.write(struct.pack(">IIIII", 2, self.number, 0x0001_0002, 0, 0) + struct.pack(">I24x", meant))
        return self.number

    async def answer(self) -> tuple[int, int, int, bytes]:
        """Command, number, status and data of the next one."""
        raw = await self.take(48)
        command, number = struct.unpack_from(">II", raw)
        status, actual = struct.unpack_from(">ii", raw, 20)
        is_reading = command == 3 and number in self.readings
        return command, number, status, await self.take(actual) if is_reading else b""


@asynccontextmanager
async def imported() -> AsyncIterator[tuple[UsbipServer, Host]]:
    async with UsbipServer(Echo(), FACTS) as server:
        host = Host(*await asyncio.open_connection(server.host, server.port))
        assert await host.importing() == bytes.fromhex("0111 0003 00000000")
        device = await host.take(312)
        assert struct.unpack_from(">HH", device, 300) == (0x0400, 0xC35A)
        yield server, host
        host.writer.close()


async def test_it_is_listed() -> None:
    async with UsbipServer(Echo(), FACTS) as server:
        host = Host(*await asyncio.open_connection(server.host, server.port))
        host.writer.write(struct.pack(">HHI", 0x0111, 0x8005, 0))
        assert await host.take(12) == bytes.fromhex("0111 0005 00000000 00000001")
        assert (await host.take(316))[-4:] == b"\x07\0\0\0"
        host.writer.close()


@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\n\r\n", struct.pack(">HHI", 0x0106, 0x8003, 0), bytes(60)])
async def test_strangers_are_cut_off(said: bytes) -> None:
    async with UsbipServer(Echo(), FACTS) as server:
        host = Host(*await asyncio.open_connection(server.host, server.port))
        host.writer.write(said)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await host.take(1)
        host.writer.close()


async def test_another_device_is_not_there() -> None:
    async with UsbipServer(Echo(), FACTS) as server:
        host = Host(*await asyncio.open_connection(server.host, server.port))
        assert await host.importing(b"9-9") == bytes.fromhex("0111 0003 00000001")
        assert await host.importing() == bytes.fromhex("0111 0003 00000000")
        assert server.is_attached
        host.writer.close()
        await wait_for(lambda: not server.is_attached)


async def test_standard_requests() -> None:
    async with imported() as (_, host):
        for setup, status, data in (
            ("8006000100001200", 0, "12010002000000400004 5ac3 0001 00000001"),
            ("8006000100000800", 0, "1201000200000040"),
            ("8006000200000900", 0, "090220000101008032"),
            ("8008000000000100", 0, "01"),
            ("8000000000000200", 0, "0000"),
            ("8006000300000400", -32, ""),
            ("c0ff000000000100", -32, ""),
        ):
            number = host.submit(0, IN, 64, setup=bytes.fromhex(setup))
            assert await host.answer() == (3, number, status, bytes.fromhex(data))
        number = host.submit(0, OUT, 0, setup=bytes.fromhex("0009010000000000"))
        assert await host.answer() == (3, number, 0, b"")


async def test_a_transfer_ends_with_a_short_packet_or_when_it_is_full() -> None:
    async with imported() as (server, host):
        assert isinstance(server.core, Echo)
        reading = host.submit(1, IN, 4_096)
        writing = host.submit(2, OUT, 150, data=bytes(range(150)))
        assert (await host.answer())[:3] == (3, writing, 0)
        assert await host.answer() == (3, reading, 0, bytes(range(150)))
        server.core.send(bytes(128))
        reading = host.submit(1, IN, 128)
        assert await host.answer() == (3, reading, 0, bytes(128))


async def test_a_transfer_that_is_given_up_gets_what_was_there() -> None:
    async with imported() as (server, host):
        assert isinstance(server.core, Echo)
        reading = host.submit(1, IN, 4_096)
        server.core.send(bytes(64))  # no short packet: the transfer goes on
        giving_up = host.unlink(reading)
        assert await host.answer() == (3, reading, 0, bytes(64))
        assert await host.answer() == (4, giving_up, 0, b"")
        reading = host.submit(1, IN, 4_096)
        giving_up = host.unlink(reading)
        assert await host.answer() == (4, giving_up, -104, b"")
        assert (await host.answer() if host.unlink(reading) else None) == (4, host.number, 0, b"")


async def test_the_plug_is_pulled_within_an_answer() -> None:
    async with imported() as (server, host):
        server.faults.script(LinkFault.UNPLUG, value=10)
        reading = host.submit(1, IN, 4_096)
        host.submit(2, OUT, 64, data=bytes(range(64)))
        await host.answer()
        assert await host.answer() == (3, reading, 0, bytes(range(10)))
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await host.take(1)
        assert not server.is_plugged


@pytest.mark.parametrize("size", [2_000_000, 0xFFFF_FFFF])
async def test_a_transfer_without_measure_ends_the_connection(size: int) -> None:
    async with imported() as (_, host):
        host.submit(2, OUT, size)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await host.take(1)


async def test_a_newer_host_takes_the_device_over() -> None:
    async with imported() as (server, host):
        newer = Host(*await asyncio.open_connection(server.host, server.port))
        assert await newer.importing() == bytes.fromhex("0111 0003 00000000")
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await host.take(1)
        assert server.is_attached
        newer.writer.close()
