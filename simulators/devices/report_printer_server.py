"""The simulated A4 printer on a port of its own: HTTP as far as IPP needs it, and the ways a connection can break."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from ssl import SSLContext
from typing import Self

from simulators.devices.report_printer import PrinterFault, ReportPrinterCore

_PRINT_JOB = b"\x00\x02"
_HEAD_BYTES = 8
_HEAD_LIMIT = 16 * 1_024
_BODY_LIMIT = 128 * 2**20
_IDLE_S = 30.0
_ENDLESS_S = 3_600.0


class ReportPrinterServer:
    """Serves one core; use as an async context manager. `now_s` is a monotonic clock."""

    def __init__(self, core: ReportPrinterCore, now_s: Callable[[], float], *, host: str = "127.0.0.1") -> None:
        self.core = core
        self.port = 0
        self._host = host
        self._now_s = now_s
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def open(self, port: int = 0, *, ssl_context: SSLContext | None = None) -> None:
        """Listen, on any free port when none is named; `ssl_context` makes it ipps."""
        self._server = await asyncio.start_server(self._serve, self._host, port, limit=_HEAD_LIMIT, ssl=ssl_context)
        self.port = int(self._server.sockets[0].getsockname()[1])
        self.core.uri = f"ipp://{self._host}:{self.port}/ipp/print"

    async def close(self) -> None:
        """Pull the cable: nobody listens any more and open connections break."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await asyncio.sleep(0)

    async def __aenter__(self) -> Self:
        """Listen."""
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        await self.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
                while await self._exchange(reader, writer):
                    pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; whether the connection stays."""
        async with asyncio.timeout(_IDLE_S):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        fields = dict(line.partition(":")[::2] for line in head.split("\r\n")[1:])
        if "100-continue" in fields.get("expect", ""):
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        start = await reader.readexactly(_HEAD_BYTES) if "content-length" in fields else b""
        is_document = start[2:4] == _PRINT_JOB
        if is_document and self.core.due(PrinterFault.DROP_IN_DOCUMENT):
            await reader.read(512)
            writer.transport.abort()
            return False
        body = start + await self._body(reader, fields, len(start))
        is_document = body[2:4] == _PRINT_JOB
        if self.core.due(PrinterFault.SILENT):
            await asyncio.sleep(_ENDLESS_S)
        reply = self.core.handle(body, self._now_s())
        if is_document and self.core.due(PrinterFault.DROP_AFTER_DOCUMENT):
            writer.transport.abort()
            return False
        await self._answer(writer, reply)
        return fields.get("connection", "").strip() != "close"

    async def _answer(self, writer: asyncio.StreamWriter, reply: bytes) -> None:
        status = "200 OK"
        if self.core.due(PrinterFault.HTTP_ERROR):
            status, reply = "503 Service Unavailable", b"busy"
        if self.core.due(PrinterFault.GARBAGE):
            reply = bytes(255 - byte for byte in reply)
        if self.core.due(PrinterFault.CUT_REPLY):
            reply = reply[: len(reply) // 2]
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/ipp\r\nContent-Length: {len(reply)}\r\n\r\n"
        writer.write(head.encode() + reply)
        await writer.drain()

    async def _body(self, reader: asyncio.StreamReader, fields: dict[str, str], had: int) -> bytes:
        if "chunked" not in fields.get("transfer-encoding", ""):
            size = min(int(fields.get("content-length", "0").strip() or 0), _BODY_LIMIT)
            return await reader.readexactly(max(0, size - had))
        found = bytearray()
        while size := int((await reader.readline()).split(b";")[0], 16):
            found += await reader.readexactly(size)
            await reader.readline()
            if len(found) > _BODY_LIMIT:
                break
        await reader.readline()
        return bytes(found)
