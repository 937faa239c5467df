"""The pages the agent serves: status at `/status`, maintenance at `/maintenance`, and the patients' page at `/kiosk/`.

`/` is the patients' page where there is one, else the status. The token is put into the page, so only a page of ours
has it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from aiohttp import web

from kit.logs import get_logger
from kit.web import STRICT_CSP, static_site
from wire.faults import FACTS
from wire.functions import FUNCTION_TITLES, LACK_TITLES

_FOLDER = Path(__file__).parent / "page"
_PAGES = {"/": "index.html", "/status": "index.html", "/maintenance": "maintenance.html"}
_TYPES = {
    "status.css": "text/css",
    "status.js": "text/javascript",
    "maintenance.css": "text/css",
    "maintenance.js": "text/javascript",
    "maintenance_texts.js": "text/javascript",
    "devices.js": "text/javascript",
}
KIOSK: Final = "/kiosk/"
_WORDS = "words.json"
_TOKEN = "{{token}}"  # noqa: S105 - a placeholder
log = get_logger(__name__)


def add_page(app: web.Application, token: str, kiosk_page: Path | None = None) -> None:
    """Serve the pages and their files; `kiosk_page` is the folder of the built patients' page."""
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

    has_patients = kiosk_page is not None and (kiosk_page / "index.html").is_file()
    for path in _PAGES:
        if path != "/" or not has_patients:
            app.router.add_get(path, page)
    app.router.add_get("/page/{name}", file)
    if kiosk_page is not None and has_patients:
        for path in ("/", KIOSK.removesuffix("/")):
            app.router.add_get(path, _to_patients)
        static_site(app, kiosk_page, api_prefixes=(), base=KIOSK, fill={_TOKEN: token})
    elif kiosk_page is not None:
        log.warning("kiosk_page.missing", folder=str(kiosk_page))


async def _to_patients(_request: web.Request) -> web.Response:
    return web.Response(status=302, headers={"Location": KIOSK, "Cache-Control": "no-store"})


def _words() -> bytes:
    """Words of the wire's tables as [zh, en]."""
    words = {
        "functions": {function.value: (title.zh, title.en) for function, title in FUNCTION_TITLES.items()},
        "lacks": {lack.value: (title.zh, title.en) for lack, title in LACK_TITLES.items()},
        "faults": {fault.value: (facts.zh, facts.en) for fault, facts in FACTS.items()},
    }
    return json.dumps(words, ensure_ascii=False).encode()
