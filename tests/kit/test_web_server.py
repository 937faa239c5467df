"""The server as a component: it starts, says where it is, stops quickly, and stays light."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import ClientSession, WSMsgType, web
from structlog.testing import capture_logs

from kit.web import (
    Api,
    Call,
    Guard,
    GuardSettings,
    HttpServer,
    Limits,
    ListenError,
    Routes,
    open_websocket,
    peer_certificate,
)
from support.pki import Pki, client_context, server_context
from support.waiting import wait_for
from support.web import LOCAL, RawConnection, Serve, request_bytes, send

_QUICK = Limits(shutdown_s=0.3, websocket_close_s=0.3, tls_handshake_s=0.3)
_UPGRADE = {
    "Origin": "http://127.0.0.1",
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
Stop = Callable[[], Coroutine[None, None, float]]


def _server(limits: Limits = _QUICK, port: int = 0) -> HttpServer:
    return HttpServer("one", _app(), guard=Guard(GuardSettings(hosts=LOCAL, limits=limits)), port=port)


def _app() -> web.Application:
    routes = Routes("s")

    @routes.get("/who", permission=None, summary="Certificate")
    async def who(call: Call) -> int | None:
        certificate = peer_certificate(call.request)
        return None if certificate is None else len(certificate)

    @routes.get("/hang", permission=None, summary="Never ends")
    async def hang(call: Call) -> None:
        await asyncio.Event().wait()

    @routes.get("/live", permission=None, summary="WebSocket")
    async def live(call: Call) -> web.WebSocketResponse:
        socket = await open_websocket(call.request)
        async for message in socket:
            if message.data == "break":
                raise LookupError
        return socket

    app = web.Application()
    Api("s", "1", [routes]).mount(app)
    return app


@asynccontextmanager
async def _running(server: HttpServer) -> AsyncIterator[Stop]:
    """Run a server; the function given stops it and says how many seconds that took."""
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(server.run())
        await server.started()

        async def stop() -> float:
            started = loop.time()
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            return loop.time() - started

        yield stop
        await stop()


async def test_it_says_where_it_listens_and_frees_the_port() -> None:
    server = _server()
    with pytest.raises(AssertionError, match="has not started"):
        _ = server.port
    async with _running(server):
        assert server.url == f"http://127.0.0.1:{server.port}"
        assert (await send(server, request_bytes("GET", "/who"))).status == 200
    with pytest.raises(ConnectionRefusedError):
        await send(server, request_bytes("GET", "/who"))


async def test_it_can_be_run_again_as_a_supervisor_does() -> None:
    server = _server()
    for _ in range(2):
        async with _running(server):
            assert (await send(server, request_bytes("GET", "/who"))).status == 200


async def test_a_taken_port_is_named(serve: Serve) -> None:
    first = await serve(_app())
    second = _server(port=first.port)
    with pytest.raises(ListenError, match=rf"one: cannot listen on 127\.0\.0\.1:{first.port}: .*in use"):
        await second.run()
    with pytest.raises(ListenError):
        await second.started()


async def test_shutdown_s_bounds_what_is_running() -> None:
    server = _server()
    async with _running(server) as stop, RawConnection(server.port) as hanging, RawConnection(server.port) as idle:
        await hanging.send(request_bytes("GET", "/hang"))
        await idle.send(request_bytes("GET", "/who"))
        await idle.reply()
        assert await stop() < 3.0
        assert await idle.rest() == b""
        assert await hanging.rest() == b""
    assert server.connections.open == 0


async def test_websockets_are_told_that_the_server_stops() -> None:
    server = _server()
    async with _running(server) as stop, ClientSession() as client, asyncio.TaskGroup() as group:
        sockets = [await client.ws_connect(f"{server.url}/live", headers={"Origin": server.url}) for _ in range(20)]
        stopping = group.create_task(stop())
        messages = [await socket.receive() for socket in sockets]
        assert {(message.type, message.data) for message in messages} == {(WSMsgType.CLOSE, 1001)}
        assert await stopping < 2.0


async def test_websocket_close_s_bounds_a_websocket_that_does_not_answer() -> None:
    server = _server()
    async with _running(server) as stop, RawConnection(server.port) as mute:
        await mute.send(request_bytes("GET", "/live", _UPGRADE))
        assert (await mute.reply()).status == 101
        assert await stop() < 3.0


async def test_websocket_ping_s_finds_a_websocket_that_is_gone() -> None:
    server = _server(replace(_QUICK, websocket_ping_s=0.2))
    async with _running(server), RawConnection(server.port) as mute:
        await mute.send(request_bytes("GET", "/live", _UPGRADE))
        assert (await mute.reply()).status == 101
        assert (await mute.reader.readexactly(2))[0] == 0x89, "a ping, which is never answered"
        await wait_for(lambda: server.connections.open == 0)


async def test_a_websocket_handler_that_breaks_is_an_incident_and_closes() -> None:
    server = _server()
    with capture_logs() as logs:
        async with _running(server), ClientSession() as client:
            socket = await client.ws_connect(f"{server.url}/live", headers={"Origin": server.url})
            await socket.send_str("break")
            assert (await socket.receive()).type in {WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.ERROR}
            await wait_for(lambda: server.connections.open == 0)
    assert [entry["operation"] for entry in logs if entry["event"] == "http.incident"] == ["s.live"]


async def test_tls_with_a_client_certificate(serve: Serve, tmp_path: Path) -> None:
    pki = Pki.new()
    ca = pki.write(tmp_path / "pki") / "ca.pem"
    context = server_context(ca, pki.server.write(tmp_path, "server"))
    server = await serve(_app(), ssl_context=context)
    assert server.url.startswith("https://")
    async with ClientSession() as client:
        ours = client_context(ca, pki.client.write(tmp_path, "client"))
        async with client.get(f"{server.url}/who", ssl=ours) as response:
            assert response.status == 200
            assert (await response.json()) > 100
    async with RawConnection(server.port) as plain:
        await plain.send(request_bytes("GET", "/who"))
        assert b"HTTP" not in await plain.rest()


async def test_tls_handshake_s_cuts_a_silent_client(tmp_path: Path) -> None:
    pki = Pki.new()
    ca = pki.write(tmp_path / "pki") / "ca.pem"
    context = server_context(ca, pki.server.write(tmp_path, "server"))
    server = HttpServer("tls", _app(), guard=Guard(GuardSettings(hosts=LOCAL, limits=_QUICK)), ssl_context=context)
    async with _running(server), RawConnection(server.port) as silent:
        async with asyncio.timeout(3.0):
            assert await silent.rest() == b""


def test_importing_it_loads_nothing_heavy() -> None:
    script = "import sys, kit.web; print(' '.join(sorted({name.partition('.')[0] for name in sys.modules})))"
    loaded = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()
    assert "aiohttp" in loaded
    heavy = {"sqlalchemy", "sqlmodel", "alembic", "orjson", "typer", "cryptography", "openapi_spec_validator"}
    assert heavy & set(loaded) == set()
