"""What a patient at a kiosk waits for: the local API while ten kiosks serve as many as thirty would, and the page."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from time import monotonic

import aiohttp
from aiohttp import web
from e2e.browser import Visit, chromium, visit

from bench.figures import percentile
from bench.harness import Better, Goal, Row, load_note, row, say
from bench.site import folder
from kit.supervise import TaskGroup, spawn
from support.kiosk_journey import Demo, desk, ready
from support.ports import free_port
from support.processes import Child
from support.waiting import wait_for

KIOSKS = 10
EVERY_S = 20.0 / 3
"""Ten kiosks at three times the pace: the platform sees what it sees of thirty."""
WINDOW_S = 60.0
LOADS = 20
_FIRST_PATIENT = 100
_BARE_EVERY_S = 0.05
_QUIET_S = 0.2


async def kiosk_page() -> list[Row]:
    """All rows."""
    async with _demo() as demo:
        return [await _local_api(demo), *await _ready_pages(demo)]


async def _local_api(demo: Demo) -> Row:
    say(f"{KIOSKS} kiosks, a patient every {EVERY_S:.1f} s each")
    waits: list[float] = []
    bare: list[float] = []
    over = asyncio.Event()
    async with TaskGroup() as group:
        beside = spawn(group, _bare(bare, over), "bare")
        async with TaskGroup() as kiosks:
            for number in range(1, KIOSKS + 1):
                _ = spawn(kiosks, _serve_all_day(demo, number, waits), f"kiosk-{number}")
        over.set()
        await beside
    note = f"{len(waits)} requests of pages and commands, proxied ones too; beside them a bare handler{load_note()}"
    goal = Goal(Better.LESS, 0.15, absolute=True)
    return row("payments.local_api_p99", "s", percentile(waits, 0.99), percentile(bare, 0.99), goal, note)


async def _serve_all_day(demo: Demo, number: int, waits: list[float]) -> None:
    until_s = monotonic() + WINDOW_S
    await asyncio.sleep(EVERY_S * number / KIOSKS)
    async with desk(demo, number) as kiosk:
        person = _FIRST_PATIENT + number
        while monotonic() < until_s:
            started_s = monotonic()
            await kiosk.pay_bill(person)
            await asyncio.sleep(max(0.0, EVERY_S - (monotonic() - started_s)))
        waits += kiosk.waits


async def _bare(waits: list[float], over: asyncio.Event) -> None:
    """A handler that says one word, asked all the while: what this machine alone makes anybody wait."""
    app = web.Application()

    async def word(_request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    app.router.add_get("/", word)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    async with aiohttp.ClientSession() as http:
        while not over.is_set():
            started_s = monotonic()
            async with http.get(f"http://127.0.0.1:{port}/") as response:
                await response.read()
            waits.append(monotonic() - started_s)
            await asyncio.sleep(_BARE_EVERY_S)
    await runner.cleanup()


async def _ready_pages(demo: Demo) -> list[Row]:
    """Seconds from asking for the page until its first button can be pressed, each in a new browser context."""
    url = f"{demo.facts['kiosks'][0]['local_api_url']}/kiosk/"
    found: list[float] = []
    async with chromium() as browser:
        for _ in range(LOADS):
            async with visit(browser, Visit(1080, 1920)) as watched:
                started_s = monotonic()
                await watched.page.goto(url, wait_until="commit")
                await watched.page.get_by_role("button", name="点击开始").wait_for()
                found.append(monotonic() - started_s)
            await asyncio.sleep(_QUIET_S)
    goal = Goal(Better.LESS, 1.0, absolute=True)
    note = f"{LOADS} loads in headless Chromium, nothing cached{load_note()}"
    return [
        row("payments.page_ready", "s", percentile(found, 0.5), None, goal, note),
        row("payments.page_ready_worst", "s", max(found), None, goal, note),
    ]


@asynccontextmanager
async def _demo() -> AsyncIterator[Demo]:
    async with folder() as place:
        environ = {
            "DEMO_DIR": str(place / "demo"),
            "DEMO_KIOSKS": str(KIOSKS),
            "DEMO_FULL": str(KIOSKS),
            "DEMO_PORT": str(free_port()),
        }
        with Child.of_module("simulators", "demo", log_dir=place, env=environ, name="demo") as child:
            file = place / "demo" / "demo.json"
            await wait_for(partial(_is_up_or_gone, child, file), timeout_s=240.0, what="the demo")
            assert child.is_running, child.log()
            async with aiohttp.ClientSession() as http:
                demo = Demo(http, json.loads(file.read_bytes()))
                for number in range(1, KIOSKS + 1):
                    await ready(demo, number)
                yield demo
            child.send(signal.SIGINT)
            await wait_for(lambda: not child.is_running, timeout_s=60.0, what="the demo ends")


def _is_up_or_gone(child: Child, file: Path) -> bool:
    return file.is_file() or not child.is_running
