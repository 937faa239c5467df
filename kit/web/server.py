"""An HTTP server as a component: listens while `run` runs, and stops quickly."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

import structlog
from aiohttp import WSCloseCode, web

from kit.supervise import TaskGroup
from kit.web.limits import Limits
from kit.web.problem import Problem
from kit.web.protocol import Connections, GuardedHandler
from kit.web.reading import LIMITS

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

    from kit.web.guard import Guard

_WEBSOCKETS: Final[web.AppKey[WeakSet[web.WebSocketResponse]]] = web.AppKey("websockets")
_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class ListenError(Exception):
    """The server cannot listen where it was told to."""


class HttpServer:
    """Serves one application behind one guard on one address."""

    def __init__(
        self,
        name: str,
        app: web.Application,
        *,
        guard: Guard,
        host: str = "127.0.0.1",
        port: int = 0,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """Put the guard in front of the application; nothing listens before `run`. Port 0 takes a free one."""
        self.name = name
        self.connections = Connections(guard.limits.connections, guard.settings.refused)
        self._app = app
        self._limits = guard.limits
        self._host = host
        self._wanted_port = port
        self._ssl_context = ssl_context
        self._started = asyncio.Event()
        self._port: int | None = None
        self._failure: Exception | None = None
        self._guard = guard
        app[LIMITS] = guard.limits
        app[_WEBSOCKETS] = WeakSet()
        app.on_shutdown.append(_close_websockets)

    @property
    def port(self) -> int:
        """The port it listens on, once started."""
        if self._port is None:
            raise AssertionError(f"{self.name} has not started")
        return self._port

    @property
    def url(self) -> str:
        """The address to reach it, without a trailing slash."""
        scheme = "http" if self._ssl_context is None else "https"
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{scheme}://{host}:{self.port}"

    async def started(self) -> None:
        """Wait until it listens. Raises: what `run` raised."""
        await self._started.wait()
        if self._failure is not None:
            raise self._failure

    async def run(self) -> None:
        """Serve until cancelled. Raises: ListenError, and whatever a start-up hook of the application raises."""
        self._failure = None
        self._started.clear()
        runner = web.AppRunner(
            self._app, handle_signals=False, access_log=None, shutdown_timeout=self._limits.shutdown_s
        )
        try:
            listener = await self._listen(runner)
        except Exception as error:
            self._failure = error
            self._started.set()
            await runner.cleanup()
            raise
        try:
            async with listener:
                self._port = listener.sockets[0].getsockname()[1]
                self._started.set()
                _log.info("http.listening", server=self.name, url=self.url)
                await asyncio.get_running_loop().create_future()
        finally:
            self._started.clear()
            await runner.cleanup()

    async def _listen(self, runner: web.AppRunner) -> asyncio.Server:
        await runner.setup()
        loop = asyncio.get_running_loop()
        server = runner.server
        assert server is not None  # noqa: S101 - set by setup()
        server.request_handler = self._guard.around(server.request_handler)
        is_tls = self._ssl_context is not None
        try:
            return await loop.create_server(
                partial(GuardedHandler, server, loop=loop, limits=self._limits, connections=self.connections),
                self._host,
                self._wanted_port,
                ssl=self._ssl_context,
                ssl_handshake_timeout=self._limits.tls_handshake_s if is_tls else None,
                ssl_shutdown_timeout=self._limits.shutdown_s if is_tls else None,
                backlog=self._limits.connections,
            )
        except OSError as error:
            reason = error.strerror or str(error)
            raise ListenError(f"{self.name}: cannot listen on {self._host}:{self._wanted_port}: {reason}") from error


async def open_websocket(request: web.Request, *, protocols: Sequence[str] = ()) -> web.WebSocketResponse:
    """Accept a WebSocket with the server's limits; it is closed (1001) when the server stops.

    Of `protocols` the first one the client offers too is chosen.

    Raises:
        Problem: 400, the request is not a WebSocket handshake.

    """
    limits = request.app.get(LIMITS, Limits())
    socket = web.WebSocketResponse(
        max_msg_size=limits.websocket_message_bytes + 1,  # aiohttp refuses a message of exactly this size
        heartbeat=limits.websocket_ping_s,
        timeout=limits.websocket_close_s,
        protocols=protocols,
        compress=False,
    )
    try:
        await socket.prepare(request)
    except (web.HTTPBadRequest, ValueError) as error:  # the latter from reading strange headers
        raise Problem(400, "handshake_invalid", "A WebSocket handshake is required") from error
    if _WEBSOCKETS in request.app:
        request.app[_WEBSOCKETS].add(socket)
    return socket


async def _close_websockets(app: web.Application) -> None:
    sockets = app[_WEBSOCKETS]
    async with TaskGroup() as group:
        for number, socket in enumerate(list(sockets)):
            group.create_task(_close(socket), name=f"websocket-close-{number}")


async def _close(socket: web.WebSocketResponse) -> None:
    try:
        async with asyncio.timeout(1.0):
            await socket.close(code=WSCloseCode.GOING_AWAY, message=b"server stops")
    except (TimeoutError, ConnectionError):
        return
