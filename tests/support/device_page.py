"""A page on the WebSocket of a kiosk's device API."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

_PATH, _PROTOCOL, _TOKEN = "/api/v1/devices", "kiosk.v1", "token."


class Page:
    """The browser's side."""

    def __init__(
        self, socket: aiohttp.ClientWebSocketResponse, check: Callable[[dict[str, Any]], None] | None = None
    ) -> None:
        self.socket = socket
        self.check = check
        self.last_id = 0
        self.heard: list[dict[str, Any]] = []

    async def ask(self, name: str, payload: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send a command and wait for its completion."""
        return await self.end(await self.send(name, payload))

    async def send(self, name: str, payload: dict[str, Any] | None = None, *, timeout_ms: int = 0) -> int:
        """Send a command; its number."""
        self.last_id += 1
        header = {"name": name, "requestId": self.last_id, "type": "command", "timeout": timeout_ms}
        await self.socket.send_str(json.dumps({"header": header, "payload": payload or {}}))
        return self.last_id

    async def end(self, number: int) -> dict[str, Any]:
        """Wait for the completion of a command."""
        return await self.until(
            lambda said: said["header"]["type"] == "completion" and said["header"]["requestId"] == number
        )

    async def until(self, is_it: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait for a message like this; what comes before it is kept in `heard`."""
        while True:
            said = await self.hear()
            if is_it(said):
                return said
            self.heard.append(said)

    async def hear(self) -> dict[str, Any]:
        """The next message."""
        said: dict[str, Any] = await self.socket.receive_json()
        if self.check is not None:
            self.check(said)
        return said


@asynccontextmanager
async def open_page(
    port: int, token: str, check: Callable[[dict[str, Any]], None] | None = None
) -> AsyncIterator[Page]:
    """A page that has this boot's token; `check` sees every message it hears."""
    url = f"http://127.0.0.1:{port}"
    protocols = (_PROTOCOL, _TOKEN + token)
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{url}{_PATH}", protocols=protocols, origin=url) as socket,
    ):
        yield Page(socket, check)
