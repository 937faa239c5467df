"""`kit.web` beside a bare aiohttp handler: processor time of the server per request."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.figures import CpuMeter
from bench.harness import Better, Goal, Row, interleave, load_note, row
from support.processes import Child

CONNECTIONS = 32
REQUESTS = 8_000
TOKEN = "bench-token"  # noqa: S105 - known to both sides of a bench
BODY = b'{"metric":"cpu_percent","points":120,"kids":["zzj-001","zzj-002"],"note":"night shift"}'
_HEAD = (
    b"Host: 127.0.0.1\r\nAuthorization: Bearer " + TOKEN.encode() + b"\r\nAccept: application/json\r\n"
    b"X-Requested-By: bench\r\n"
)
CASES = {
    "get": b"GET /kiosks/zzj-001?metric=cpu_percent&points=120 HTTP/1.1\r\n" + _HEAD + b"\r\n",
    "post": b"POST /kiosks/zzj-001 HTTP/1.1\r\n"
    + _HEAD
    + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY)
    + BODY,
}


async def http() -> list[Row]:
    """A GET and a POST with sign-in and validation of everything, against handlers that do neither."""
    async with _server("ours") as ours, _server("bare") as bare:
        cases = {
            f"{side} {name}": partial(_cost_us, child, port, request)
            for name, request in CASES.items()
            for side, (child, port) in (("ours", ours), ("bare", bare))
        }
        for measure in cases.values():
            await measure()
        figures = await interleave(cases)
    goal = Goal(Better.LESS, 1.5)
    return [
        row(f"http.{name}", "µs CPU/request", figures[f"ours {name}"], figures[f"bare {name}"], goal, load_note()[2:])
        for name in CASES
    ]


@asynccontextmanager
async def _server(side: str) -> AsyncIterator[tuple[Child, int]]:
    with TemporaryDirectory(prefix="kiosk-bench-") as folder:
        async with Child(side, [sys.executable, "-m", "bench.http_server", side], Path(folder) / "log") as child:
            await child.logged("port ")
            yield child, int(child.log().split("port ")[1].split()[0])


async def _cost_us(child: Child, port: int, request: bytes) -> float:
    clients = [_Client(request, REQUESTS // CONNECTIONS) for _ in range(CONNECTIONS)]
    meter = CpuMeter((child.pid,))
    loop = asyncio.get_running_loop()
    for client in clients:
        await loop.create_connection(partial(_same, client), "127.0.0.1", port)
    for client in clients:
        await client.done
    return meter.used_s / REQUESTS * 1e6


def _same(client: _Client) -> _Client:
    return client


class _Client(asyncio.Protocol):
    """One request after the other; a response is complete when as many bytes came as for the first one."""

    def __init__(self, request: bytes, requests: int) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._request = request
        self._left = requests
        self._transport: asyncio.Transport | None = None
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Ask again when the answer is there."""
        self._answer += data
        head, end, body = self._answer.partition(b"\r\n\r\n")
        if not end or len(body) < int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]):
            return
        assert self._transport is not None
        assert head.startswith(b"HTTP/1.1 200"), self._answer
        self._answer = b""
        self._left -= 1
        if self._left:
            self._transport.write(self._request)
        else:
            self._transport.close()
            self.done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail when that was too early."""
        if not self.done.done():
            self.done.set_exception(ConnectionError("the server closed the connection") if exc is None else exc)
