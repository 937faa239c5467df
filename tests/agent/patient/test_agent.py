"""The whole agent with a patient platform: a page's payment holds the kiosk, over a restart of the agent too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from agent.app import Agent, prepare
from agent.settings import LocalApiSettings, PlatformSettings, Settings
from kit.clock import SystemClock
from kit.supervise import spawn
from kit.web import GuardSettings
from support.waiting import wait_for
from support.web import LOCAL, Serve, serve
from wire.presence import Activity

__all__ = ["serve"]
ORDER = {"order": "o1", "business": "bill", "channel": "alipay", "money": "pending", "is_settled": False}
PAID = {**ORDER, "money": "paid", "posting": "posted", "is_settled": True}

pytestmark = pytest.mark.timeout(30)


@asynccontextmanager
async def running(folder: Path, url: str) -> AsyncIterator[Agent]:
    await asyncio.to_thread(prepare, folder)
    settings = Settings(data_dir=folder, local_api=LocalApiSettings(port=0), platform=PlatformSettings(url=url))
    agent = await asyncio.to_thread(Agent, settings, SystemClock(), "boot")
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        _ = spawn(group, agent.run(stop=stop), "agent")
        try:
            await agent.local_api.started()
            yield agent
        finally:
            stop.set()


async def test_a_payment_holds_the_kiosk_until_the_platform_knows_its_end(serve: Serve, tmp_path: Path) -> None:
    state = ORDER

    async def platform(request: web.Request) -> web.Response:
        if request.path.endswith("/open-orders"):
            return web.json_response({"orders": []})
        return web.json_response(state, status=202 if request.method == "POST" else 200)

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", platform)
    far = await serve(app, GuardSettings(hosts=LOCAL, origin_required=False))
    async with running(tmp_path / "agent", far.url) as agent, aiohttp.ClientSession() as http:
        assert agent.lease.activity() is Activity.IDLE
        headers = {"Authorization": f"Bearer {agent.token.value}", "Origin": agent.local_api.url}
        pay = f"{agent.local_api.url}/platform/v1/orders/o1/pay"
        answer = await http.post(pay, json={"channel": "alipay"}, headers=headers)
        assert (answer.status, (await answer.json())["money"]) == (202, "pending")
        assert agent.lease.activity() is Activity.PAYING
    async with running(tmp_path / "agent", far.url) as agent:
        assert agent.lease.activity() is Activity.PAYING
        state = PAID
        await wait_for(lambda: agent.lease.activity() is Activity.IDLE, timeout_s=15.0)
        assert agent.outbox.depth().p0 >= 1
