"""The live channel on real sockets: who may look, snapshot and changes, resuming, viewers that take nothing."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType, web

from fleet_server.live.hub import QUEUE_MESSAGES, Hub
from fleet_server.live.routes import METRICS, PATH, READ, LiveChannel, Pace
from kit.metrics import Metrics
from kit.web import HttpServer, Principal
from support.feature_api import Anybody
from support.waiting import wait_for
from support.web import Serve

NEVER_S = 3_600.0
HANDSHAKE = (
    "GET /api/v1/live HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\n"
    "Connection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
SUBSCRIBE = b'{"sub":[{"topic":"kiosks"}]}'


@dataclass(slots=True)
class Stage:
    """A hub, who comes to look, and how patient the channel is."""

    serve: Serve
    hub: Hub = field(default_factory=lambda: Hub(["kiosks", "alarms"]))
    visitor: Principal | None = field(default_factory=Anybody)
    pace: Pace = field(default_factory=lambda: Pace(NEVER_S, NEVER_S, NEVER_S))
    metrics: Metrics = field(default_factory=lambda: Metrics(METRICS))
    server: HttpServer | None = None

    async def opens(self) -> None:
        async def authenticate(request: web.Request) -> Principal | None:
            return self.visitor

        app = web.Application()
        LiveChannel(self.hub, authenticate, self.metrics.gauge("fleet_live_viewers"), self.pace).mount(app)
        self.server = await self.serve(app)

    @property
    def origin(self) -> str:
        """Where our page would come from."""
        assert self.server is not None
        return self.server.url

    @property
    def viewers(self) -> float:
        (family,) = self.metrics.gauge("fleet_live_viewers").collect()
        return family.samples[0].value

    @asynccontextmanager
    async def viewer(self) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        async with aiohttp.ClientSession() as http, http.ws_connect(self.origin + PATH, origin=self.origin) as channel:
            yield channel


@pytest.fixture
def stage(serve: Serve) -> Stage:
    return Stage(serve)


async def hears(channel: aiohttp.ClientWebSocketResponse) -> Any:  # noqa: ANN401 - a JSON document
    return await channel.receive_json(timeout=5.0)


@pytest.mark.parametrize(("visitor", "status"), [(None, 401), (Anybody(permissions=frozenset({"kiosks.read"})), 403)])
async def test_only_who_may_look_gets_in(stage: Stage, visitor: Anybody | None, status: int) -> None:
    stage.visitor = visitor
    await stage.opens()
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with stage.viewer():
            pass
    assert refused.value.status == status
    assert stage.viewers == 0


async def test_a_snapshot_first_then_what_changes(stage: Stage) -> None:
    await stage.opens()
    stage.hub.publish("kiosks", {"a": {"kid": "a", "n": 1}})
    async with stage.viewer() as channel:
        await channel.send_str('{"sub":[{"topic":"kiosks"},{"topic":"alarms"},{"topic":"secrets"}]}')
        first, second, third = [await hears(channel) for _ in range(3)]
        assert (first["t"], first["topic"], first["rows"]) == ("snap", "kiosks", [{"kid": "a", "n": 1}])
        assert (second["t"], second["topic"], second["rows"]) == ("snap", "alarms", [])
        assert third == {"t": "error", "topic": "secrets", "code": "unknown_topic"}
        stage.hub.publish("kiosks", {"a": {"kid": "a", "n": 1}, "b": {"kid": "b", "n": 2}})
        change = await hears(channel)
        assert (change["t"], change["prev"], change["rows"]) == ("d", first["seq"], [{"kid": "b", "n": 2}])
        assert stage.viewers == 1
    await wait_for(lambda: stage.viewers == 0, what="the viewer to be forgotten")


async def test_a_viewer_resumes_by_number(stage: Stage) -> None:
    await stage.opens()
    async with stage.viewer() as channel:
        await channel.send_bytes(b"binary is not for us")
        await channel.send_str(SUBSCRIBE.decode())
        seq = (await hears(channel))["seq"]
    for number in range(3):
        stage.hub.publish("kiosks", {"a": {"n": number}})
    async with stage.viewer() as channel:
        await channel.send_json({"sub": [{"topic": "kiosks", "since": seq}]})
        assert [(await hears(channel))["rows"] for _ in range(3)] == [[{"n": 0}], [{"n": 1}], [{"n": 2}]]


@pytest.mark.parametrize(
    "said",
    ["", "no JSON", "[]", '{"sub":7}', '{"sub":[{"topic":"kiosks","since":-1}]}', '{"sub":[{"topic":"x","y":1}]}'],
)
async def test_who_speaks_nonsense_is_sent_away_with_a_code(stage: Stage, said: str) -> None:
    await stage.opens()
    async with stage.viewer() as channel:
        await channel.send_str(said)
        ended = await channel.receive(timeout=5.0)
        assert (ended.type, ended.data) == (WSMsgType.CLOSE, 1003)


async def test_pings_both_ways(stage: Stage) -> None:
    stage.pace = Pace(ping_s=0.02, send_s=NEVER_S, recheck_s=NEVER_S)
    await stage.opens()
    async with stage.viewer() as channel:
        assert await hears(channel) == {"t": "ping"}
        await channel.send_str('{"t":"ping"}')
        while (said := await hears(channel)) == {"t": "ping"}:
            pass
        assert said == {"t": "pong"}


async def test_who_was_signed_out_does_not_go_on_looking(stage: Stage) -> None:
    stage.pace = Pace(ping_s=0.02, send_s=NEVER_S, recheck_s=0.04)
    await stage.opens()
    async with stage.viewer() as channel:
        assert await hears(channel) == {"t": "ping"}
        stage.visitor = Anybody(permissions=frozenset())
        while (ended := await channel.receive(timeout=5.0)).type is WSMsgType.TEXT:
            pass
        assert (ended.type, ended.data) == (WSMsgType.CLOSE, 1008)


@dataclass(slots=True)
class Sleeper:
    """A viewer that subscribes and then takes nothing from its socket any more."""

    link: socket.socket

    def is_cut(self) -> bool:
        """Whether the connection ends behind what lies in the buffers."""
        try:
            while self.link.recv(65_536):
                pass
        except BlockingIOError:
            return False
        except ConnectionError:
            pass
        return True


@asynccontextmanager
async def sleeper(stage: Stage) -> AsyncIterator[Sleeper]:
    assert stage.server is not None
    loop = asyncio.get_running_loop()
    with socket.socket() as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        link.settimeout(0)
        await loop.sock_connect(link, ("127.0.0.1", stage.server.port))
        await loop.sock_sendall(link, HANDSHAKE.format(host=f"127.0.0.1:{stage.server.port}").encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += await loop.sock_recv(link, 64)
        assert head.startswith(b"HTTP/1.1 101")
        masked = b"\x81" + bytes([0x80 | len(SUBSCRIBE)]) + b"\0\0\0\0" + SUBSCRIBE
        await loop.sock_sendall(link, masked)
        yield Sleeper(link)


@pytest.mark.parametrize(
    "pace", [Pace(0.02, NEVER_S, NEVER_S), Pace(NEVER_S, 0.1, NEVER_S)], ids=["queue full", "stalled"]
)
async def test_a_viewer_that_takes_nothing_is_cut_and_the_others_see_everything(stage: Stage, pace: Pace) -> None:
    stage.pace = pace
    await stage.opens()
    async with sleeper(stage) as slow, stage.viewer() as quick:
        await quick.send_str(SUBSCRIBE.decode())
        while (await hears(quick))["t"] != "snap":
            pass
        await wait_for(lambda: stage.viewers == 2, what="both to be there")
        padding = "x" * 20_000
        seen = 0
        for number in range(QUEUE_MESSAGES + 500):
            stage.hub.publish("kiosks", {"a": {"n": number, "padding": padding}})
            while seen <= number:
                seen += (await hears(quick))["t"] == "d"
        await wait_for(lambda: stage.viewers == 1, what="the slow one to be cut")
        await wait_for(slow.is_cut, what="its connection to end")
        stage.hub.publish("kiosks", {"a": {"n": -1}})
        while (last := await hears(quick))["t"] != "d":
            pass
        assert last["rows"] == [{"n": -1}]


def test_the_table_of_permissions_knows_this_one() -> None:
    assert READ in Anybody().permissions
