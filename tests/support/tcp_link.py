"""`TcpLink`: the smallest `ByteLink` over TCP, for drivers under test."""

from __future__ import annotations

import asyncio

from agent.links.base import LinkLost, LinkTimeout

_READ_BYTES = 64 * 1_024


class TcpLink:
    """See `agent.links.base.ByteLink`."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._address = (host, port)
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    @property
    def name(self) -> str:
        return f"{self._address[0]}:{self._address[1]}"

    @property
    def is_open(self) -> bool:
        return self._writer is not None

    async def open(self) -> None:
        try:
            self._reader, self._writer = await asyncio.open_connection(*self._address)
        except OSError as error:
            raise LinkLost(self.name) from error

    async def read(self, *, timeout_s: float) -> bytes:
        if self._reader is None:
            raise LinkLost(self.name)
        try:
            async with asyncio.timeout(timeout_s):
                data = await self._reader.read(_READ_BYTES)
        except TimeoutError as late:
            raise LinkTimeout(self.name) from late
        except OSError as error:
            await self.close()
            raise LinkLost(self.name) from error
        if not data:
            await self.close()
            raise LinkLost(self.name)
        return data

    async def write(self, data: bytes, *, timeout_s: float) -> None:
        if self._writer is None:
            raise LinkLost(self.name)
        try:
            async with asyncio.timeout(timeout_s):
                self._writer.write(data)
                await self._writer.drain()
        except TimeoutError as late:
            raise LinkTimeout(self.name) from late
        except OSError as error:
            await self.close()
            raise LinkLost(self.name) from error

    def discard(self) -> int:
        if self._reader is None:
            return 0
        stale = len(self._reader._buffer)  # type: ignore[attr-defined] # asyncio has no public way to look
        self._reader._buffer.clear()  # type: ignore[attr-defined] # the same
        return stale

    async def close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
