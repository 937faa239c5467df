"""A way in to a simulator that brings a server of its own: the same faults and plug as a line of `transports`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from kit.supervise import TaskGroup, spawn
from simulators.devices.transports import LinkFaults, Piece, Tap

_CHUNK_BYTES = 64 * 1_024
_HERE = "127.0.0.1"


class Relay:
    """Takes connections on `port`, which stays the same, and passes them on to the inner server."""

    def __init__(self, inner_port: Callable[[], int], port: int = 0, faults: LinkFaults | None = None) -> None:
        self.port = port
        self.faults = faults if faults is not None else LinkFaults()
        self.tap: Tap | None = None
        self._inner_port = inner_port
        self._server: asyncio.Server | None = None
        self._group = TaskGroup()
        self._busy: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def is_plugged(self) -> bool:
        """Whether it listens."""
        return self._server is not None

    async def plug(self) -> None:
        """Listen, on the same port as before."""
        if self._server is None:
            self._server = await asyncio.start_server(self._accepted, _HERE, self.port)
            self.port = int(self._server.sockets[0].getsockname()[1])

    def unplug(self) -> None:
        """Stop listening and cut every connection."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        for task in list(self._busy):
            task.cancel()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        await self.plug()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.unplug()
        await self._group.__aexit__(None, None, None)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = spawn(self._group, self._serve(reader, writer), "relay")
        self._busy.add(task)
        task.add_done_callback(self._busy.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            inner_reader, inner_writer = await asyncio.open_connection(_HERE, self._inner_port())
        except OSError:
            self._writers.discard(writer)
            writer.close()
            return
        self._writers.add(inner_writer)
        try:
            async with TaskGroup() as group:
                group.create_task(self._inwards(reader, inner_writer), name="relay-in")
                group.create_task(self._outwards(inner_reader, writer), name="relay-out")
        finally:
            for one in (writer, inner_writer):
                self._writers.discard(one)
                one.close()

    async def _inwards(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(_CHUNK_BYTES):
                if self.tap is not None:
                    self.tap(data, from_device=False)
                writer.write(data)
                await writer.drain()
        if not writer.is_closing():
            writer.close()

    async def _outwards(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(_CHUNK_BYTES):
                for piece in self.faults.pieces(data):
                    await self._say(piece, writer)
        if not writer.is_closing():
            writer.close()

    async def _say(self, piece: Piece, writer: asyncio.StreamWriter) -> None:
        if piece.delay_s > 0:
            await asyncio.sleep(piece.delay_s)
        if self.tap is not None and piece.data:
            self.tap(piece.data, from_device=True)
        writer.write(piece.data)
        await writer.drain()
        if piece.is_last_ever:
            self.unplug()
