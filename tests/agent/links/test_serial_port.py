"""The serial link on real pseudo-terminals."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.links.base import LinkLost, LinkTimeout
from agent.links.opening import found_port
from agent.links.serial_port import SerialLink, SerialSettings
from kit.supervise import spawn
from simulators.devices.transports import LinkFault, PtyServer, Send
from support.waiting import wait_for
from wire.profile import LinkKind, LinkProfile


class Echo:
    """Answers with what it got."""

    def __init__(self) -> None:
        self.got = bytearray()
        self.send: Send = lambda _data: None

    def connected(self, send: Send) -> None:
        self.send = send

    def received(self, data: bytes) -> None:
        self.got += data
        self.send(data)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[PtyServer]:
    async with PtyServer(Echo(), tmp_path / "tty") as plugged:
        yield plugged


@pytest.fixture
async def link(server: PtyServer) -> AsyncIterator[SerialLink]:
    opened = SerialLink(str(server.path))
    await opened.open()
    yield opened
    await opened.close()


async def _read(link: SerialLink, count: int) -> bytes:
    found = b""
    while len(found) < count:
        found += await link.read(timeout_s=2.0)
    return found


async def _until_lost(link: SerialLink) -> bytes:
    found = b""
    while True:
        try:
            found += await link.read(timeout_s=2.0)
        except LinkLost:
            return found


async def test_bytes_come_and_go_unchanged(link: SerialLink) -> None:
    every = bytes(range(256)) * 3
    await link.write(every, timeout_s=2.0)
    assert await _read(link, len(every)) == every


@pytest.mark.parametrize("fault", [LinkFault.SPLIT, LinkFault.DRIBBLE])
async def test_pieces_come_in_order(server: PtyServer, link: SerialLink, fault: LinkFault) -> None:
    server.faults.script(fault, value=3, times=9)
    await link.write(b"0123456789abcdef", timeout_s=2.0)
    assert await _read(link, 16) == b"0123456789abcdef"


async def test_silence_is_a_timeout_and_the_link_stays(server: PtyServer, link: SerialLink) -> None:
    server.faults.script(LinkFault.SILENCE)
    await link.write(b"x", timeout_s=2.0)
    with pytest.raises(LinkTimeout):
        await link.read(timeout_s=0.05)
    assert link.is_open
    await link.write(b"y", timeout_s=2.0)
    assert await _read(link, 1) == b"y"


@pytest.mark.parametrize("offset", range(64))
async def test_unplugged_after_any_number_of_bytes(server: PtyServer, link: SerialLink, offset: int) -> None:
    message = bytes(range(64))
    server.faults.script(LinkFault.UNPLUG, value=offset)
    await link.write(message, timeout_s=2.0)
    assert message[:offset].startswith(await _until_lost(link))
    assert not link.is_open
    with pytest.raises(LinkLost):
        await link.write(b"x", timeout_s=1.0)


async def test_unplugging_wakes_a_waiting_reader(server: PtyServer, link: SerialLink) -> None:
    async def pull() -> None:
        server.unplug()

    with pytest.RaisesGroup(LinkLost):
        async with asyncio.TaskGroup() as group:
            _ = spawn(group, link.read(timeout_s=5.0), "reader")
            _ = spawn(group, pull(), "pull")


async def test_unplugging_is_seen_while_nobody_reads(server: PtyServer, link: SerialLink) -> None:
    server.unplug()
    await wait_for(lambda: not link.is_open, what="the hang-up")


async def test_back_under_another_number(server: PtyServer, link: SerialLink) -> None:
    before = server.path.readlink()
    server.unplug()
    await wait_for(lambda: not server.path.is_symlink(), what="the name to vanish")
    others = [os.openpty() for _ in range(2)]  # they take the number that became free
    await server.plug()
    assert server.path.readlink() != before
    await link.open()
    await link.write(b"again", timeout_s=2.0)
    assert await _read(link, 5) == b"again"
    for fd in (fd for pair in others for fd in pair):
        os.close(fd)


async def test_a_port_is_taken_for_itself(server: PtyServer, link: SerialLink) -> None:
    second = SerialLink(str(server.path))
    with pytest.raises(LinkLost):
        await second.open()
    await link.close()
    await second.open()
    await second.close()
    await second.close()


async def test_what_an_earlier_peer_had_sent_is_dropped(server: PtyServer) -> None:
    assert isinstance(server.core, Echo)
    server.core.send(b"stale")
    link = SerialLink(str(server.path))
    await link.open()
    await link.write(b"new", timeout_s=2.0)
    assert await _read(link, 3) == b"new"
    await link.close()


async def test_discard_drops_what_has_come(server: PtyServer, link: SerialLink) -> None:
    assert isinstance(server.core, Echo)
    server.core.send(b"stale")
    await wait_for(lambda: link.discard() == 5, what="five bytes to drop")
    await link.write(b"new", timeout_s=2.0)
    assert await _read(link, 3) == b"new"


async def test_a_peer_that_takes_nothing(server: PtyServer, link: SerialLink) -> None:
    server.stall()
    with pytest.raises(LinkTimeout):
        await link.write(bytes(1_000_000), timeout_s=0.2)
    assert link.is_open
    await link.close()


async def test_a_slow_peer_gets_everything(server: PtyServer, link: SerialLink) -> None:
    assert isinstance(server.core, Echo)
    server.faults.script(LinkFault.SILENCE, times=100_000)
    server.stall()
    async with asyncio.TaskGroup() as group:
        _ = spawn(group, link.write(b"z" * 50_000, timeout_s=5.0), "writer")
        await wait_for(lambda: link._writable is not None, what="a full pipe")
        server.resume()
    echo = server.core
    await wait_for(lambda: len(echo.got) == 50_000)


async def test_a_sender_without_end_is_held_back(server: PtyServer, link: SerialLink) -> None:
    assert isinstance(server.core, Echo)
    server.core.send(bytes(300_000))
    await wait_for(lambda: not link._is_watching, what="a full buffer")
    assert len(link._buffer) == 64 * 1_024
    assert len(await _read(link, 300_000)) == 300_000


async def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(LinkLost, match="No such file"):
        await SerialLink(str(tmp_path / "none")).open()
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    with pytest.raises(LinkLost):
        await SerialLink(str(plain)).open()


def test_a_wildcard_must_match_one_port(tmp_path: Path) -> None:
    (tmp_path / "tty").write_bytes(b"")
    assert found_port(str(tmp_path / "t?y")) == str(tmp_path / "tty")
    (tmp_path / "toy").write_bytes(b"")
    with pytest.raises(OSError, match="2 ports match"):
        found_port(str(tmp_path / "t?y"))


async def test_a_port_by_wildcard(server: PtyServer, tmp_path: Path) -> None:
    link = SerialLink(str(tmp_path / "t?y"))
    await link.open()
    await link.write(b"found", timeout_s=2.0)
    assert await _read(link, 5) == b"found"
    await link.close()
    with pytest.raises(LinkLost, match="0 ports match"):
        await SerialLink(str(tmp_path / "u*")).open()


def test_the_profile_sets_the_line() -> None:
    link = LinkProfile(kind=LinkKind.SERIAL, baud=9600, options={"parity": "E", "stop_bits": 2, "xon_xoff": True})
    assert SerialSettings.of(link) == SerialSettings(baud=9600, parity="E", stop_bits=2, xon_xoff=True)
