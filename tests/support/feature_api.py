"""The HTTP routes of one feature of the fleet server, without its staff: whoever asks may do everything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from fleet_server.app import translate
from fleet_server.staff.permissions import Permission
from kit.web import Api, Hooks, HttpServer, Routes
from support.web import Reply, Serve, request_bytes, send


@dataclass(frozen=True, slots=True)
class Anybody:
    """Somebody with permissions."""

    id: str = "anybody"
    permissions: frozenset[str] = frozenset(permission.value for permission in Permission)


async def feature_server(serve: Serve, *routes: Routes) -> HttpServer:
    """Serve the routes of some features on a free port."""

    async def authenticate(request: web.Request) -> Anybody:
        return Anybody()

    app = web.Application()
    Api("features", "1", list(routes), Hooks(authenticate=authenticate, translate=translate)).mount(app)
    return await serve(app)


async def ask(server: HttpServer, path: str, query: Mapping[str, Any] | None = None) -> Reply:
    """GET a path; Any: what `urlencode` takes."""
    tail = f"?{urlencode(query, doseq=True)}" if query else ""
    return await send(server, request_bytes("GET", f"{path}{tail}"))
