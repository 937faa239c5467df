"""Serving a built web application (a Vite `dist` directory) with a strict content security policy.

The files are listed once, when the server starts: only a listed file can be asked for, so no path leads out of the
directory. Hashed assets are immutable; everything else is revalidated. A path without a file is the single-page
application's own business and gets `index.html`, except below the API prefixes.
"""

from __future__ import annotations

import asyncio
import hashlib
import mimetypes
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aiohttp import web

from kit.web.call import etag_matches
from kit.web.problem import of_status, problem_response

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STRICT_CSP: Final = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; "
    "connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_PAGE: Final = "index.html"
_HASHED: Final = re.compile(r"assets/(.*/)?[^/]+-[A-Za-z0-9_-]{8,}\.\w+")
_IMMUTABLE: Final = "public, max-age=31536000, immutable"
_REVALIDATE: Final = "no-cache"
_TYPES: Final = {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
}


class StaticSiteError(Exception):
    """The directory is not a built web application."""


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    etag: str
    headers: Mapping[str, str]


def static_site(
    app: web.Application,
    dist: Path,
    *,
    csp: str = STRICT_CSP,
    api_prefixes: Sequence[str] = ("api/", "metrics"),
    base: str = "/",
    fill: Mapping[str, str] | None = None,
) -> None:
    """Serve the application in `dist` at `base`; add it after every other route.

    The texts in `fill` are replaced in `index.html`, which nobody stores then. The start of the server fails with
    `StaticSiteError` when there is no `index.html`.
    """
    site = _Site(dist, csp, fill or {})
    app.on_startup.append(site.load)
    barred = "|".join(re.escape(prefix) for prefix in api_prefixes)
    app.router.add_get(f"{base}{{path:(?!{barred}).*}}" if barred else f"{base}{{path:.*}}", site.serve)


class _Site:
    def __init__(self, dist: Path, csp: str, fill: Mapping[str, str]) -> None:
        self._dist = dist
        self._csp = csp
        self._fill = fill
        self._files: dict[str, _File] = {}

    async def load(self, _app: web.Application) -> None:
        """List the files. Raises: StaticSiteError."""
        self._files = await asyncio.to_thread(_listing, self._dist, self._csp)
        if _PAGE not in self._files:
            raise StaticSiteError(f"{self._dist} has no index.html: build the web application first")

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer with the file, or the application's page for a path of its router."""
        name = request.match_info["path"]
        file = self._files.get(name or _PAGE)
        if file is None:
            if "." in name.rpartition("/")[2] or name.startswith("assets/"):
                return problem_response(of_status(404), None)
            file = self._files[_PAGE]
        if self._fill and file is self._files[_PAGE]:
            return web.Response(body=await asyncio.to_thread(self._filled, file), headers=_unstored(file))
        given = request.headers.get("If-None-Match")
        if given is not None and etag_matches(given, file.etag):
            # Browsers take over the headers of a 304: without ours, the guard's policy for data would stop the page.
            return web.Response(status=304, headers={k: v for k, v in file.headers.items() if k != "Content-Type"})
        return web.Response(body=await asyncio.to_thread(file.path.read_bytes), headers=file.headers)

    def _filled(self, file: _File) -> bytes:
        text = file.path.read_text(encoding="utf-8")
        for placeholder, value in self._fill.items():
            text = text.replace(placeholder, value)
        return text.encode()


def _unstored(file: _File) -> dict[str, str]:
    return {**{name: value for name, value in file.headers.items() if name != "ETag"}, "Cache-Control": "no-store"}


def _listing(dist: Path, csp: str) -> dict[str, _File]:
    found: dict[str, _File] = {}
    for path in sorted(dist.rglob("*")):
        relative = path.relative_to(dist)
        is_hidden = any(part.startswith(".") for part in relative.parts)
        if is_hidden or not path.is_file() or not path.resolve().is_relative_to(dist.resolve()):
            continue
        found[relative.as_posix()] = _file(path, relative.as_posix(), csp)
    return found


def _file(path: Path, name: str, csp: str) -> _File:
    etag = f'"{hashlib.sha256(path.read_bytes()).hexdigest()[:24]}"'
    kind = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    headers = {
        "Content-Type": f"{kind}; charset=utf-8" if kind.startswith("text/") else kind,
        "ETag": etag,
        "Cache-Control": _IMMUTABLE if _HASHED.fullmatch(name) else _REVALIDATE,
        "Content-Security-Policy": csp,
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=()",
    }
    return _File(path, etag, headers)
