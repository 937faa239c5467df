"""Plays the printer's side of a recording over IPP: the replies it gave, in their order, to the same operations."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Self

from simulators.devices.replay import Cursor, Saying, Story, Turn, said
from wire.recording import Shown

_HEAD_BYTES_MAX = 16_384
_CODE = slice(2, 4)
_REQUEST_ID = slice(4, 8)
_MESSAGE_BYTES_MIN = 8
_HERE = "127.0.0.1"
_OK = 200


class IppReplay:
    """`async with` it; one request a connection is enough."""

    def __init__(self, story: Story, port: int = 0) -> None:
        self._cursor = Cursor(story)
        self._server: asyncio.Server | None = None
        self.host = _HERE
        self.port = port

    @property
    def is_at_end(self) -> bool:
        """Whether everything that was recorded happened."""
        return self._cursor.is_at_end

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, self.host, self.port, limit=_HEAD_BYTES_MAX)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            message = await reader.readexactly(_length(head))
            await self._answer(message, reader, writer)
        except (OSError, EOFError, asyncio.LimitOverrunError):
            return
        finally:
            writer.close()

    async def _answer(self, message: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(message) < _MESSAGE_BYTES_MIN:
            return
        turns = self._cursor.asked(partial(_asks, message[_CODE]))
        said_then = next((saying for turn in turns for saying in turn.sayings), None)
        if said_then is None:
            await reader.read()  # it did not answer then: wait until the host gives up
            return
        await asyncio.sleep(said_then.delay_s)
        if not said_then.is_lost:
            writer.write(_reply(said_then, message[_REQUEST_ID]))
            await writer.drain()


def _asks(code: bytes, turn: Turn) -> bool:
    first = turn.parts[0] if turn.parts else None
    return isinstance(first, Shown) and bytes.fromhex(first.hex)[_CODE] == code


def _reply(saying: Saying, request_id: bytes) -> bytes:
    if saying.refused:
        return f"HTTP/1.1 {saying.refused} Replayed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
    body = said(saying, {"request_id": request_id})
    head = f"HTTP/1.1 {_OK} OK\r\nContent-Type: application/ipp\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode() + body


def _length(head: bytes) -> int:
    """The length of the body; a host that sends none gets none read."""
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and value.strip().isdigit():
            return int(value)
    return 0
