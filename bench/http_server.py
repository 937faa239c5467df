"""The server side of the HTTP bench, in a process of its own: `python -m bench.http_server ours|bare`."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from typing import Annotated, Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from kit.web import Api, Call, Guard, GuardSettings, Hooks, HttpServer, Routes

READ = "kiosks.read"
STATE: dict[str, Any] = {
    "id": "zzj-001",
    "state": "online",
    "cpu": 17.5,
    "mem": 42.25,
    "paper": 80,
    "alerts": [{"code": "disk_low", "since": "2026-03-02T08:00:00Z"}, {"code": "cpu_hot", "since": None}],
}


class Alert(BaseModel):
    """Part of the answer."""

    code: str
    since: str | None


class State(BaseModel):
    """The answer."""

    id: str
    state: str
    cpu: float
    mem: float
    paper: int
    alerts: list[Alert]


class Wanted(BaseModel):
    """Query of the GET."""

    metric: Annotated[str, Field(pattern=r"^[a-z_]{1,64}$")]
    points: int = Field(ge=1, le=1_000)


class Order(BaseModel):
    """Body of the POST."""

    model_config = ConfigDict(extra="forbid")
    metric: Annotated[str, Field(pattern=r"^[a-z_]{1,64}$")]
    points: int = Field(ge=1, le=1_000)
    kids: list[Annotated[str, Field(pattern=r"^[a-z0-9-]{3,40}$")]] = Field(max_length=100)
    note: str = Field(max_length=200)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who has the token."""

    id: str
    permissions: frozenset[str]


_CALLERS = {"bench-token": Caller("bench", frozenset({READ}))}


def ours() -> web.Application:
    """Routes of `kit.web` with everything they do."""
    routes = Routes("kiosks")

    @routes.get("/kiosks/{kid}", permission=READ, summary="One kiosk")
    async def show(call: Call, kid: str, query: Wanted) -> State:  # noqa: ARG001 - every handler has them
        return State(**STATE)

    @routes.post("/kiosks/{kid}", permission=READ, summary="Ask one kiosk")
    async def ask(call: Call, kid: str, body: Order) -> State:  # noqa: ARG001 - the same
        return State(**STATE)

    async def authenticate(request: web.Request) -> Caller | None:
        return _CALLERS.get(request.headers.get("Authorization", "").removeprefix("Bearer "))

    app = web.Application()
    Api("bench", "1", [routes], Hooks(authenticate=authenticate)).mount(app)
    return app


def bare() -> web.Application:
    """The same answers from aiohttp alone."""

    async def show(request: web.Request) -> web.Response:
        assert request.match_info["kid"]
        assert request.query["metric"]
        return web.json_response(STATE)

    async def ask(request: web.Request) -> web.Response:
        assert (await request.json())["points"]
        return web.json_response(STATE)

    app = web.Application()
    app.router.add_get("/kiosks/{kid}", show)
    app.router.add_post("/kiosks/{kid}", ask)
    return app


async def _serve_ours() -> None:
    guard = Guard(GuardSettings(hosts=frozenset({"127.0.0.1"}), origin_required=False))
    server = HttpServer("bench", ours(), guard=guard)
    async with asyncio.TaskGroup() as group:
        group.create_task(server.run())
        await server.started()
        print(f"port {server.port}", flush=True)


async def _serve_bare() -> None:
    runner = web.AppRunner(bare(), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(f"port {runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve_ours() if sys.argv[1] == "ours" else _serve_bare())
