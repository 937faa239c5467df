"""The TCP link on real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from agent.links.base import LinkLost, LinkTimeout
from agent.links.tcp import TcpLink, TcpPatience
from kit.supervise import spawn
from simulators.devices.transports import LinkFault, Send, TcpServer
from support.waiting import wait_for


class Echo:
    """Answers with what it got."""

    def __init__(self) -> None:
        self.got = bytearray()
        self.send: Send = lambda _data: None
        self.connections = 0

    def connected(self, send: Send) -> None:
        self.send = send
        self.connections += 1

    def received(self, data: bytes) -> None:
        self.got += data
        self.send(data)


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
async def server(echo: Echo) -> AsyncIterator[TcpServer]:
    async with TcpServer(echo) as listening:
        yield listening


@pytest.fixture
async def link(server: TcpServer) -> AsyncIterator[TcpLink]:
    opened = TcpLink(server.host, server.port)
    await opened.open()
    await wait_for(lambda: server.is_connected)
    yield opened
    await opened.close()


async def _read(link: TcpLink, count: int) -> bytes:
    found = b""
    while len(found) < count:
        found += await link.read(timeout_s=2.0)
    return found


async def _until_lost(link: TcpLink) -> bytes:
    found = b""
    while True:
        try:
            found += await link.read(timeout_s=2.0)
        except LinkLost:
            return found


@pytest.mark.parametrize("fault", [LinkFault.SPLIT, LinkFault.DRIBBLE])
async def test_pieces_come_in_order(server: TcpServer, link: TcpLink, fault: LinkFault) -> None:
    server.faults.script(fault, value=3)
    await link.write(b"0123456789abcdef", timeout_s=2.0)
    assert await _read(link, 16) == b"0123456789abcdef"


@pytest.mark.parametrize("offset", range(64))
async def test_unplugged_after_any_number_of_bytes(server: TcpServer, link: TcpLink, offset: int) -> None:
    message = bytes(range(64))
    server.faults.script(LinkFault.UNPLUG, value=offset)
    await link.write(message, timeout_s=2.0)
    assert message[:offset].startswith(await _until_lost(link))
    with pytest.raises(LinkLost):
        await link.write(b"x", timeout_s=1.0)


async def test_half_open_counts_as_lost(server: TcpServer, link: TcpLink) -> None:
    await link.write(b"before", timeout_s=2.0)
    assert await _read(link, 6) == b"before"
    server.finish()
    with pytest.raises(LinkLost):
        await link.read(timeout_s=2.0)


async def test_a_mute_peer_is_a_timeout(server: TcpServer, link: TcpLink) -> None:
    server.faults.script(LinkFault.SILENCE)
    await link.write(b"x", timeout_s=2.0)
    with pytest.raises(LinkTimeout):
        await link.read(timeout_s=0.05)
    assert link.is_open


async def test_a_peer_that_takes_nothing(server: TcpServer, link: TcpLink) -> None:
    server.stall()
    with pytest.raises(LinkTimeout):
        await link.write(bytes(16_000_000), timeout_s=0.2)
    assert link.is_open


async def test_a_slow_peer_gets_everything(server: TcpServer, link: TcpLink, echo: Echo) -> None:
    server.faults.script(LinkFault.SILENCE, times=1_000_000)
    server.stall()
    async with asyncio.TaskGroup() as group:
        _ = spawn(group, link.write(bytes(8_000_000), timeout_s=8.0), "writer")
        await wait_for(lambda: link._writable is not None, what="a full pipe")
        server.resume()
    await wait_for(lambda: len(echo.got) == 8_000_000)


async def test_closing_ends_a_waiting_writer(server: TcpServer, link: TcpLink) -> None:
    server.stall()

    async def close() -> None:
        await wait_for(lambda: link._writable is not None)
        await link.close()

    with pytest.RaisesGroup(LinkLost):
        async with asyncio.TaskGroup() as group:
            _ = spawn(group, link.write(bytes(16_000_000), timeout_s=5.0), "writer")
            _ = spawn(group, close(), "close")


async def test_opened_again_after_a_loss(server: TcpServer, link: TcpLink, echo: Echo) -> None:
    server.unplug()
    await wait_for(lambda: not link.is_open, what="the loss")
    with pytest.raises(LinkLost, match="refused"):
        await link.open()
    await server.plug()
    await link.open()
    await link.write(b"again", timeout_s=2.0)
    assert await _read(link, 5) == b"again"
    assert echo.connections == 2


async def test_nobody_answers_the_connection() -> None:
    listening = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0, backlog=1)
    port = listening.sockets[0].getsockname()[1]
    link = TcpLink("127.0.0.1", port, TcpPatience(connect_s=0.000_001))
    with pytest.raises(LinkLost, match="no connection in"):
        await link.open()
    assert not link.is_open
    listening.close()


@pytest.mark.parametrize(
    ("address", "name"),
    [("printer", "printer:9100"), ("printer:12", "printer:12"), ("[::1]:12", "[::1]:12"), ("::1", "[::1]:9100")],
)
def test_addresses(address: str, name: str) -> None:
    assert TcpLink.of(address, 9100).name == name
