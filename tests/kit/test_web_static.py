"""The built web application: what is served, how long it may be kept, and that nothing else can be reached."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web

from kit.web import STRICT_CSP, Api, Call, HttpServer, Routes, StaticSiteError, static_site
from support.web import Serve, request_bytes, send

_PAGE = "<!doctype html><title>自助机</title><div id=app></div>"


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    """What Vite leaves behind, and some things beside and inside it that must stay private."""
    root = tmp_path / "site" / "dist"
    for name, content in {
        "index.html": _PAGE,
        "favicon.svg": "<svg/>",
        "assets/index-BdP3kX9_.js": "export {}",
        "assets/index-C1a2B3d4.css": "body{}",
        "assets/fonts/noto-a1b2c3d4.woff2": "font",
        "assets/plain.txt": "no hash",
        "help/page.html": "<p>help",
        ".env": "SECRET=canary",
        ".git/config": "canary",
        "node.map/.hidden": "canary",
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    (root.parent / "secret.txt").write_text("canary")
    (root / "out.txt").symlink_to(root.parent / "secret.txt")
    (root / "up").symlink_to(root.parent)
    return root


@pytest.fixture
async def server(serve: Serve, dist: Path) -> HttpServer:
    routes = Routes("s")

    @routes.get("/api/v1/ping", permission=None, summary="Ping")
    async def ping(call: Call) -> str:
        return "pong"

    app = web.Application()
    Api("s", "1", [routes]).mount(app)
    static_site(app, dist)
    return await serve(app)


@pytest.mark.parametrize(
    ("path", "content_type", "cache"),
    [
        ("/", "text/html; charset=utf-8", "no-cache"),
        ("/index.html", "text/html; charset=utf-8", "no-cache"),
        ("/favicon.svg", "image/svg+xml", "no-cache"),
        ("/assets/index-BdP3kX9_.js", "text/javascript; charset=utf-8", "public, max-age=31536000, immutable"),
        ("/assets/index-C1a2B3d4.css", "text/css; charset=utf-8", "public, max-age=31536000, immutable"),
        ("/assets/fonts/noto-a1b2c3d4.woff2", "font/woff2", "public, max-age=31536000, immutable"),
        ("/assets/plain.txt", "text/plain; charset=utf-8", "no-cache"),
        ("/help/page.html", "text/html; charset=utf-8", "no-cache"),
    ],
)
async def test_files(server: HttpServer, path: str, content_type: str, cache: str) -> None:
    reply = await send(server, request_bytes("GET", path))
    assert reply.status == 200
    assert reply.headers["content-type"] == content_type
    assert reply.headers["cache-control"] == cache
    assert reply.headers["content-security-policy"] == STRICT_CSP
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize("path", ["/kiosks", "/kiosks/k-001/telemetry", "/login?return=/kiosks", "/help/"])
async def test_a_path_of_the_application_gets_its_page(server: HttpServer, path: str) -> None:
    reply = await send(server, request_bytes("GET", path))
    assert (reply.status, reply.body.decode()) == (200, _PAGE)
    assert reply.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/unknown",
        "/api/",
        "/metrics",
        "/assets/index-OLDHASH1.js",
        "/assets/missing",
        "/missing.js",
        "/robots.txt",
    ],
)
async def test_what_is_missing_is_missing(server: HttpServer, path: str) -> None:
    reply = await send(server, request_bytes("GET", path))
    assert reply.status == 404
    assert reply.headers["content-type"] == "application/problem+json"


async def test_the_api_beside_it_works(server: HttpServer) -> None:
    assert (await send(server, request_bytes("GET", "/api/v1/ping"))).document == "pong"
    headers = {"Origin": "http://127.0.0.1"}
    assert (await send(server, request_bytes("POST", "/api/v1/unknown", headers))).status == 404
    assert (await send(server, request_bytes("POST", "/kiosks", headers))).status == 405


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/../../secret.txt",
        "/assets/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e%2fsecret.txt",
        "/..%5csecret.txt",
        "/assets/..%2f..%2fsecret.txt",
        "/%252e%252e%252fsecret.txt",
        "//etc/passwd",
        "/%2fetc%2fpasswd",
        "/.env",
        "/.git/config",
        "/%2eenv",
        "/node.map/.hidden",
        "/out.txt",
        "/up/secret.txt",
        "/up/dist/index.html",
        "/index.html%00.js",
        "/index.html/",
        "/assets",
        "/assets/",
        "/assets//index-BdP3kX9_.js",
    ],
)
async def test_nothing_outside_can_be_reached(server: HttpServer, path: str) -> None:
    reply = await send(server, request_bytes("GET", path))
    assert b"canary" not in reply.body
    assert b"root:" not in reply.body
    assert reply.status in {400, 404} or reply.body.decode() == _PAGE


async def test_an_unchanged_file_is_not_sent_again(server: HttpServer, dist: Path) -> None:
    first = await send(server, request_bytes("GET", "/"))
    second = await send(server, request_bytes("GET", "/", {"If-None-Match": first.headers["etag"]}))
    assert (second.status, second.body) == (304, b"")
    # A browser replaces the stored headers by those of the 304.
    kept = ("content-security-policy", "cache-control", "etag", "permissions-policy", "cross-origin-opener-policy")
    assert {name: second.headers[name] for name in kept} == {name: first.headers[name] for name in kept}
    other = await send(server, request_bytes("GET", "/", {"If-None-Match": '"other"'}))
    assert other.status == 200


async def test_head(server: HttpServer) -> None:
    reply = await send(server, request_bytes("HEAD", "/favicon.svg"))
    assert (reply.status, reply.headers["content-length"]) == (200, "6")


def test_the_policy_allows_no_inline_code_and_no_other_origin() -> None:
    assert "unsafe" not in STRICT_CSP
    assert "http:" not in STRICT_CSP
    assert "*" not in STRICT_CSP
    for part in ("default-src 'self'", "object-src 'none'", "base-uri 'none'", "frame-ancestors 'none'"):
        assert part in STRICT_CSP


async def test_a_directory_that_was_not_built_is_refused(serve: Serve, tmp_path: Path) -> None:
    app = web.Application()
    static_site(app, tmp_path)
    with pytest.raises(StaticSiteError, match="build the web application"):
        await serve(app)
