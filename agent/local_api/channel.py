"""The WebSocket of the device API: who may open it, and how a page that takes nothing is cut.

A browser can set no header on a WebSocket, so the page offers its token as a second subprotocol. Host and Origin
were judged by the guard before.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Mapping
from typing import Final

from aiohttp import WSCloseCode, WSMsgType, web

from agent.local_api.auth import LocalToken
from agent.local_api.dialogue import Command, Dialogue
from agent.local_api.feed import Feed
from kit.logs import get_logger
from kit.supervise import TaskGroup
from kit.web import open_websocket
from wire.device_api import DeviceMessage

PATH: Final = "/api/v1/devices"
PROTOCOL: Final = "kiosk.v1"
TOKEN_PREFIX: Final = "token."  # noqa: S105 - no password
PAGES: Final = 8
QUEUE_MESSAGES: Final = 500
SEND_TIMEOUT_S: Final = 5.0
log = get_logger(__name__)


class DeviceChannel:
    """Serves the pages of this kiosk, several at once."""

    def __init__(self, commands: Mapping[str, Command], feed: Feed, token: LocalToken) -> None:
        """Offer these commands to pages that have the token."""
        self._commands = commands
        self._feed = feed
        self._token = token
        self._pages = 0

    def mount(self, app: web.Application) -> None:
        """Add the route."""
        app.router.add_get(PATH, self._handle)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        offered = [item.strip() for item in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
        tokens = [item.removeprefix(TOKEN_PREFIX) for item in offered if item.startswith(TOKEN_PREFIX)]
        if PROTOCOL not in offered or not any(self._is_token(token) for token in tokens):
            raise web.HTTPUnauthorized
        if self._pages >= PAGES:
            raise web.HTTPTooManyRequests
        self._pages += 1
        try:
            socket = await open_websocket(request, protocols=(PROTOCOL,))
            await self._serve(socket)
        finally:
            self._pages -= 1
        return socket

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(errors="replace"), self._token.value.encode())

    async def _serve(self, socket: web.WebSocketResponse) -> None:
        outbox: asyncio.Queue[DeviceMessage] = asyncio.Queue(maxsize=QUEUE_MESSAGES)
        too_slow = asyncio.Event()

        def send(message: DeviceMessage) -> None:
            if outbox.full():
                too_slow.set()
            else:
                outbox.put_nowait(message)

        dialogue = Dialogue(self._commands, send)
        self._feed.join(send)
        try:
            async with TaskGroup() as group:
                sender = group.create_task(_send(socket, outbox), name="page-send")
                cutter = group.create_task(_cut_when(too_slow, socket), name="page-cut")
                await dialogue.run(_receive(socket, dialogue))
                sender.cancel()
                cutter.cancel()
        finally:
            self._feed.leave(send)


async def _receive(socket: web.WebSocketResponse, dialogue: Dialogue) -> None:
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            dialogue.receive(message.data)
        elif message.type is WSMsgType.BINARY:
            await socket.close(code=WSCloseCode.UNSUPPORTED_DATA, message=b"text only")


async def _send(socket: web.WebSocketResponse, outbox: asyncio.Queue[DeviceMessage]) -> None:
    while not socket.closed:
        message = await outbox.get()
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await socket.send_str(message.model_dump_json(exclude_none=True))
        except TimeoutError:
            _abort(socket)
            return
        except ConnectionError:
            return


async def _cut_when(too_slow: asyncio.Event, socket: web.WebSocketResponse) -> None:
    await too_slow.wait()
    _abort(socket)


def _abort(socket: web.WebSocketResponse) -> None:
    """End a channel whose other side takes nothing: a close frame would wait like everything else."""
    log.info("page.cut")
    writer = socket._writer  # noqa: SLF001 - aiohttp has no public way to drop a stalled WebSocket
    transport = None if writer is None else writer.transport
    if transport is not None:
        transport.abort()
