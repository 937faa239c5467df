"""Every row of the limits table: the most is served, one more is refused; whoever is too slow is cut."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import fields, replace
from pathlib import Path

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from kit.web import Api, Call, FileBody, GuardSettings, HttpServer, Limits, Routes, open_websocket
from support.waiting import wait_for
from support.web import LOCAL, RawConnection, Serve, request_bytes, send

_SMALL = Limits(
    head_deadline_s=0.3,
    body_deadline_s=0.3,
    keepalive_s=0.3,
    write_stall_s=0.3,
    linger_s=0.1,
    connections=4,
    line_bytes=200,
    field_bytes=300,
    headers=8,
    head_bytes=700,
    body_bytes=1000,
    websocket_message_bytes=100,
)
_PATIENT = replace(_SMALL, head_deadline_s=30.0, body_deadline_s=30.0, keepalive_s=30.0, write_stall_s=30.0)
_WRITE = {"Origin": "http://127.0.0.1", "Content-Type": "application/json"}
_UPGRADE = {
    "Origin": "http://127.0.0.1",
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
_BIG = 64 * 1_048_576

Start = Callable[[Limits], Awaitable[HttpServer]]


@pytest.fixture
def start(serve: Serve, tmp_path: Path) -> Start:
    """Serve with the given limits."""
    file = tmp_path / "big"
    with file.open("wb") as out:
        out.truncate(_BIG)

    async def run(limits: Limits) -> HttpServer:
        return await serve(_app(file), GuardSettings(hosts=LOCAL, limits=limits))

    return run


def _app(file: Path) -> web.Application:
    routes = Routes("l")

    @routes.get("/a", permission=None, summary="Read")
    async def read(call: Call) -> dict[str, bool]:
        return {"ok": True}

    @routes.post("/a", permission=None, summary="Count")
    async def count(call: Call, body: str) -> int:
        return len(body)

    @routes.post("/slow", permission=None, summary="Works longer than a body may take")
    async def slow(call: Call, body: str) -> int:
        await asyncio.sleep(0.5)
        return len(body)

    @routes.post("/timeout", permission=None, summary="Fails with a time-out of its own")
    async def timeout(call: Call, body: str) -> None:
        async with asyncio.timeout(0):
            await asyncio.Event().wait()

    @routes.get("/big", permission=None, summary="Bytes")
    async def big(call: Call) -> FileBody:
        return FileBody(bytes(_BIG))

    @routes.get("/big-file", permission=None, summary="File")
    async def big_file(call: Call) -> FileBody:
        return FileBody(file)

    @routes.get("/echo", permission=None, summary="WebSocket")
    async def echo(call: Call) -> web.WebSocketResponse:
        connection = await open_websocket(call.request)
        async for message in connection:
            await connection.send_str(str(len(message.data)))
        return connection

    async def raw(request: web.Request) -> web.Response:
        return web.json_response(len(await request.read()))

    app = web.Application()
    Api("l", "1", [routes]).mount(app)
    app.router.add_post("/raw", raw)
    return app


# --- sizes ------------------------------------------------------------------------------------------------


def test_every_limit_has_a_test_here() -> None:
    text = Path(__file__).read_text(encoding="utf-8") + Path(__file__).with_name("test_web_server.py").read_text(
        encoding="utf-8"
    )
    assert [field.name for field in fields(Limits) if text.count(field.name) == 0] == []


async def _status(server: HttpServer, data: bytes) -> int:
    return (await send(server, data)).status


async def test_line_bytes(start: Start) -> None:
    server = await start(_PATIENT)
    assert await _status(server, request_bytes("GET", "/a?" + "x" * 197)) == 200
    assert await _status(server, request_bytes("GET", "/a?" + "x" * 198)) == 431


async def test_field_bytes(start: Start) -> None:
    server = await start(_PATIENT)
    assert await _status(server, request_bytes("GET", "/a", {"X": "x" * 300})) == 200
    assert await _status(server, request_bytes("GET", "/a", {"X": "x" * 301})) == 431
    assert await _status(server, request_bytes("GET", "/a", {"x" * 301: "x"})) == 431


async def test_headers(start: Start) -> None:
    server = await start(_PATIENT)
    most = {f"X-{number}": "x" for number in range(_PATIENT.headers - 1)}
    assert await _status(server, request_bytes("GET", "/a", most)) == 200
    assert await _status(server, request_bytes("GET", "/a", {**most, "Y": "x"})) in {400, 431}


@pytest.mark.parametrize("in_one_piece", [True, False])
async def test_head_bytes(start: Start, *, in_one_piece: bool) -> None:
    server = await start(_PATIENT)

    async def status(size: int) -> int:
        fixed = len(request_bytes("GET", "/a", {"A": "x" * 250, "B": "x" * 250, "C": ""}))
        data = request_bytes("GET", "/a", {"A": "x" * 250, "B": "x" * 250, "C": "x" * (size - fixed)})
        assert len(data) == size
        async with RawConnection(server.port) as connection:
            for part in (data,) if in_one_piece else (data[: size - 1], data[size - 1 :]):
                await connection.send(part)
                await asyncio.sleep(0.05)
            return (await connection.reply()).status

    assert await status(_PATIENT.head_bytes) == 200
    assert await status(_PATIENT.head_bytes + 1) == 431


async def test_an_endless_head_is_cut_before_it_ends(start: Start) -> None:
    server = await start(_PATIENT)
    async with RawConnection(server.port) as connection:
        await connection.send(b"GET /a HTTP/1.1\r\n")
        for _ in range(_PATIENT.head_bytes // 50):
            await connection.send(b"X: " + b"x" * 50 + b"\r\n")
        assert b" 4" in (await connection.rest())[:12]


@pytest.mark.parametrize("path", ["/a", "/raw"])
async def test_body_bytes_with_a_length(start: Start, path: str) -> None:
    server = await start(_PATIENT)
    body = b'"' + b"x" * 998 + b'"'
    assert await _status(server, request_bytes("POST", path, _WRITE, body)) == 200
    reply = await send(server, request_bytes("POST", path, _WRITE, body + b" "))
    assert (reply.status, reply.document["limit_bytes"]) == (413, 1000)


async def test_body_bytes_without_a_length(start: Start) -> None:
    server = await start(_PATIENT)
    chunked = {**_WRITE, "Transfer-Encoding": "chunked"}

    def chunks(size: int) -> bytes:
        body = b'"' + b"x" * (size - 2) + b'"'
        parts = [body[at : at + 100] for at in range(0, size, 100)]
        return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"

    assert await _status(server, request_bytes("POST", "/a", chunked) + chunks(1000)) == 200
    assert await _status(server, request_bytes("POST", "/a", chunked) + chunks(1001)) == 413


async def test_a_body_is_refused_by_its_announced_length_before_it_is_sent(start: Start) -> None:
    server = await start(_PATIENT)
    async with RawConnection(server.port) as connection:
        await connection.send(request_bytes("POST", "/a", {**_WRITE, "Content-Length": "1001"}))
        assert (await connection.reply()).status == 413


async def test_connections(start: Start) -> None:
    server = await start(_PATIENT)
    async with asyncio.timeout(5):
        crowd = [RawConnection(server.port) for _ in range(_PATIENT.connections)]
        for one in crowd:
            await one.__aenter__()
            await one.send(request_bytes("GET", "/a"))
            assert (await one.reply()).status == 200
        async with RawConnection(server.port) as late:
            assert (await late.rest()).startswith(b"HTTP/1.1 503 ")
        assert (server.connections.open, server.connections.refused) == (4, 1)
        for one in crowd:
            await one.__aexit__()
        await wait_for(lambda: server.connections.open == 0)
        assert await _status(server, request_bytes("GET", "/a")) == 200


async def test_a_full_server_is_logged_once(start: Start) -> None:
    server = await start(replace(_PATIENT, connections=1))
    with capture_logs() as logs:
        async with RawConnection(server.port) as first:
            await first.send(request_bytes("GET", "/a"))
            await first.reply()
            for _ in range(3):
                async with RawConnection(server.port) as late:
                    await late.rest()
        await wait_for(lambda: server.connections.open == 0)
    events = [entry["event"] for entry in logs if entry["event"].startswith("http.")]
    assert events == ["http.full", "http.room_again"]


async def test_websocket_message_bytes(start: Start) -> None:
    server = await start(_PATIENT)

    def frame(size: int) -> bytes:
        length = bytes((0x80 | size,)) if size < 126 else bytes((0xFE,)) + size.to_bytes(2, "big")
        return b"\x81" + length + bytes(4) + b"x" * size

    async with RawConnection(server.port) as connection:
        await connection.send(request_bytes("GET", "/echo", _UPGRADE))
        assert (await connection.reply()).status == 101
        await connection.send(frame(100))
        assert await connection.reader.readexactly(5) == b"\x81\x03100"
        await connection.send(frame(101))
        closing = await connection.reader.readexactly(4)
        assert (closing[0], int.from_bytes(closing[2:4], "big")) == (0x88, 1009)


async def test_pipelined_requests_are_all_answered(start: Start) -> None:
    server = await start(_PATIENT)
    async with RawConnection(server.port) as connection:
        await connection.send(request_bytes("GET", "/a") * 50)
        for _ in range(50):
            assert (await connection.reply()).status == 200


# --- deadlines --------------------------------------------------------------------------------------------


@asynccontextmanager
async def _takes(at_least_s: float, at_most_s: float) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    started = loop.time()
    yield
    assert at_least_s * 0.95 <= loop.time() - started <= at_most_s


async def _drip(connection: RawConnection, data: bytes, every_s: float) -> None:
    for at in range(len(data)):
        await connection.send(data[at : at + 1])
        await asyncio.sleep(every_s)


async def test_head_deadline_of_a_silent_connection(start: Start) -> None:
    server = await start(replace(_PATIENT, head_deadline_s=0.3))
    async with _takes(0.3, 2.0), RawConnection(server.port) as connection:
        assert await connection.rest() == b""
    await wait_for(lambda: server.connections.open == 0)


async def test_head_deadline_of_a_dripped_head(start: Start) -> None:
    server = await start(replace(_PATIENT, head_deadline_s=0.3))
    async with _takes(0.3, 2.0), RawConnection(server.port) as connection, asyncio.TaskGroup() as group:
        dripping = group.create_task(_drip(connection, request_bytes("GET", "/a", {"X": "x" * 100}), 0.02))
        assert await connection.rest() == b""
        dripping.cancel()


async def test_head_deadline_of_a_later_request(start: Start) -> None:
    server = await start(replace(_PATIENT, head_deadline_s=0.3))
    async with RawConnection(server.port) as connection:
        await connection.send(request_bytes("GET", "/a"))
        await connection.reply()
        async with _takes(0.3, 2.0), asyncio.TaskGroup() as group:
            dripping = group.create_task(_drip(connection, request_bytes("GET", "/a", {"X": "x" * 100}), 0.02))
            assert await connection.rest() == b""
            dripping.cancel()


async def test_head_deadline_of_a_head_behind_another_request(start: Start) -> None:
    server = await start(replace(_PATIENT, head_deadline_s=0.3, keepalive_s=1.0))
    async with RawConnection(server.port) as connection:
        await connection.send(request_bytes("GET", "/a") + b"GET /a HT")
        await connection.reply()
        async with _takes(0.3, 2.0), asyncio.TaskGroup() as group:
            dripping = group.create_task(_drip(connection, b"TP/1.1\r\nX: " + b"x" * 100, 0.02))
            assert await connection.rest() == b""
            dripping.cancel()
        assert (await send(server, request_bytes("GET", "/a"))).status == 200
    await wait_for(lambda: server.connections.open == 0)


async def test_an_idle_connection_may_stay_longer_than_a_head_may_take(start: Start) -> None:
    server = await start(replace(_PATIENT, head_deadline_s=0.1))
    async with RawConnection(server.port) as connection:
        for _ in range(3):
            await connection.send(request_bytes("GET", "/a"))
            assert (await connection.reply()).status == 200
            await asyncio.sleep(0.2)


async def test_keepalive(start: Start) -> None:
    server = await start(replace(_PATIENT, keepalive_s=0.3))
    async with RawConnection(server.port) as connection:
        await connection.send(request_bytes("GET", "/a"))
        await connection.reply()
        async with _takes(0.25, 2.0):
            assert await connection.rest() == b""


@pytest.mark.parametrize("path", ["/a", "/raw"])
@pytest.mark.parametrize("framing", [{"Content-Length": "500"}, {"Transfer-Encoding": "chunked"}])
async def test_body_deadline_of_a_dripped_body(start: Start, path: str, framing: dict[str, str]) -> None:
    server = await start(replace(_PATIENT, body_deadline_s=0.3))
    body = b'"' + b"x" * 498 + b'"' if "Content-Length" in framing else b"1\r\nx\r\n" * 500
    async with _takes(0.3, 2.0), RawConnection(server.port) as connection, asyncio.TaskGroup() as group:
        await connection.send(request_bytes("POST", path, {**_WRITE, **framing}))
        dripping = group.create_task(_drip(connection, body, 0.01))
        reply = await connection.reply()
        assert (reply.status, reply.document["code"]) == (408, "body_timeout")
        assert await connection.rest() == b""
        dripping.cancel()
    await wait_for(lambda: server.connections.open == 0)


async def test_body_deadline_of_a_body_that_never_comes(start: Start) -> None:
    server = await start(replace(_PATIENT, body_deadline_s=0.3))
    async with _takes(0.3, 2.0), RawConnection(server.port) as connection:
        await connection.send(request_bytes("POST", "/a", {**_WRITE, "Content-Length": "10"}))
        assert (await connection.reply()).status == 408
        assert await connection.rest() == b""


async def test_a_handler_may_work_longer_than_a_body_may_take(start: Start) -> None:
    server = await start(replace(_PATIENT, body_deadline_s=0.2))
    body = b'"' + b"x" * 200 + b'"'
    async with RawConnection(server.port) as connection:
        await connection.send(request_bytes("POST", "/slow", {**_WRITE, "Content-Length": str(len(body))}))
        await asyncio.sleep(0.05)
        await connection.send(body)
        reply = await connection.reply()
        assert (reply.status, reply.document) == (200, 200)


async def test_a_time_out_inside_a_handler_is_not_taken_for_a_slow_body(start: Start) -> None:
    server = await start(_PATIENT)
    async with RawConnection(server.port) as connection:
        await connection.send(request_bytes("POST", "/timeout", {**_WRITE, "Content-Length": "3"}))
        await asyncio.sleep(0.05)
        with capture_logs():
            await connection.send(b'"x"')
            assert (await connection.reply()).status == 500


async def test_linger_of_a_refused_body(start: Start) -> None:
    """The rest of a refused body is taken for a moment, so that the client can read why."""
    server = await start(replace(_PATIENT, linger_s=0.3))
    async with RawConnection(server.port) as connection:
        await connection.send(request_bytes("POST", "/a", {**_WRITE, "Content-Length": "100000"}))
        for _ in range(10):
            await connection.send(b"x" * 1000)
        assert (await connection.reply()).status == 413
        async with _takes(0.2, 2.0):
            await connection.rest()


def _unread(server: HttpServer, path: str) -> socket.socket:
    """Ask for something big with a small receive buffer, and read none of it."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", server.port))
    client.sendall(request_bytes("GET", path))
    return client


@pytest.mark.parametrize("path", ["/big", "/big-file"])
async def test_write_stall_of_a_client_that_does_not_read(start: Start, path: str) -> None:
    server = await start(replace(_PATIENT, write_stall_s=0.3, file_bytes_per_s=1_000_000_000))
    with _unread(server, path):
        await wait_for(lambda: server.connections.open == 1)
        async with _takes(0.2, 3.0):
            await wait_for(lambda: server.connections.open == 0)


async def test_a_slow_reader_that_keeps_the_pace_is_served(start: Start) -> None:
    server = await start(replace(_PATIENT, write_stall_s=0.2, file_bytes_per_s=1_000_000))
    async with RawConnection(server.port) as connection:
        await connection.send(request_bytes("GET", "/big"))
        head = await connection.reader.readuntil(b"\r\n\r\n")
        assert b" 200 " in head
        left = _BIG
        while left:
            left -= len(await connection.reader.readexactly(min(left, 4 * 1_048_576)))
            await asyncio.sleep(0.05)


async def test_what_is_turned_away_below_the_handlers_is_told_by_reason(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "big").touch()
    told: list[str] = []
    limits = replace(_PATIENT, connections=1, head_deadline_s=0.3)
    settings = GuardSettings(hosts=LOCAL, limits=limits, refused=told.append)
    server = await serve(_app(tmp_path / "big"), settings)
    async with RawConnection(server.port) as first:
        await wait_for(lambda: server.connections.open == 1)
        assert (await send(server, request_bytes("GET", "/a"))).status == 503
        assert await first.rest() == b""
    await wait_for(lambda: server.connections.open == 0)
    assert told == ["connections_full", "head_late"]
    for data in (
        b"GET /a HTTP/1.1\r\nHost: 127.0.0.1\r\nno colon\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * 600 + b"\r\n\r\n",
        request_bytes("GET", "/a", host="evil.example"),
    ):
        async with RawConnection(server.port) as connection:
            await connection.send(data)
            await connection.rest()
        await wait_for(lambda: server.connections.open == 0)
    assert told[2:] == ["head_invalid", "head_too_large", "host_unknown"]
