"""The camera's preview as an MJPEG stream on loopback: `<img src>` of the kiosk's page shows it.

A browser sets no header on an image, so a ticket in the address opens it; it is made for one preview and dies with
it. Host and origin were judged by the guard before. Whoever reads slowly gets fewer pictures: none waits in a queue.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from agent.devices.face_camera.types import Preview
from agent.errors import DeviceFault
from agent.links.base import LinkError, LinkTimeout
from kit.clock import Clock

PATH: Final = "/api/v1/camera/preview"
LIFE_S: Final = 120.0
READERS_MAX: Final = 2
_LOOK_S: Final = 1.0
_MISSES_MAX: Final = 10
_SEND_S: Final = 3.0
_BOUNDARY: Final = "frame"


@dataclass(slots=True)
class _Open:
    preview: Preview
    ticket: str
    until_s: float
    readers: int = 0
    is_over: bool = False


class Previews:
    """The open previews, one a camera. `run` ends those whose time is over."""

    def __init__(self, clock: Clock, in_session: Callable[[], bool]) -> None:
        self._clock = clock
        self._in_session = in_session
        self._open: dict[str, _Open] = {}

    async def open(self, component: str, preview: Preview) -> str:
        """Make it reachable, in place of an earlier one; the path for an `img`."""
        await self.close(component)
        ticket = secrets.token_urlsafe(24)
        self._open[component] = _Open(preview, ticket, self._clock.monotonic() + LIFE_S)
        return f"{PATH}?ticket={ticket}"

    async def close(self, component: str) -> bool:
        """End it; whether there was one."""
        found = self._open.pop(component, None)
        if found is None:
            return False
        found.is_over = True
        await found.preview.close()
        return True

    async def run(self) -> None:
        """Fetch pictures for those who look, and end what is over, until cancelled."""
        try:
            while True:
                for component, shown in [*self._open.items()]:
                    if not self._in_session() or self._clock.monotonic() >= shown.until_s:
                        await self.close(component)
                await asyncio.sleep(0.5)
        finally:
            for component in [*self._open]:
                await self.close(component)

    def mount(self, app: web.Application) -> None:
        """Add the route."""
        app.router.add_get(PATH, self._handle)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        given = request.query.get("ticket", "").encode(errors="replace")
        known = [(name, one) for name, one in self._open.items() if hmac.compare_digest(given, one.ticket.encode())]
        if not known:
            raise web.HTTPNotFound
        component, shown = known[0]
        if shown.readers >= READERS_MAX:
            raise web.HTTPTooManyRequests
        response = web.StreamResponse(
            headers={
                "Content-Type": f"multipart/x-mixed-replace; boundary={_BOUNDARY}",
                "Cache-Control": "no-store",
                "X-Content-Type-Options": "nosniff",
            }
        )
        await response.prepare(request)
        shown.readers += 1
        try:
            await self._stream(shown, response)
        except (LinkError, DeviceFault):
            await self.close(component)
        except (ConnectionError, TimeoutError):
            pass
        finally:
            shown.readers -= 1
        return response

    @staticmethod
    async def _stream(shown: _Open, response: web.StreamResponse) -> None:
        misses = 0
        while not shown.is_over:
            try:
                picture = await shown.preview.next(timeout_s=_LOOK_S)
            except LinkTimeout:
                misses += 1
                if misses >= _MISSES_MAX:
                    raise
                continue
            misses = 0
            head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
            async with asyncio.timeout(_SEND_S):
                await response.write(head.encode() + picture + b"\r\n")
        with suppress(ConnectionError):
            await response.write_eof()
