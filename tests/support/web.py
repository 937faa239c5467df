"""HTTP for tests: a server on a free port, and a client that sends exactly the bytes it is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

import pytest
from aiohttp import web

from kit.web import Guard, GuardSettings, HttpServer

__all__ = ["LOCAL", "RawConnection", "Reply", "Serve", "request_bytes", "send", "serve"]

LOCAL = frozenset({"127.0.0.1"})
Serve = Callable[..., Awaitable[HttpServer]]


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer as it came over the wire; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:  # noqa: ANN401 - a JSON document
        """The body as JSON."""
        return json.loads(self.body)


def request_bytes(
    method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b"", *, host: str = "127.0.0.1"
) -> bytes:
    """Write a request; Content-Length is added when there is a body and none is given."""
    lines = {"Host": host, **(headers or {})}
    if body and "Content-Length" not in lines and "Transfer-Encoding" not in lines:
        lines["Content-Length"] = str(len(body))
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body


class RawConnection:
    """A TCP connection to a server under test."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> Self:
        """Connect."""
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 22)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Disconnect."""
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()

    async def send(self, data: bytes) -> None:
        """Send bytes; a connection the server has cut already is no error here."""
        with suppress(ConnectionError):
            self.writer.write(data)
            await self.writer.drain()

    async def reply(self, *, has_body: bool = True) -> Reply:
        """Read one answer."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status_line, *lines = head.rstrip("\r\n").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", "0")) if has_body else 0
        return Reply(int(status_line.split()[1]), headers, await self.reader.readexactly(length))

    async def rest(self) -> bytes:
        """Read until the server closes; a reset counts as closed."""
        try:
            return await self.reader.read()
        except ConnectionError:
            return b""


async def send(server: HttpServer, data: bytes) -> Reply:
    """Send one request on a connection of its own and read the answer."""
    async with RawConnection(server.port) as connection:
        await connection.send(data)
        return await connection.reply(has_body=not data.startswith(b"HEAD"))


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Give a function that serves an application until the test ends."""
    tasks: list[asyncio.Task[None]] = []

    async def start(app: web.Application, settings: GuardSettings | None = None, **options: Any) -> HttpServer:  # noqa: ANN401 - passed on
        server = HttpServer("under-test", app, guard=Guard(settings or GuardSettings(hosts=LOCAL)), **options)
        tasks.append(asyncio.get_running_loop().create_task(server.run(), name="under-test"))
        await server.started()
        return server

    yield start
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
