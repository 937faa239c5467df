"""The local HTTP server: routes, page, guard; on loopback only."""

from __future__ import annotations

from aiohttp import web

from agent.local_api.auth import LocalPrincipal, LocalToken
from agent.local_api.metrics import MetricsPage
from agent.local_api.routes import StateSource, routes
from agent.local_api.status_page import add_page
from agent.settings import LocalApiSettings
from kit.web import Api, Guard, GuardSettings, Hooks, HttpServer, Limits
from wire import __version__

_LIMITS = Limits(connections=64, body_bytes=262_144)


def local_api(source: StateSource, metrics: MetricsPage) -> Api[LocalPrincipal]:
    """The API without a server around it, for its OpenAPI document."""
    return Api("kiosk-agent", __version__, [routes(source, metrics)], Hooks(authenticate=_nobody))


async def _nobody(_request: web.Request) -> LocalPrincipal | None:
    return None


def build_server(
    settings: LocalApiSettings, source: StateSource, metrics: MetricsPage, token: LocalToken
) -> HttpServer:
    """The server; nothing listens before it runs."""
    app = web.Application()
    Api("kiosk-agent", __version__, [routes(source, metrics)], Hooks(authenticate=token.authenticate)).mount(app)
    add_page(app, token.value)
    guard = Guard(GuardSettings(hosts=frozenset({"127.0.0.1", "localhost"}), limits=_LIMITS))
    return HttpServer("local-api", app, guard=guard, host=settings.host, port=settings.port)
