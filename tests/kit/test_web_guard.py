"""Who is let in: every refusal is sent as raw bytes, because no ordinary client would send it."""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Mapping

import pytest
from aiohttp import web
from pydantic import BaseModel
from structlog.testing import capture_logs

from kit.web import Api, Call, GuardSettings, HttpServer, Routes, open_websocket
from support.web import RawConnection, Reply, Serve, request_bytes, send

_HOSTS = frozenset({"127.0.0.1", "kiosk.local", "[::1]"})
_PAGE = "http://127.0.0.1"
_JSON = {"Content-Type": "application/json"}
_UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


class _Order(BaseModel):
    number: int


class _Effects:
    """What reached a handler."""

    def __init__(self) -> None:
        self.count = 0


@pytest.fixture
def effects() -> _Effects:
    return _Effects()


def _app(effects: _Effects) -> web.Application:
    routes = Routes("g")

    @routes.get("/secret", permission=None, summary="Read")
    async def secret(call: Call) -> dict[str, str]:
        effects.count += 1
        return {"secret": "canary"}

    @routes.post("/order", permission=None, summary="Change")
    async def order(call: Call, body: _Order) -> _Order:
        effects.count += 1
        return body

    @routes.delete("/order", permission=None, summary="Remove")
    async def remove(call: Call) -> None:
        effects.count += 1

    @routes.get("/live", permission=None, summary="Live")
    async def live(call: Call) -> web.WebSocketResponse:
        socket = await open_websocket(call.request)
        effects.count += 1
        await socket.send_str("canary")
        async for _ in socket:
            pass
        return socket

    async def raw(request: web.Request) -> web.Response:
        effects.count += 1
        return web.json_response(await request.json())

    async def breaks(_request: web.Request) -> web.Response:
        raise KeyError("canary")

    async def away(_request: web.Request) -> web.Response:
        raise web.HTTPFound("/secret")

    app = web.Application()
    Api("g", "1", [routes]).mount(app)
    app.router.add_post("/raw", raw)
    app.router.add_get("/breaks", breaks)
    app.router.add_get("/away", away)
    return app


@pytest.fixture
async def server(serve: Serve, effects: _Effects) -> HttpServer:
    settings = GuardSettings(hosts=_HOSTS, origins=frozenset({"https://dashboard.hospital"}))
    return await serve(_app(effects), settings)


@pytest.fixture
async def lenient(serve: Serve, effects: _Effects) -> HttpServer:
    return await serve(_app(effects), GuardSettings(hosts=_HOSTS, origin_required=False))


def _code(reply: Reply) -> tuple[int, str]:
    assert reply.headers["content-type"] == "application/problem+json"
    assert b"canary" not in reply.body
    code: str = reply.document["code"]
    return reply.status, code


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8080", "kiosk.local", "KIOSK.local:1", "[::1]", "[::1]:8080"])
async def test_our_names_are_answered(server: HttpServer, effects: _Effects, host: str) -> None:
    assert (await send(server, request_bytes("GET", "/secret", host=host))).status == 200
    assert effects.count == 1


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "kiosk.local.evil.example",
        "evil-kiosk.local",
        "kiosk.local.",
        "127.0.0.1.",
        "127.0.0.2",
        "0.0.0.0",  # noqa: S104 - a name to refuse
        "2130706433",
        "0x7f000001",
        "127.1",
        "[::]",
        "[::ffff:127.0.0.1]",
        "localhost",
        "localhost.",
        "127.0.0.1:",
        "127.0.0.1:123456",
        "127.0.0.1:80:80",
        "127.0.0.1@evil.example",
        "user@127.0.0.1",
        "127.0.0.1/",
        "127.0.0.1 evil.example",
        "127.0.0.1,evil.example",
        "*",
        "null",
    ],
)
async def test_other_names_are_misdirected(server: HttpServer, effects: _Effects, host: str) -> None:
    reply = await send(server, request_bytes("GET", "/secret", host=host))
    assert _code(reply) in {(421, "host_unknown"), (400, "bad_request")}
    assert reply.headers["connection"] == "close"
    assert effects.count == 0


async def test_other_names_are_misdirected_on_paths_that_do_not_exist_too(server: HttpServer) -> None:
    assert _code(await send(server, request_bytes("GET", "/nothing", host="evil"))) == (421, "host_unknown")


@pytest.mark.parametrize(
    "data",
    [
        b"GET /secret HTTP/1.1\r\n\r\n",
        b"GET /secret HTTP/1.0\r\n\r\n",
        b"GET /secret HTTP/1.1\r\nHost:\r\n\r\n",
        b"GET /secret HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET /secret HTTP/1.1\r\nHost: 127.0.0.1\r\nhost: evil\r\n\r\n",
        b"GET http://evil/secret HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET http://127.0.0.1/secret HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"CONNECT 127.0.0.1:80 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET secret HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET /secret HTTP/1.1\r\nHost: 127.0.0.1\r\n folded: x\r\n\r\n",
        b"GET /secret HTTP/1.1\r\nHost : 127.0.0.1\r\n\r\n",
        b"GET /secret HTTP/1.1\r\nHost: 127.0.0.1\r\nX: a\x00b\r\n\r\n",
        b"GET /secret\r\nHost: 127.0.0.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /secret HTTP/2.0\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET /secret HTTP/1.1\nHost: 127.0.0.1\n\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ],
)
async def test_malformed_and_ambiguous_heads_are_refused(server: HttpServer, effects: _Effects, data: bytes) -> None:
    with capture_logs() as logs:
        reply = await send(server, data)
    assert 400 <= reply.status < 500 or reply.status == 505
    assert _code(reply)[0] == reply.status
    assert effects.count == 0
    assert [entry for entry in logs if entry["log_level"] == "error"] == [], "no trace per port scan"


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Length": "12", "Transfer-Encoding": "chunked"},
        {"Transfer-Encoding": "chunked, identity"},
        {"Transfer-Encoding": "xchunked"},
        {"Transfer-Encoding": "identity"},
        {"Transfer-Encoding": "chunked", "Transfer-Encoding ": "x"},
        {"Content-Length": "+12"},
        {"Content-Length": "1_2"},
        {"Content-Length": "-1"},
        {"Content-Length": "12, 12"},
        {"Content-Length": "12", "content-length": "13"},
    ],
)
async def test_smuggling_pairs_are_refused(server: HttpServer, effects: _Effects, headers: Mapping[str, str]) -> None:
    head = {"Origin": _PAGE, **_JSON, **headers}
    inner = request_bytes("DELETE", "/order", {"Origin": _PAGE})
    async with RawConnection(server.port) as connection:
        await connection.send(request_bytes("POST", "/order", head, b'{"number":1}' + inner))
        answer = await connection.rest()
    assert answer.startswith(b"HTTP/1.0 400 "), answer
    assert answer.count(b"HTTP/1.") == 1
    assert b"aiohttp" not in answer
    assert effects.count == 0


@pytest.mark.parametrize("origin", [_PAGE, "https://dashboard.hospital"])
async def test_our_pages_may_change_something(server: HttpServer, effects: _Effects, origin: str) -> None:
    reply = await send(server, request_bytes("POST", "/order", {"Origin": origin, **_JSON}, b'{"number":1}'))
    assert reply.status == 200
    assert "access-control-allow-origin" not in reply.headers
    assert effects.count == 1


_FOREIGN = [
    "null",
    "http://evil.example",
    "https://127.0.0.1",
    "http://127.0.0.1:8081",
    "http://127.0.0.1.evil.example",
    "http://127.0.0.1/",
    "http://127.0.0.1,http://evil.example",
    "http://dashboard.hospital",
    "https://dashboard.hospital:444",
    "https://dashboard.hospital.evil.example",
    "https://xdashboard.hospital",
    "https://dashboard.hospital.",
    "file://",
    "data:",
    "blob:http://127.0.0.1",
    "*",
    "",
]


@pytest.mark.parametrize("origin", _FOREIGN)
@pytest.mark.parametrize("request_line", [("POST", "/order"), ("DELETE", "/order"), ("OPTIONS", "/order")])
async def test_pages_of_others_may_not(
    server: HttpServer, lenient: HttpServer, effects: _Effects, origin: str, request_line: tuple[str, str]
) -> None:
    method, path = request_line
    body = b'{"number":1}' if method == "POST" else b""
    for one in (server, lenient):
        reply = await send(one, request_bytes(method, path, {"Origin": origin, **_JSON}, body))
        assert _code(reply) == (403, "origin_refused")
        assert not any(name.startswith("access-control") for name in reply.headers)
    assert effects.count == 0


async def test_two_origins_are_refused(server: HttpServer, effects: _Effects) -> None:
    data = request_bytes("DELETE", "/order", {"Origin": _PAGE, "origin": _PAGE})
    assert _code(await send(server, data)) in {(403, "origin_refused"), (400, "bad_request")}
    assert effects.count == 0


async def test_a_change_without_origin_is_refused_unless_programs_may_call(
    server: HttpServer, lenient: HttpServer, effects: _Effects
) -> None:
    data = request_bytes("DELETE", "/order")
    assert _code(await send(server, data)) == (403, "origin_required")
    assert effects.count == 0
    assert (await send(lenient, data)).status == 204


async def test_a_change_that_rides_on_a_cookie_needs_the_header_no_other_page_can_add(
    server: HttpServer, lenient: HttpServer, effects: _Effects
) -> None:
    cookie = {"Origin": _PAGE, "Cookie": "session=x"}
    for one in (server, lenient):
        assert _code(await send(one, request_bytes("DELETE", "/order", cookie))) == (403, "csrf_header_required")
    assert effects.count == 0
    for allowed in ({"X-Requested-By": "dashboard"}, {"Authorization": "Bearer x"}):
        assert (await send(server, request_bytes("DELETE", "/order", {**cookie, **allowed}))).status == 204
    assert (await send(server, request_bytes("GET", "/secret", cookie))).status == 200


@pytest.mark.parametrize("origin", [*_FOREIGN, None])
async def test_no_foreign_websocket(
    server: HttpServer, lenient: HttpServer, effects: _Effects, origin: str | None
) -> None:
    headers = {**_UPGRADE, **({} if origin is None else {"Origin": origin})}
    for one in (server, lenient):
        async with RawConnection(one.port) as connection:
            await connection.send(request_bytes("GET", "/live", headers))
            answer = await connection.rest()
        assert answer.startswith(b"HTTP/1.1 403 ")
        assert b"canary" not in answer
    assert effects.count == 0


async def test_our_websocket(server: HttpServer) -> None:
    async with RawConnection(server.port) as connection:
        await connection.send(request_bytes("GET", "/live", {**_UPGRADE, "Origin": _PAGE}))
        assert (await connection.reply()).status == 101
        assert await connection.reader.readexactly(8) == b"\x81\x06canary"


async def test_a_websocket_without_handshake_is_a_problem(server: HttpServer) -> None:
    for change in (
        {"Upgrade": "h2c"},
        {"Upgrade": "web\xffsocket"},
        {"Sec-WebSocket-Version": "\xff"},
        {"Connection": "x"},
    ):
        reply = await send(server, request_bytes("GET", "/live", {**_UPGRADE, "Origin": _PAGE, **change}))
        assert _code(reply) == (400, "handshake_invalid")


async def test_an_upgrade_to_something_else_is_ignored(server: HttpServer) -> None:
    headers = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAEAAEAAAAIAAAABAAMAAABk"}
    assert (await send(server, request_bytes("GET", "/secret", headers))).status == 200


@pytest.mark.parametrize(("mode", "status"), [("no-cors", 403), ("cors", 403), ("navigate", 200), (None, 403)])
async def test_a_browser_that_says_cross_site_may_only_follow_a_link(
    server: HttpServer, mode: str | None, status: int
) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", **({} if mode is None else {"Sec-Fetch-Mode": mode})}
    assert (await send(server, request_bytes("GET", "/secret", headers))).status == status


@pytest.mark.parametrize("path", ["/order", "/raw"])
@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "text/plain;charset=UTF-8",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonx",
        "application/json; charset=utf-16",
        "text/json",
        "application/ld+json",
        "application/octet-stream",
    ],
)
async def test_a_body_must_be_json(server: HttpServer, effects: _Effects, path: str, content_type: str | None) -> None:
    headers = {"Origin": _PAGE, **({} if content_type is None else {"Content-Type": content_type})}
    reply = await send(server, request_bytes("POST", path, headers, b'{"number":1}'))
    assert _code(reply) == (415, "content_type_refused")
    assert effects.count == 0


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/json; charset=utf-8", "Application/JSON;charset=UTF-8"]
)
async def test_json_may_be_spelled_in_several_ways(server: HttpServer, content_type: str) -> None:
    headers = {"Origin": _PAGE, "Content-Type": content_type}
    assert (await send(server, request_bytes("POST", "/order", headers, b'{"number":1}'))).status == 200


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "identity", "gzip, gzip"])
@pytest.mark.parametrize("path", ["/order", "/raw"])
async def test_a_compressed_bomb_is_not_unpacked(
    server: HttpServer, effects: _Effects, path: str, encoding: str
) -> None:
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(b" " * 1_048_576) for _ in range(64)) + packer.flush()
    assert len(bomb) < 100_000
    headers = {"Origin": _PAGE, **_JSON, "Content-Encoding": encoding}
    assert _code(await send(server, request_bytes("POST", path, headers, bomb))) == (415, "content_encoding_refused")
    assert effects.count == 0


async def test_nobody_is_told_to_continue_before_being_admitted(server: HttpServer, effects: _Effects) -> None:
    headers = {**_JSON, "Origin": "http://evil.example", "Expect": "100-continue", "Content-Length": "12"}
    async with RawConnection(server.port) as connection:
        await connection.send(request_bytes("POST", "/order", headers))
        assert (await connection.reply()).status == 403
        await connection.send(request_bytes("POST", "/order", {**headers, "Origin": _PAGE}))
    async with RawConnection(server.port) as connection:
        await connection.send(request_bytes("POST", "/order", {**headers, "Origin": _PAGE}))
        assert (await connection.reply()).status == 100
        await connection.send(b'{"number":1}')
        assert (await connection.reply()).status == 200
    assert effects.count == 1


async def test_broken_requests_break_nothing(server: HttpServer) -> None:
    """A thousand requests with a few wrong bytes each: no server error, no hang, and the next one is served."""
    chance = random.Random(20_261_123)
    good = [
        request_bytes("GET", "/secret", {"Accept": "*/*", "Cookie": "a=b"}),
        request_bytes("POST", "/order", {"Origin": _PAGE, **_JSON}, b'{"number":1}'),
        request_bytes(
            "POST", "/order", {"Origin": _PAGE, **_JSON, "Transfer-Encoding": "chunked"}, b"2\r\n{}\r\n0\r\n\r\n"
        ),
        request_bytes("GET", "/live", {**_UPGRADE, "Origin": _PAGE}) + b"\x81\x83abcdxyz\x88\x80abcd",
    ]
    with capture_logs() as logs:
        for _ in range(1_000):
            data = bytearray(chance.choice(good))
            for _ in range(chance.randint(1, 4)):
                at = chance.randrange(len(data))
                match chance.randrange(4):
                    case 0:
                        data[at] = chance.randrange(256)
                    case 1:
                        data.insert(at, chance.choice(b"\r\n\x00: ;,\xff0"))
                    case 2:
                        del data[at : at + chance.randint(1, 20)]
                    case _:
                        data[at:at] = data[at : at + chance.randint(1, 40)]
            async with RawConnection(server.port) as connection:
                await connection.send(bytes(data))
                connection.writer.write_eof()
                answer = await connection.rest()
            assert not re.search(rb"HTTP/1\.[01] 50[0-4]", answer), bytes(data)
    assert [entry for entry in logs if entry["log_level"] in {"error", "critical"}] == []
    assert (await send(server, request_bytes("GET", "/secret"))).status == 200


async def test_a_read_has_no_body(server: HttpServer, effects: _Effects) -> None:
    reply = await send(server, request_bytes("GET", "/secret", _JSON, b"{}"))
    assert _code(reply) == (400, "body_unexpected")
    assert effects.count == 0


async def test_an_error_of_a_plain_handler_is_a_problem_too(server: HttpServer) -> None:
    with capture_logs() as logs:
        reply = await send(server, request_bytes("GET", "/breaks"))
    assert _code(reply) == (500, "internal_error")
    assert [entry["incident"] for entry in logs if entry["event"] == "http.incident"] == [reply.document["incident"]]


async def test_a_redirect_of_a_plain_handler_passes(server: HttpServer) -> None:
    reply = await send(server, request_bytes("GET", "/away"))
    assert (reply.status, reply.headers["location"]) == (302, "/secret")


async def test_every_answer_has_the_safe_headers(server: HttpServer) -> None:
    for path in ("/secret", "/nothing", "/breaks"):
        reply = await send(server, request_bytes("GET", path))
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert reply.headers["referrer-policy"] == "no-referrer"
        assert reply.headers["cache-control"] == "no-store"
        assert "python" not in reply.headers["server"].lower()
        assert reply.headers["x-request-id"]
