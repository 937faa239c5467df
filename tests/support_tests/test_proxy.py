"""Every fault of the proxy is seen by a client and a server that talk through it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

import pytest

from support.proxy import (
    Blackhole,
    Corrupt,
    Cut,
    Direction,
    End,
    FaultProxy,
    HalfOpen,
    Lag,
    Refuse,
    Reset,
    Trickle,
)
from support.waiting import wait_for

SHORT_S = 0.15


class Sink:
    """A server that remembers every byte and echoes it when told so."""

    def __init__(self, *, echo: bool) -> None:
        self.echo = echo
        self.received = bytearray()
        self.ended: list[str] = []

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                self.received += data
                if self.echo:
                    writer.write(data)
                    await writer.drain()
            self.ended.append("eof")
        except ConnectionResetError:
            self.ended.append("reset")
        finally:
            writer.close()


@contextlib.asynccontextmanager
async def lab(*, echo: bool = True, seed: int = 0) -> AsyncIterator[tuple[Sink, FaultProxy]]:
    """A server and a proxy before it."""
    sink = Sink(echo=echo)
    server = await asyncio.start_server(sink.handle, "127.0.0.1", 0)
    async with server, FaultProxy("127.0.0.1", server.sockets[0].getsockname()[1], seed=seed) as link:
        yield sink, link


Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Dial = Callable[[FaultProxy], "contextlib.AbstractAsyncContextManager[Pair]"]


@contextlib.asynccontextmanager
async def dialled(link: FaultProxy) -> AsyncIterator[Pair]:
    """A client's connection through the proxy."""
    reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def is_silent(reader: asyncio.StreamReader) -> bool:
    """Whether nothing, not even an end, arrives for a short while."""
    try:
        async with asyncio.timeout(SHORT_S):
            await reader.read(1)
    except TimeoutError:
        return True
    return False


async def test_passes_and_counts_both_ways() -> None:
    async with lab() as (_, link), dialled(link) as (reader, writer):
        writer.write(b"a" * 100_000)
        writer.write_eof()
        assert await reader.read(-1) == b"a" * 100_000
        assert (link.count.bytes_up, link.count.bytes_down, link.count.accepted) == (100_000, 100_000, 1)
    assert link.open_links == 0


async def test_blackhole_holds_bytes_and_end_and_lets_them_go_on_after_it() -> None:
    async with lab() as (sink, link), dialled(link) as (reader, writer):
        writer.write(b"before")
        assert await reader.readexactly(6) == b"before"
        async with link.under(Blackhole()):
            writer.write(b"during")
            writer.write_eof()
            assert await is_silent(reader)
            assert sink.received == b"before"
            assert not sink.ended
        assert await reader.read(-1) == b"during"
        assert sink.ended == ["eof"]


async def test_a_connection_made_in_a_blackhole_is_answered_only_after_it() -> None:
    async with lab() as (_, link):
        link.set(Blackhole())
        async with dialled(link) as (reader, writer):
            writer.write(b"hello")
            assert await is_silent(reader)
            link.heal()
            assert await reader.readexactly(5) == b"hello"


async def test_half_open_forwards_one_way_only() -> None:
    async with lab() as (sink, link), dialled(link) as (reader, writer):
        link.set(HalfOpen(open_way=Direction.UP))
        writer.write(b"up")
        await wait_for(lambda: sink.received == b"up")
        assert await is_silent(reader)
        link.heal()
        assert await reader.readexactly(2) == b"up"


async def test_reset_ends_open_and_new_connections_with_rst() -> None:
    async with lab() as (sink, link):
        async with dialled(link) as (reader, writer):
            writer.write(b"x")
            await reader.readexactly(1)
            link.set(Reset())
            with pytest.raises(ConnectionResetError):
                await reader.read(1)
            await wait_for(lambda: sink.ended == ["reset"])
        with pytest.raises(ConnectionResetError):
            async with dialled(link) as (reader, writer):
                await reader.read(1)
        link.heal()
        async with dialled(link) as (reader, writer):
            writer.write(b"y")
            assert await reader.readexactly(1) == b"y"


async def test_refuse_refuses_new_connections_keeps_old_ones_and_the_port() -> None:
    async with lab() as (_, link), dialled(link) as (reader, writer):
        writer.write(b"1")
        await reader.readexactly(1)
        port = link.port
        for _ in range(3):
            link.set(Refuse())
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"2")
            assert await reader.readexactly(1) == b"2"
            link.heal()
            async with dialled(link) as (other_reader, other_writer):
                other_writer.write(b"3")
                assert await other_reader.readexactly(1) == b"3"


async def test_lag_delays_each_way_and_keeps_order_and_rate() -> None:
    async with lab() as (_, link), dialled(link) as (reader, writer):
        link.set(Lag(delay_s=0.1, jitter_s=0.05))
        started = time.monotonic()
        for number in range(50):
            writer.write(b"%04d" % number)
            await writer.drain()
        assert await reader.readexactly(200) == b"".join(b"%04d" % number for number in range(50))
        assert 0.2 <= time.monotonic() - started < 1.0


async def test_trickle_limits_the_rate_and_is_felt_by_the_sender() -> None:
    async with lab(echo=False) as (sink, link), dialled(link) as (_, writer):
        link.set(Trickle(bytes_per_s=400))
        started = time.monotonic()
        writer.write(b"z" * 100)
        await wait_for(lambda: len(sink.received) == 100)
        assert 0.15 <= time.monotonic() - started < 1.0
        writer.write(b"z" * 20_000_000)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(SHORT_S):
                await writer.drain()
        writer.transport.abort()


@pytest.mark.parametrize("end", list(End))
@pytest.mark.parametrize("offset", [0, 1, 7, 63, 64, 4_095])
async def test_cut_lets_exactly_the_given_bytes_through(offset: int, end: End) -> None:
    async with lab(echo=False) as (sink, link), dialled(link) as (reader, writer):
        writer.write(b"first")
        await wait_for(lambda: sink.received == b"first")
        sink.received.clear()
        link.set(Cut(at_byte=offset, end=end, once=True))
        writer.write(b"q" * 10_000)
        await wait_for(lambda: sink.ended)
        assert len(sink.received) == offset
        assert sink.ended == ["reset" if end is End.RESET else "eof"]
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read(-1) == b""
        async with dialled(link) as (_, again):
            again.write(b"whole")
            await wait_for(lambda: sink.received[offset:] == b"whole")
        assert link.count.cuts == 1


async def damaged(seed: int, chunks: int) -> bytes:
    """What a server gets of 20,000 zero bytes sent in so many writes through a link that flips bits."""
    async with lab(echo=False, seed=seed) as (sink, link), dialled(link) as (_, writer):
        link.set(Corrupt(probability=0.001, way=Direction.UP))
        for _ in range(chunks):
            writer.write(bytes(20_000 // chunks))
            await writer.drain()
        await wait_for(lambda: len(sink.received) == 20_000)
        assert link.count.flipped_bits == sum(byte.bit_count() for byte in sink.received)
        return bytes(sink.received)


async def test_corrupt_flips_single_bits_the_same_for_the_same_seed() -> None:
    first = await damaged(seed=7, chunks=1)
    assert 5 <= sum(byte.bit_count() for byte in first) <= 60
    assert max(byte.bit_count() for byte in first) == 1
    assert await damaged(seed=7, chunks=20) == first
    assert await damaged(seed=8, chunks=1) != first


async def test_upstream_that_is_down_shows_as_reset() -> None:
    async with lab() as (_, link):
        closed = FaultProxy("127.0.0.1", link.port)
    async with closed, dialled(closed) as (reader, _):
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
    assert closed.count.refused_upstream == 1


async def test_a_hundred_flaps_leave_a_working_link_and_no_connection() -> None:
    async with lab() as (_, link):
        for _ in range(100):
            link.set(Refuse())
            link.set(Reset())
            link.heal()
        async with dialled(link) as (reader, writer):
            writer.write(b"ok")
            assert await reader.readexactly(2) == b"ok"
        await wait_for(lambda: link.open_links == 0)
