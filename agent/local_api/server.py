"""The local HTTP server: routes, page, guard; on loopback only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from agent.local_api.auth import LocalPrincipal, LocalToken
from agent.local_api.channel import DeviceChannel
from agent.local_api.dialogue import Command
from agent.local_api.feed import Feed
from agent.local_api.metrics import MetricsPage
from agent.local_api.recordings import recording_routes
from agent.local_api.routes import StateSource, routes
from agent.local_api.status_page import add_page
from agent.recorder.shelf import FOLDER, Shelf
from agent.settings import LocalApiSettings
from kit.web import Api, Guard, GuardSettings, Hooks, HttpServer, Limits
from wire import __version__

if TYPE_CHECKING:
    from agent.local_api.previews import Previews
    from agent.patient.proxy import PlatformProxy

_LIMITS = Limits(connections=64, body_bytes=262_144)


def local_api(source: StateSource, metrics: MetricsPage) -> Api[LocalPrincipal]:
    """The API without a server around it, for its OpenAPI document."""
    resources = [routes(source, metrics), recording_routes(Shelf(Path(FOLDER)))]
    return Api("kiosk-agent", __version__, resources, Hooks(authenticate=_nobody))


async def _nobody(_request: web.Request) -> LocalPrincipal | None:
    return None


@dataclass(frozen=True, slots=True)
class LocalParts:
    """What the local API shows and does."""

    source: StateSource
    metrics: MetricsPage
    commands: Mapping[str, Command]
    feed: Feed
    token: LocalToken
    shelf: Shelf
    previews: Previews | None = None
    platform: PlatformProxy | None = None


def build_server(settings: LocalApiSettings, parts: LocalParts) -> HttpServer:
    """The server; nothing listens before it runs."""
    app = web.Application()
    resources = [routes(parts.source, parts.metrics), recording_routes(parts.shelf)]
    Api("kiosk-agent", __version__, resources, Hooks(authenticate=parts.token.authenticate)).mount(app)
    DeviceChannel(parts.commands, parts.feed, parts.token).mount(app)
    if parts.previews is not None:
        parts.previews.mount(app)
    if parts.platform is not None:
        parts.platform.mount(app, parts.token.authenticate)
    add_page(app, parts.token.value, settings.kiosk_page)
    guard = Guard(GuardSettings(hosts=frozenset({"127.0.0.1", "localhost"}), limits=_LIMITS))
    return HttpServer("local-api", app, guard=guard, host=settings.host, port=settings.port)
