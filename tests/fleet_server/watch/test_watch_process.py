"""The watch against real servers and receivers on loopback, as it is started by systemd."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import web

from fleet_server.incidents.store import IncidentStore
from fleet_server.paging.store import PagingStore
from fleet_server.watch.service import Watch
from fleet_server.watch.settings import WatchSettings
from kit.clock import ManualClock
from support.paging_desk import SECRET, Receiver, receiving
from support.staff_site import staff_site
from support.waiting import wait_for


@dataclass
class Health:
    """A server's word on its alerting."""

    answer: object = field(default_factory=lambda: {"incidents_idle_s": 1.0, "paging_idle_s": 2.0})
    status: int = 200
    port: int = 0
    asked: int = 0
    pinged: int = 0

    async def say(self, _request: web.Request) -> web.Response:
        self.asked += 1
        text = self.answer if isinstance(self.answer, str) else json.dumps(self.answer)
        return web.Response(text=text, status=self.status)

    async def ping(self, _request: web.Request) -> web.Response:
        self.pinged += 1
        return web.Response()


@dataclass
class Post:
    """Two servers, a receiver and the settings of a watch."""

    servers: tuple[Health, Health]
    receiver: Receiver
    folder: Path

    def settings(self, **changed: object) -> WatchSettings:
        url, secret, ping = self.folder / "url", self.folder / "secret", self.folder / "ping"
        url.write_text(f"http://127.0.0.1:{self.receiver.port}/page")
        secret.write_text(SECRET)
        ping.write_text(f"http://127.0.0.1:{self.servers[0].port}/ping")
        return WatchSettings.model_validate(
            {
                "servers": [f"http://127.0.0.1:{server.port}" for server in self.servers],
                "targets": {"sms": {"kind": "webhook", "url_file": url, "secret_file": secret}},
                "state_file": self.folder / "state.json",
                "ping_url_file": ping,
                **changed,
            }
        )


@pytest.fixture
async def post(tmp_path: Path) -> AsyncIterator[Post]:
    servers, runners = (Health(), Health()), []
    for health in servers:
        app = web.Application()
        app.router.add_get("/api/v1/health/alerting", health.say)
        app.router.add_get("/ping", health.ping)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        health.port = runner.addresses[0][1]
        runners.append(runner)
    async with receiving() as receiver:
        yield Post(servers, receiver, tmp_path)
    for runner in runners:
        await runner.cleanup()


@dataclass
class Guard:
    """A watch that is stepped."""

    watch: Watch
    clock: ManualClock

    async def looks(self, seconds: float = 15.0, times: int = 1) -> None:
        for _ in range(times):
            self.clock.advance(seconds)
            async with await self.watch._connect() as self.watch._http:
                await self.watch.look()


async def guard(post: Post, clock: ManualClock, **changed: object) -> Guard:
    return Guard(Watch(await asyncio.to_thread(post.settings, **changed), clock), clock)


async def test_one_server_that_works_is_enough_and_the_watch_is_seen_to_live(
    post: Post, manual_clock: ManualClock
) -> None:
    found = await guard(post, manual_clock)
    post.servers[0].status = 500
    await found.looks(times=20)
    assert (post.receiver.heard, post.servers[0].pinged) == ([], 20)


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ({"incidents_idle_s": None, "paging_idle_s": None}, 200),
        ({"incidents_idle_s": 900.0, "paging_idle_s": 0.2}, 200),
        ({"incidents_idle_s": 0.1, "paging_idle_s": 900.0}, 200),
        ("<html>Gateway</html>", 200),
        ([1, 2], 200),
        ({"status": "ok"}, 200),
        ({"incidents_idle_s": 0.1, "paging_idle_s": 0.1}, 503),
        ({"incidents_idle_s": 0.1, "paging_idle_s": 0.1}, 302),
    ],
    ids=["never", "incidents", "paging", "html", "list", "other", "refused", "elsewhere"],
)
async def test_servers_that_answer_without_alerting_are_not_enough(
    post: Post, manual_clock: ManualClock, answer: object, status: int
) -> None:
    found = await guard(post, manual_clock)
    await found.looks()
    for health in post.servers:
        health.answer, health.status = answer, status
    await found.looks(times=7)
    assert post.receiver.heard == []
    await found.looks(times=1)
    ((_, page),) = post.receiver.heard
    assert (page["severity"], page["title"]["zh-CN"]) == ("critical", "告警服务中断: 自助机故障此刻无人被呼叫")
    assert post.servers[0].pinged == 1


async def test_it_repeats_and_says_once_that_it_is_over(post: Post, manual_clock: ManualClock) -> None:
    found = await guard(post, manual_clock)
    await found.looks()
    for health in post.servers:
        health.status = 503
    await found.looks(times=8 + 80)
    assert len(post.receiver.heard) == 3  # at once, after ten minutes, after twenty
    assert len({key for key, _ in post.receiver.heard}) == 3
    post.servers[1].status = 200
    await found.looks(times=4)
    assert [page["title"]["en"] for _, page in post.receiver.heard[3:]] == ["Alerting works again"]


async def test_a_channel_that_is_down_is_tried_at_every_look(post: Post, manual_clock: ManualClock) -> None:
    found = await guard(post, manual_clock)
    await found.looks()
    for health in post.servers:
        health.status = 503
    post.receiver.status = 500
    await found.looks(times=12)
    post.receiver.status = 200
    await found.looks()
    assert len(post.receiver.heard) == 1


async def test_a_real_server_says_when_its_alerting_had_a_turn(
    sqlite_fleet_url: str, manual_clock: ManualClock, tmp_path: Path
) -> None:
    async with staff_site(sqlite_fleet_url, manual_clock, tmp_path) as site:
        path = "/api/v1/health/alerting"
        assert (await site.call("GET", path)).document == {"incidents_idle_s": None, "paging_idle_s": None}
        database, now = site.server.core.database, site.clock.utc()
        async with database.write() as connection:
            await IncidentStore(database).turned(connection, now - timedelta(seconds=30))
            await PagingStore(database).turned(connection, now + timedelta(seconds=5))
        assert (await site.call("GET", path)).document == {"incidents_idle_s": 30.0, "paging_idle_s": 0.0}


TIMING = {"every_s": 0.05, "silent_s": 0.3, "repeat_s": 600.0}

# --- the process ------------------------------------------------------------------------------------------------------


async def started(post: Post, *extra: str, **settings: float) -> asyncio.subprocess.Process:
    def write() -> Path:
        found = post.settings(**settings)
        file = post.folder / "watch.toml"
        lines = [
            f"servers = {json.dumps(found.servers)}",
            f'state_file = "{found.state_file}"',
            *(f"{name} = {value}" for name, value in settings.items()),
            "[targets.sms]",
            'kind = "webhook"',
            f'url_file = "{found.targets["sms"].url_file}"',
        ]
        file.write_text("\n".join(lines))
        return file

    file = await asyncio.to_thread(write)
    command = (sys.executable, "-m", "fleet_server.watch", "--config", str(file), *extra)
    environ: Mapping[str, str] = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(*command, env=environ, stdout=pipe, stderr=pipe)


@pytest.mark.timeout(30)
async def test_a_watch_that_is_killed_goes_on_and_does_not_tell_twice(post: Post) -> None:
    for health in post.servers:
        health.status, health.answer = 503, {"incidents_idle_s": 0.0, "paging_idle_s": 0.0}
    state = post.folder / "state.json"

    async def is_kept() -> bool:
        known = await asyncio.to_thread(lambda: state.read_text() if state.exists() else "")
        return '"sms"' in known and post.servers[0].asked >= 12

    for _ in range(2):
        process = await started(post, **TIMING)
        post.servers[0].asked = 0
        await wait_for(is_kept, timeout_s=12)
        process.send_signal(signal.SIGKILL)
        await process.communicate()
        assert len(post.receiver.heard) == 1
    post.servers[0].status = 200
    process = await started(post, **TIMING)
    await wait_for(lambda: len(post.receiver.heard) > 1, timeout_s=12)
    process.send_signal(signal.SIGTERM)
    await process.communicate()
    assert process.returncode == 0
    assert post.receiver.heard[1][1]["title"]["en"] == "Alerting works again"


@pytest.mark.timeout(30)
async def test_once_looks_and_tells_nobody(post: Post, tmp_path: Path) -> None:
    process = await started(post, "--once")
    out, _ = await process.communicate()
    assert (process.returncode, out.decode().startswith("正常")) == (0, True)
    for health in post.servers:
        health.status = 503
    process = await started(post, "--once")
    out, _ = await process.communicate()
    assert (process.returncode, "HTTP 503" in out.decode(), post.receiver.heard) == (1, True, [])
    command = (sys.executable, "-m", "fleet_server.watch", "--config", str(tmp_path / "none.toml"))
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    _, text = await process.communicate()
    assert (process.returncode, "servers" in text.decode()) == (3, True)
