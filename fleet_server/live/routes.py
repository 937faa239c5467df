"""The WebSocket of the live channel: subscriptions in, encoded messages out, pings both ways, slow viewers cut."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Final

import orjson
from aiohttp import WSCloseCode, WSMsgType, web
from prometheus_client import Gauge
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fleet_server.live.hub import Hub, SlowConsumer, Subscriber
from kit.logs import get_logger
from kit.metrics import Kind, MetricSpec
from kit.supervise import TaskGroup
from kit.web import Principal, open_websocket

PATH: Final = "/api/v1/live"
READ: Final = "live.read"
METRICS: Final = (MetricSpec("fleet_live_viewers", Kind.GAUGE, "open live channels"),)
_PING: Final = b'{"t":"ping"}'
_PONG: Final = b'{"t":"pong"}'
log = get_logger(__name__)
Authenticate = Callable[[web.Request], Awaitable[Principal | None]]


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a viewer has for what, in seconds."""

    ping_s: float = 10.0
    send_s: float = 10.0
    """To take one message; a viewer that is slower is cut."""
    recheck_s: float = 30.0
    """How often it is asked anew whether the viewer may still look."""


class Subscription(BaseModel):
    """One topic, from where the viewer left off."""

    model_config = ConfigDict(extra="forbid")
    topic: Annotated[str, Field(max_length=32)]
    since: int | None = Field(default=None, ge=0)


class ClientMessage(BaseModel):
    """What a viewer may say."""

    model_config = ConfigDict(extra="ignore")
    sub: list[Subscription] | None = Field(default=None, max_length=16)
    t: Annotated[str, Field(max_length=8)] | None = None


class LiveChannel:
    """Serves viewers of one hub."""

    def __init__(self, hub: Hub, authenticate: Authenticate, viewers: Gauge, pace: Pace | None = None) -> None:
        """Let in whoever `authenticate` knows and may read."""
        self._hub = hub
        self._authenticate = authenticate
        self._viewers = viewers
        self._pace = pace or Pace()

    def mount(self, app: web.Application) -> None:
        """Add the route."""
        app.router.add_get(PATH, self._handle)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        principal = await self._authenticate(request)
        if principal is None:
            raise web.HTTPUnauthorized
        if READ not in principal.permissions:
            raise web.HTTPForbidden
        socket = await open_websocket(request)
        subscriber = Subscriber()
        self._viewers.inc()
        try:
            async with TaskGroup() as group:
                sender = group.create_task(self._send(socket, subscriber), name="live-send")
                pinger = group.create_task(self._ping(socket, subscriber, request), name="live-ping")
                await self._receive(socket, subscriber)
                sender.cancel()
                pinger.cancel()
        finally:
            self._viewers.dec()
            self._hub.unsubscribe(subscriber)
        return socket

    async def _receive(self, socket: web.WebSocketResponse, subscriber: Subscriber) -> None:
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            try:
                said = ClientMessage.model_validate_json(message.data)
            except ValidationError:
                await socket.close(code=WSCloseCode.UNSUPPORTED_DATA, message=b"unreadable message")
                return
            if said.t == "ping":
                subscriber.put(_PONG)
            for wanted in said.sub or ():
                if wanted.topic not in self._hub.names:
                    subscriber.put(orjson.dumps({"t": "error", "topic": wanted.topic, "code": "unknown_topic"}))
                else:
                    self._hub.subscribe(wanted.topic, subscriber, wanted.since)

    async def _send(self, socket: web.WebSocketResponse, subscriber: Subscriber) -> None:
        while not socket.closed:
            try:
                message = await subscriber.next()
                async with asyncio.timeout(self._pace.send_s):
                    await socket.send_str(message.decode())
            except (SlowConsumer, TimeoutError):
                log.info("viewer.cut")
                await _cut(socket)
                return
            except ConnectionError:
                return

    async def _ping(self, socket: web.WebSocketResponse, subscriber: Subscriber, request: web.Request) -> None:
        """Ping, and look again and again whether the viewer may still look."""
        pace = self._pace
        rounds = 0
        while not socket.closed:
            await asyncio.sleep(pace.ping_s)
            subscriber.put(_PING)
            if subscriber.is_cut:
                await _cut(socket)
                return
            rounds += 1
            if rounds % round(pace.recheck_s / pace.ping_s) == 0:
                principal = await self._authenticate(request)
                if principal is None or READ not in principal.permissions:
                    await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"signed out")
                    return


async def _cut(socket: web.WebSocketResponse) -> None:
    """End a channel whose other side takes nothing: a close frame would wait like everything else."""
    writer = socket._writer  # noqa: SLF001 - aiohttp has no public way to drop a stalled WebSocket
    transport = None if writer is None else writer.transport
    if transport is not None:
        transport.abort()
