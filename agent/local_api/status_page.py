"""The pages the agent itself serves: status at `/`, maintenance at `/maintenance`.

The token is put into the page, so only a page of ours has it.
"""

from __future__ import annotations

import json
from pathlib import Path

from aiohttp import web

from kit.web import STRICT_CSP
from wire.faults import FACTS
from wire.functions import FUNCTION_TITLES, LACK_TITLES

_FOLDER = Path(__file__).parent / "page"
_PAGES = {"/": "index.html", "/maintenance": "maintenance.html"}
_TYPES = {
    "status.css": "text/css",
    "status.js": "text/javascript",
    "maintenance.css": "text/css",
    "maintenance.js": "text/javascript",
    "maintenance_texts.js": "text/javascript",
    "devices.js": "text/javascript",
}
_WORDS = "words.json"
_TOKEN = "{{token}}"  # noqa: S105 - a placeholder


def add_page(app: web.Application, token: str) -> None:
    """Serve the pages and their files."""
    pages = {path: (_FOLDER / name).read_text(encoding="utf-8").replace(_TOKEN, token) for path, name in _PAGES.items()}
    files = {name: (_FOLDER / name).read_bytes() for name in _TYPES} | {_WORDS: _words()}
    types = {**_TYPES, _WORDS: "application/json"}
    headers = {"Content-Security-Policy": STRICT_CSP, "Cache-Control": "no-store", "X-Frame-Options": "DENY"}

    async def page(request: web.Request) -> web.Response:
        return web.Response(text=pages[request.path], content_type="text/html", headers=headers)

    async def file(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in files:
            raise web.HTTPNotFound
        return web.Response(body=files[name], content_type=types[name], charset="utf-8", headers=headers)

    for path in _PAGES:
        app.router.add_get(path, page)
    app.router.add_get("/page/{name}", file)


def _words() -> bytes:
    """Words of the wire's tables as [zh, en]."""
    words = {
        "functions": {function.value: (title.zh, title.en) for function, title in FUNCTION_TITLES.items()},
        "lacks": {lack.value: (title.zh, title.en) for lack, title in LACK_TITLES.items()},
        "faults": {fault.value: (facts.zh, facts.en) for fault, facts in FACTS.items()},
    }
    return json.dumps(words, ensure_ascii=False).encode()
