"""Bytes through a file descriptor that does not block: what a serial port and a socket have in common.

The descriptor is watched all the time while it is open, so that a hang-up is seen even while nobody reads.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress

from agent.links.base import LinkLost, LinkTimeout

BUFFER_BYTES_MAX = 64 * 1_024
_CHUNK_BYTES = 16 * 1_024


class DescriptorLink:
    """The part of a `ByteLink` that begins once there is a descriptor; how one comes about is the heir's."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._fd: int | None = None
        self._buffer = bytearray()
        self._lost: str | None = None
        self._is_watching = False
        self._readable = asyncio.Event()
        self._writable: asyncio.Future[None] | None = None

    @property
    def name(self) -> str:
        """See `ByteLink`."""
        return self._name

    @property
    def is_open(self) -> bool:
        """See `ByteLink`."""
        return self._fd is not None and self._lost is None

    async def read(self, *, timeout_s: float) -> bytes:
        """See `ByteLink`. What came before a hang-up is handed over before the loss is raised."""
        if not self._buffer:
            self._check()
            self._readable.clear()
            try:
                async with asyncio.timeout(timeout_s):
                    await self._readable.wait()
            except TimeoutError:
                raise LinkTimeout(f"{self.name}: nothing came in {timeout_s:g} s") from None
        if not self._buffer:
            self._check()
        data = self._taken()
        self._watch()
        return data

    async def write(self, data: bytes, *, timeout_s: float) -> None:
        """See `ByteLink`."""
        rest = memoryview(data)
        try:
            async with asyncio.timeout(timeout_s):
                while rest:
                    rest = rest[self._push(rest) :]
                    if rest:
                        await self._until_writable()
        except TimeoutError:
            raise LinkTimeout(f"{self.name}: {len(rest)} of {len(data)} bytes not taken in {timeout_s:g} s") from None

    def discard(self) -> int:
        """See `ByteLink`."""
        if self.is_open and self._is_watching:
            self._arrived()
        count = len(self._buffer)
        self._buffer.clear()
        self._watch()
        return count

    def _attach(self, fd: int) -> None:
        """Begin with a new descriptor, which does not block."""
        self._fd, self._lost = fd, None
        self._buffer.clear()
        self._watch()

    def _detach(self) -> None:
        """Forget the descriptor; whoever waits for it learns that it is gone."""
        if self._fd is None:
            return
        self._lose("closed")
        self._fd = None
        self._buffer.clear()

    def _check(self) -> int:
        if self._fd is None or self._lost is not None:
            raise LinkLost(f"{self.name}: {self._lost or 'not open'}")
        return self._fd

    def _watch(self) -> None:
        if self._fd is not None and self._lost is None and not self._is_watching:
            asyncio.get_running_loop().add_reader(self._fd, self._arrived)
            self._is_watching = True

    def _unwatch(self) -> None:
        if self._fd is not None and self._is_watching:
            asyncio.get_running_loop().remove_reader(self._fd)
        self._is_watching = False

    def _arrived(self) -> None:
        fd = self._check()
        try:
            data = os.read(fd, min(_CHUNK_BYTES, BUFFER_BYTES_MAX - len(self._buffer)))
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(os.strerror(error.errno or 0))
            return
        if not data:
            self._lose("hung up")
            return
        self._keep(data)
        if len(self._buffer) >= BUFFER_BYTES_MAX:
            self._unwatch()  # the sender waits: the kernel's buffer fills up
        if self._buffer:
            self._readable.set()

    def _keep(self, data: bytes) -> None:
        """Put what came to the rest; an heir may make something else of it."""
        self._buffer += data

    def _taken(self) -> bytes:
        """What one reading gives: all there is."""
        data = bytes(self._buffer)
        self._buffer.clear()
        return data

    def _push(self, rest: memoryview) -> int:
        fd = self._check()
        try:
            return os.write(fd, rest)
        except BlockingIOError:
            return 0
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            self._lose(reason)
            raise LinkLost(f"{self.name}: {reason}") from error

    async def _until_writable(self) -> None:
        loop, fd = asyncio.get_running_loop(), self._check()
        self._writable = waiting = loop.create_future()

        def writable() -> None:
            if not waiting.done():
                waiting.set_result(None)

        loop.add_writer(fd, writable)
        try:
            await waiting
        finally:
            self._writable = None
            if self._fd == fd and self._lost is None:
                loop.remove_writer(fd)

    def _lose(self, reason: str) -> None:
        if self._lost is not None:
            return
        self._unwatch()
        self._lost = reason
        if self._fd is not None:
            asyncio.get_running_loop().remove_writer(self._fd)
        self._readable.set()
        if self._writable is not None and not self._writable.done():
            with suppress(asyncio.InvalidStateError):
                self._writable.set_result(None)
