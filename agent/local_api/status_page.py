"""The status page the agent serves at `/`: the token is put into the page, so only a page of ours has it."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web

from kit.web import STRICT_CSP

_FOLDER = Path(__file__).parent / "page"
_TYPES = {"status.css": "text/css", "status.js": "text/javascript"}
_TOKEN = "{{token}}"  # noqa: S105 - a placeholder


def add_page(app: web.Application, token: str) -> None:
    """Serve the page and its two files."""
    html = (_FOLDER / "index.html").read_text(encoding="utf-8").replace(_TOKEN, token)
    files = {name: (_FOLDER / name).read_bytes() for name in _TYPES}
    headers = {"Content-Security-Policy": STRICT_CSP, "Cache-Control": "no-store", "X-Frame-Options": "DENY"}

    async def page(_request: web.Request) -> web.Response:
        return web.Response(text=html, content_type="text/html", headers=headers)

    async def file(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in files:
            raise web.HTTPNotFound
        return web.Response(body=files[name], content_type=_TYPES[name], charset="utf-8", headers=headers)

    app.router.add_get("/", page)
    app.router.add_get("/page/{name}", file)
