"""A TCP link that can be broken on purpose while it is in use.

The reference on reliability, section 3.1, explains why this is ours: the test kernel has no netem and no
Toxiproxy can be had. One `FaultProxy` stands in front of one server; its `fault` may be changed at any time
and applies at once to open connections as well as to new ones.

What a proxy in user space cannot show: the kernel still completes the handshake of a new connection during a
`Blackhole` (nothing is answered after it), and a `Reset` peer sees a reset, never a lost packet.
"""

from __future__ import annotations

import asyncio
import math
import random
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self, assert_never

_CHUNK_BYTES = 65_536
_QUEUE_CHUNKS = 64
_TRICKLE_SLICE_S = 0.05
_RESET = struct.pack("ii", 1, 0)


class Direction(StrEnum):
    """Way of a byte: `UP` from the client to the server, `DOWN` back to the client."""

    UP = "up"
    DOWN = "down"


class End(StrEnum):
    """How a `Cut` ends both sides."""

    RESET = "reset"
    CLOSE = "close"


@dataclass(frozen=True, slots=True)
class Pass:
    """Forward everything unchanged."""


@dataclass(frozen=True, slots=True)
class Blackhole:
    """Keep both sockets open and forward nothing, also no end of stream; what waits goes on after the fault."""


@dataclass(frozen=True, slots=True)
class HalfOpen:
    """Forward only in the direction `open_way`; the other way is a black hole."""

    open_way: Direction = Direction.UP


@dataclass(frozen=True, slots=True)
class Reset:
    """Answer every open and every new connection with RST, on both sides."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Refuse new connections; open ones go on."""


@dataclass(frozen=True, slots=True)
class Lag:
    """Delay every byte by `delay_s` plus up to `jitter_s`, in order and without limiting the rate."""

    delay_s: float
    jitter_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Trickle:
    """Let through at most `bytes_per_s` in each direction of each connection."""

    bytes_per_s: float


@dataclass(frozen=True, slots=True)
class Corrupt:
    """Flip one bit of a byte with `probability`, in one direction or (None) in both."""

    probability: float
    way: Direction | None = None


@dataclass(frozen=True, slots=True)
class Cut:
    """End a connection after exactly `at_byte` more bytes in direction `way`.

    Counted from the setting of this fault or from the connection's start, whichever came later. With `once`
    the link then is whole again.
    """

    at_byte: int
    way: Direction = Direction.UP
    end: End = End.RESET
    once: bool = False


Fault = Pass | Blackhole | HalfOpen | Reset | Refuse | Lag | Trickle | Corrupt | Cut


@dataclass(slots=True)
class Count:
    """What went through since the proxy started."""

    accepted: int = 0
    refused_upstream: int = 0
    resets: int = 0
    cuts: int = 0
    flipped_bits: int = 0
    bytes_up: int = 0
    bytes_down: int = 0


class _Flipper:
    """Chooses which bytes to damage; the same seed damages the same offsets however the bytes are chunked."""

    def __init__(self, probability: float, rng: random.Random) -> None:
        self._probability = min(max(probability, 0.0), 1.0)
        self._rng = rng
        self._skip = self._next_gap()

    def _next_gap(self) -> int:
        if self._probability <= 0.0:
            return -1
        if self._probability >= 1.0:
            return 0
        return int(math.log(1.0 - self._rng.random()) / math.log(1.0 - self._probability))

    def damage(self, data: bytes) -> tuple[bytes, int]:
        """Return the bytes as they arrive and how many bits were flipped."""
        if self._skip < 0 or self._skip >= len(data):
            self._skip -= len(data) if self._skip >= 0 else 0
            return data, 0
        broken = bytearray(data)
        flips, position = 0, self._skip
        while position < len(broken):
            broken[position] ^= 1 << self._rng.randrange(8)
            flips += 1
            position += 1 + self._next_gap()
        self._skip = position - len(broken)
        return bytes(broken), flips


def _slice_bytes(fault: Trickle) -> int:
    return max(1, int(fault.bytes_per_s * _TRICKLE_SLICE_S))


def _abort(writer: asyncio.StreamWriter) -> None:
    """End a connection with RST instead of FIN."""
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0 and not writer.transport.is_closing():
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()


@dataclass(slots=True, eq=False)
class _Pipe:
    """One direction of one connection: reader, a bounded queue of (due, bytes), writer."""

    link: _Link
    way: Direction
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    rng: random.Random
    queue: asyncio.Queue[tuple[float, bytes]] = field(default_factory=lambda: asyncio.Queue(_QUEUE_CHUNKS))
    last_due: float = 0.0
    sent: int = 0
    sent_at_fault: int = 0
    seen_version: int = -1
    flipper: _Flipper | None = None

    def _follow(self) -> Fault:
        """Return the fault in force; notes where in the stream it was set."""
        proxy = self.link.proxy
        if proxy.version != self.seen_version:
            self.seen_version = proxy.version
            self.sent_at_fault = self.sent
            fault = proxy.fault
            wanted = isinstance(fault, Corrupt) and fault.way in {None, self.way}
            self.flipper = _Flipper(fault.probability, self.rng) if wanted and isinstance(fault, Corrupt) else None
        return proxy.fault

    def _is_held(self, fault: Fault) -> bool:
        return isinstance(fault, Blackhole) or (isinstance(fault, HalfOpen) and fault.open_way is not self.way)

    async def _until_open(self) -> Fault:
        while self._is_held(fault := self._follow()):
            await self.link.proxy.changed()
        return fault

    def _read_bytes(self) -> int:
        """Take no more than a trickle's share, so that a slow link is felt by the sender."""
        fault = self.link.proxy.fault
        return _slice_bytes(fault) if isinstance(fault, Trickle) else _CHUNK_BYTES

    async def pull(self) -> None:
        """Read from one side; an empty chunk in the queue is the end of the stream."""
        loop = asyncio.get_running_loop()
        while True:
            await self._until_open()
            data = await self.reader.read(self._read_bytes())
            fault = self.link.proxy.fault
            delay_s = fault.delay_s + fault.jitter_s * self.rng.random() if isinstance(fault, Lag) else 0.0
            self.last_due = max(self.last_due, loop.time() + delay_s)
            await self.queue.put((self.last_due, data))
            if not data:
                return

    async def push(self) -> None:
        """Write to the other side, as fast and as whole as the fault in force lets it."""
        loop = asyncio.get_running_loop()
        while True:
            due, data = await self.queue.get()
            while isinstance(self._follow(), Lag) and loop.time() < due:
                await self.link.proxy.changed(timeout_s=due - loop.time())
            if not data:
                await self._until_open()
                if self.writer.can_write_eof():
                    self.writer.write_eof()
                return
            while data:
                data = await self._write_some(data)

    async def _write_some(self, data: bytes) -> bytes:
        """Forward the part of `data` that may go now; returns the rest."""
        fault = await self._until_open()
        match fault:
            case Trickle(bytes_per_s=rate):
                size = _slice_bytes(fault)
                await self._write(data[:size])
                await self.link.proxy.changed(timeout_s=min(size, len(data)) / rate)
                return data[size:]
            case Cut(at_byte=at_byte, way=way) if way is self.way:
                left = at_byte - (self.sent - self.sent_at_fault)
                await self._write(data[: max(0, left)])
                if len(data) >= left:
                    self.link.cut(fault)
                    raise _LinkEnded
                return b""
            case Reset():
                raise _LinkEnded
            case Pass() | Refuse() | Lag() | Corrupt() | Cut() | HalfOpen() | Blackhole():
                await self._write(data)
                return b""
        assert_never(fault)

    async def _write(self, data: bytes) -> None:
        if not data:
            return
        count = self.link.proxy.count
        if self.flipper is not None:
            data, flips = self.flipper.damage(data)
            count.flipped_bits += flips
        self.writer.write(data)
        self.sent += len(data)
        if self.way is Direction.UP:
            count.bytes_up += len(data)
        else:
            count.bytes_down += len(data)
        await self.writer.drain()


class _LinkEnded(Exception):
    """Somebody ended the connection on purpose."""


@dataclass(slots=True, eq=False)
class _Link:
    """One accepted connection and its twin to the server."""

    proxy: FaultProxy
    number: int
    accepted: socket.socket
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def run(self) -> None:
        """Carry this connection until both ways ended, or a fault ended it."""
        try:
            reader, client = await asyncio.open_connection(sock=self.accepted)
            self.writers.append(client)
            while isinstance(self.proxy.fault, Blackhole):
                await self.proxy.changed()
            if not isinstance(self.proxy.fault, Reset):
                await self._carry(reader, client)
        except* _LinkEnded:
            pass
        except* OSError:
            self.reset()
        finally:
            if isinstance(self.proxy.fault, Reset):
                self.reset()
            self.close()

    async def _carry(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        proxy = self.proxy
        try:
            server_reader, server = await asyncio.open_connection(proxy.target_host, proxy.target_port)
        except OSError:
            proxy.count.refused_upstream += 1
            raise
        self.writers.append(server)
        seed = f"{proxy.seed}:{self.number}"
        up = _Pipe(self, Direction.UP, reader, server, random.Random(f"{seed}:up"))
        down = _Pipe(self, Direction.DOWN, server_reader, client, random.Random(f"{seed}:down"))
        async with asyncio.TaskGroup() as group:
            for pipe in (up, down):
                pipe.writer.transport.set_write_buffer_limits(high=0)
                group.create_task(pipe.pull(), name=f"proxy-{self.number}-{pipe.way}-pull")
                group.create_task(pipe.push(), name=f"proxy-{self.number}-{pipe.way}-push")

    def reset(self) -> None:
        """End both sides with RST."""
        for writer in self.writers:
            _abort(writer)

    def cut(self, fault: Cut) -> None:
        """End both sides as the fault says, then make the link whole when it was to happen once."""
        self.proxy.count.cuts += 1
        if fault.once:
            self.proxy.heal()
        if fault.end is End.RESET:
            self.reset()
        else:
            self.close()

    def close(self) -> None:
        """End both sides in order."""
        for writer in self.writers:
            writer.close()


@dataclass(slots=True, eq=False)
class FaultProxy:
    """Forward connections on `host`:`port` (0: any) to the target, under the fault that is set.

    `async with FaultProxy("127.0.0.1", broker.port) as link:` then `link.port`, `link.set(Blackhole())`.
    Damage and jitter repeat for the same `seed` and the same order of connections.
    """

    target_host: str
    target_port: int
    host: str = "127.0.0.1"
    port: int = 0
    seed: int = 0
    fault: Fault = field(default_factory=Pass)
    count: Count = field(default_factory=Count, init=False)
    version: int = field(default=0, init=False)
    _changed: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _keeper: socket.socket | None = field(default=None, init=False)
    _listener: socket.socket | None = field(default=None, init=False)
    _links: dict[_Link, asyncio.Task[None]] = field(default_factory=dict, init=False)

    @property
    def open_links(self) -> int:
        """How many connections are open."""
        return len(self._links)

    def set(self, fault: Fault) -> None:
        """Put `fault` in force now, in place of the last one."""
        self.fault = fault
        self.version += 1
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        if isinstance(fault, Reset):
            self.reset_open()
        if self._keeper is not None:
            self._listen_or_not()

    def heal(self) -> None:
        """Forward everything again."""
        self.set(Pass())

    def reset_open(self) -> None:
        """Answer every connection open now with RST; the fault in force stays."""
        for link, task in tuple(self._links.items()):
            self.count.resets += 1
            link.reset()
            task.cancel()

    @asynccontextmanager
    async def under(self, fault: Fault) -> AsyncIterator[Self]:
        """Hold `fault` for a block, then heal."""
        self.set(fault)
        try:
            yield self
        finally:
            self.heal()

    async def changed(self, *, timeout_s: float | None = None) -> None:
        """Return when another fault was set, or after `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            return

    def _bound_socket(self, port: int) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.settimeout(0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((self.host, port))
        return sock

    def _listen_or_not(self) -> None:
        """Close the listening socket under `Refuse`, open it otherwise; the keeper holds the port in between."""
        loop = asyncio.get_running_loop()
        if isinstance(self.fault, Refuse):
            if self._listener is not None:
                loop.remove_reader(self._listener)
                self._listener.close()
                self._listener = None
        elif self._listener is None:
            self._listener = self._bound_socket(self.port)
            self._listener.listen(1_024)
            loop.add_reader(self._listener, self._accept, self._listener)

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, _ = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        sock.settimeout(0)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.count.accepted += 1
        link = _Link(self, self.count.accepted, sock)
        task = asyncio.get_running_loop().create_task(link.run(), name=f"proxy-{link.number}")
        self._links[link] = task
        task.add_done_callback(lambda _: self._links.pop(link, None))

    async def __aenter__(self) -> Self:
        """Open the port."""
        self._keeper = self._bound_socket(self.port)
        self.port = int(self._keeper.getsockname()[1])
        self._listen_or_not()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the port and every connection."""
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        tasks = tuple(self._links.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None
