"""Where a simulated device is plugged in: a pseudo-terminal with a name that stays, a TCP port, or a pipe of packets.

A device is a `Core`: bytes come in by `received`, its answers go out by the `send` it was given. What happens to
bytes on their way to the host (late, in pieces, wrong, lost) is the line's doing and is scripted here, not in cores.
Everything runs on callbacks of the running loop, so that pulling a plug takes effect at once.
"""

from __future__ import annotations

import asyncio
import errno
import os
import random
import socket
import struct
import tty
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol, Self

Send = Callable[[bytes], None]


class Tap(Protocol):
    """Told what really goes over a line."""

    def __call__(self, data: bytes, *, from_device: bool) -> None:
        """These bytes go to the host, or come from it."""


_CHUNK_BYTES = 16 * 1_024
_CUT_NOW = struct.pack("ii", 1, 0)
_HERE = "127.0.0.1"


class Core(Protocol):
    """A simulated device, as a line sees it."""

    def connected(self, send: Send) -> None:
        """A host may be there now; what is sent goes through `send` until the next call."""

    def received(self, data: bytes) -> None:
        """Bytes from the host, as they come."""


class LinkFault(StrEnum):
    """What can happen to an answer on its way; `value` is the number meant."""

    DELAY = "delay"
    """It comes `value` seconds late."""
    SPLIT = "split"
    """It comes in pieces of `value` bytes, 5 ms apart."""
    DRIBBLE = "dribble"
    """It comes byte by byte, one a millisecond."""
    DROP = "drop"
    """Its first `value` bytes are lost."""
    TRUNCATE = "truncate"
    """Only its first `value` bytes come."""
    CORRUPT = "corrupt"
    """`value` of its bytes, chosen by the seed, are changed."""
    NOISE = "noise"
    """`value` bytes of noise come before it."""
    SILENCE = "silence"
    """It does not come."""
    UNPLUG = "unplug"
    """The plug is pulled after its first `value` bytes."""


@dataclass(slots=True)
class _Scripted:
    fault: LinkFault
    value: float
    after: int
    times: int


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of an answer: how late it comes, and whether the plug is pulled after it."""

    delay_s: float
    data: bytes
    is_last_ever: bool = False


class LinkFaults:
    """Which faults wait for which answers."""

    def __init__(self, seed: int = 1) -> None:
        self._random = random.Random(seed)
        self._scripts: list[_Scripted] = []

    def script(self, fault: LinkFault, *, value: float = 1.0, after: int = 0, times: int = 1) -> None:
        """Let `fault` happen to `times` answers once `after` more answers passed."""
        self._scripts.append(_Scripted(fault, value, after, times))

    @property
    def scripted(self) -> tuple[tuple[LinkFault, float], ...]:
        """What is still to happen, and with which number."""
        return tuple((script.fault, script.value) for script in self._scripts)

    def clear(self) -> None:
        """Let everything pass."""
        self._scripts.clear()

    def pieces(self, data: bytes) -> list[Piece]:
        """What becomes of one answer."""
        pieces = [Piece(0.0, data)]
        for script in self._due():
            pieces = [changed for piece in pieces for changed in self._apply(script, piece)]
        return pieces

    def _due(self) -> list[_Scripted]:
        due = [script for script in self._scripts if script.after <= 0]
        for script in self._scripts:
            if script.after > 0:
                script.after -= 1
            else:
                script.times -= 1
        self._scripts = [script for script in self._scripts if script.times > 0]
        return due

    def _apply(self, script: _Scripted, piece: Piece) -> Iterator[Piece]:
        data, count = piece.data, int(script.value)
        match script.fault:
            case LinkFault.DELAY:
                yield Piece(piece.delay_s + script.value, data)
            case LinkFault.SPLIT:
                yield from _Split(piece, max(1, count), 0.005)
            case LinkFault.DRIBBLE:
                yield from _Split(piece, 1, 0.001)
            case LinkFault.DROP:
                yield Piece(piece.delay_s, data[count:])
            case LinkFault.TRUNCATE:
                yield Piece(piece.delay_s, data[:count])
            case LinkFault.CORRUPT:
                yield Piece(piece.delay_s, self._corrupted(data, count))
            case LinkFault.NOISE:
                yield Piece(piece.delay_s, self._random.randbytes(count) + data)
            case LinkFault.UNPLUG:
                yield Piece(piece.delay_s, data[:count], is_last_ever=True)
            case LinkFault.SILENCE:
                return

    def _corrupted(self, data: bytes, count: int) -> bytes:
        changed = bytearray(data)
        for index in self._random.sample(range(len(data)), min(count, len(data))):
            changed[index] ^= self._random.randint(1, 255)
        return bytes(changed)


class _Split:
    """A piece cut into smaller ones."""

    def __init__(self, piece: Piece, size: int, gap_s: float) -> None:
        self._piece, self._size, self._gap_s = piece, size, gap_s

    def __iter__(self) -> Iterator[Piece]:
        for start in range(0, len(self._piece.data), self._size):
            delay_s = self._gap_s if start else self._piece.delay_s
            yield Piece(delay_s, self._piece.data[start : start + self._size])


class _Wire:
    """The way to the host over one descriptor: in order, late where told so, never blocking."""

    def __init__(self, fd: int, unplug: Callable[[], None], told: Callable[[bytes], None]) -> None:
        self._fd = fd
        self._unplug = unplug
        self._told = told
        self._loop = asyncio.get_running_loop()
        self._pieces: deque[Piece] = deque()
        self._rest = b""
        self._timer: asyncio.TimerHandle | None = None
        self._is_cut = False
        self._is_waiting = False

    def put(self, pieces: list[Piece]) -> None:
        self._pieces += pieces
        self._next()

    def cut(self) -> None:
        self._is_cut = True
        self._loop.remove_writer(self._fd)
        if self._timer is not None:
            self._timer.cancel()

    def _next(self) -> None:
        while self._pieces and not (self._is_cut or self._timer or self._is_waiting):
            piece = self._pieces.popleft()
            if piece.delay_s > 0:
                self._timer = self._loop.call_later(piece.delay_s, self._late, piece)
            else:
                self._write(piece)

    def _late(self, piece: Piece) -> None:
        self._timer = None
        self._write(piece)
        self._next()

    def _write(self, piece: Piece) -> None:
        self._rest = piece.data
        self._flush()
        if piece.is_last_ever:
            self._unplug()

    def _flush(self) -> None:
        while self._rest and not self._is_cut:
            try:
                written = os.write(self._fd, self._rest)
                self._told(self._rest[:written])
                self._rest = self._rest[written:]
            except BlockingIOError:
                self._is_waiting = True
                self._loop.add_writer(self._fd, self._flush)
                return
            except OSError:
                self._rest = b""  # nobody is there: what a device says then is lost
        if self._is_waiting:
            self._is_waiting = False
            self._loop.remove_writer(self._fd)
            self._loop.call_soon(self._next)


class _Line:
    """What both kinds of line do."""

    def __init__(self, core: Core, faults: LinkFaults | None) -> None:
        self.core = core
        self.faults = faults if faults is not None else LinkFaults()
        self.tap: Tap | None = None
        self._fd: int | None = None
        self._wire: _Wire | None = None
        self._is_stalled = False

    def stall(self) -> None:
        """Take no more bytes from the host; what it writes piles up."""
        self._is_stalled = True
        if self._fd is not None:
            asyncio.get_running_loop().remove_reader(self._fd)

    def resume(self) -> None:
        """Take bytes again."""
        self._is_stalled = False
        if self._fd is not None:
            asyncio.get_running_loop().add_reader(self._fd, self._arrived)

    def _join(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd, self._wire = fd, _Wire(fd, self.unplug, self._said)
        if not self._is_stalled:
            self.resume()
        self.core.connected(self._sender(self._wire))

    def _part(self) -> None:
        if self._fd is not None and self._wire is not None:
            asyncio.get_running_loop().remove_reader(self._fd)
            self._wire.cut()
        self._fd = self._wire = None

    def _sender(self, wire: _Wire) -> Send:
        def send(data: bytes) -> None:
            if self._wire is wire:
                wire.put(self.faults.pieces(data))

        return send

    def _arrived(self) -> None:
        if self._fd is None:
            return
        try:
            data = os.read(self._fd, _CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._gone()
            return
        if self.tap is not None:
            self.tap(data, from_device=False)
        self.core.received(data)

    def _said(self, data: bytes) -> None:
        if self.tap is not None:
            self.tap(data, from_device=True)

    def _gone(self) -> None:
        self._part()

    def unplug(self) -> None:
        """Pull the plug."""
        raise NotImplementedError


class PtyServer(_Line):
    """A device on a pseudo-terminal; `path` leads to it while it is plugged in, whatever number it got.

    On a pseudo-terminal a device cannot see whether a host has opened it: `connected` is called when it is plugged in.
    """

    def __init__(self, core: Core, path: Path, faults: LinkFaults | None = None) -> None:
        super().__init__(core, faults)
        self.path = path
        self._slave: int | None = None

        self._vanishing: asyncio.Future[None] | None = None

    @property
    def is_plugged(self) -> bool:
        """Whether the port is there."""
        return self._slave is not None

    async def plug(self) -> None:
        """Make the port appear; one that is there stays."""
        await self._settle()
        if self._slave is None:
            master, self._slave = await asyncio.to_thread(_appear, self.path)
            self._join(master)

    def unplug(self) -> None:
        """Take the port away; whoever has it open gets a hang-up."""
        slave, master = self._slave, self._fd
        if slave is None or master is None:
            return
        self._slave = None
        self._part()
        os.close(master)
        self._vanishing = asyncio.get_running_loop().run_in_executor(None, _vanish, self.path, slave)

    async def _settle(self) -> None:
        if self._vanishing is not None:
            await self._vanishing

    async def __aenter__(self) -> Self:
        await self.plug()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.unplug()
        await self._settle()


def _appear(path: Path) -> tuple[int, int]:
    master, slave = os.openpty()
    tty.setraw(slave)
    fresh = path.with_name(f".{path.name}.fresh")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(os.ttyname(slave))
    fresh.replace(path)
    return master, slave


def _vanish(path: Path, slave: int) -> None:
    """The number is free for others only when the name that led to it is gone."""
    path.unlink(missing_ok=True)
    os.close(slave)


class TcpServer(_Line):
    """A device on a TCP port of this machine. One host at a time: a newer connection ends the older one."""

    def __init__(self, core: Core, port: int = 0, faults: LinkFaults | None = None) -> None:
        super().__init__(core, faults)
        self.host = _HERE
        self.port = port
        self._listening: socket.socket | None = None
        self._connection: socket.socket | None = None

    @property
    def is_plugged(self) -> bool:
        """Whether it listens."""
        return self._listening is not None

    @property
    def is_connected(self) -> bool:
        """Whether a host is there."""
        return self._connection is not None

    async def plug(self) -> None:
        """Listen, on the same port as before."""
        if self._listening is not None:
            return
        self._listening = socket.create_server((self.host, self.port), reuse_port=False)
        self._listening.settimeout(0)
        self.port = int(self._listening.getsockname()[1])
        asyncio.get_running_loop().add_reader(self._listening.fileno(), self._accept)

    def unplug(self) -> None:
        """Cut the connection (RST) and stop listening."""
        if self._listening is not None:
            asyncio.get_running_loop().remove_reader(self._listening.fileno())
            self._listening.close()
            self._listening = None
        if self._connection is not None:
            with suppress(OSError):
                self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _CUT_NOW)
        self._gone()

    def finish(self) -> None:
        """Say that nothing more will come (FIN), but stay connected: half open."""
        if self._connection is not None:
            with suppress(OSError):
                self._connection.shutdown(socket.SHUT_WR)

    async def __aenter__(self) -> Self:
        await self.plug()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.unplug()

    def _accept(self) -> None:
        if self._listening is None:
            return
        try:
            connection, _ = self._listening.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        self._gone()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection = connection
        self._join(connection.fileno())

    def _gone(self) -> None:
        self._part()
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class PacketServer(_Line):
    """A device that hands on whole packets, as the kernel's hidraw and evdev do, on one end of a pair of sockets."""

    def __init__(self, core: Core, faults: LinkFaults | None = None) -> None:
        super().__init__(core, faults)
        self._ends: tuple[socket.socket, socket.socket] | None = None

    @property
    def is_plugged(self) -> bool:
        """Whether the host has an end."""
        return self._ends is not None

    def host_end(self) -> int:
        """A descriptor of the host's end, which is the caller's.

        Raises:
            OSError: nothing is plugged in.
        """
        if self._ends is None:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        return os.dup(self._ends[1].fileno())

    async def plug(self) -> None:
        """Make the pair; one that is there stays."""
        if self._ends is None:
            self._ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._ends[1].settimeout(0)
            self._join(self._ends[0].fileno())

    def unplug(self) -> None:
        """Take it away; whoever has the other end gets a hang-up."""
        ends, self._ends = self._ends, None
        if ends is not None:
            self._part()
            ends[0].shutdown(socket.SHUT_RDWR)
            for end in ends:
                end.close()

    async def __aenter__(self) -> Self:
        await self.plug()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.unplug()
