"""Looks, judges, tells. Everything it needs is in its settings and its own state file."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import aiohttp
from pydantic import ValidationError

from fleet_server.paging.model import Page
from fleet_server.paging.ways import Channel, PagingFailed, channel
from fleet_server.watch import rules
from fleet_server.watch.model import Sight, WatchState
from fleet_server.watch.settings import WatchSettings
from kit.clock import Clock, ulid
from kit.logs import get_logger
from kit.supervise import TaskGroup, spawn
from wire.faults import Severity

LOOK_S: Final = 10.0
MOST_BYTES: Final = 4_096
_OK: Final = 200
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """What one server said."""

    server: str
    idle_s: float | None
    why: str


class Watch:
    """Asks all servers whether alerting works; calls people itself when it does not."""

    name = "watch"

    def __init__(self, settings: WatchSettings, clock: Clock) -> None:
        """Read nothing yet."""
        self._settings, self._clock = settings, clock
        self._http: aiohttp.ClientSession | None = None
        self._state = WatchState()
        self._failing: set[str] = set()
        self._channels: Mapping[str, Channel] = {
            name: channel(target, self._session) for name, target in settings.targets.items()
        }

    @property
    def state(self) -> WatchState:
        """What is known now."""
        return self._state

    @property
    def silent_s(self) -> float:
        """Alerting that shows no sign of life for so long is gone."""
        return self._settings.silent_s

    async def run(self) -> None:
        """Watch until cancelled."""
        settings = self._settings
        async with await self._connect() as self._http:
            self._state = await asyncio.to_thread(_read, settings.state_file)
            log.info("watch.begins", servers=len(settings.servers), targets=len(settings.targets))
            while True:
                await self.look()
                await asyncio.sleep(settings.every_s)

    async def look(self) -> Sight:
        """Look once, and tell whoever has to be told."""
        sight = await self._see()
        before = self._state
        silent = timedelta(seconds=self._settings.silent_s)
        self._state = rules.seen(before, sight, silent, ulid(self._clock))
        if before.began_at is None and self._state.began_at is not None:
            log.error("watch.alerting_gone", why=sight.why)
        elif before.began_at is not None and self._state.began_at is None:
            log.warning("watch.alerting_back")
        await self._tell(sight)
        if self._state != before:
            await asyncio.to_thread(_write, self._settings.state_file, self._state)
        if sight.idle_s is not None and sight.idle_s <= silent.total_seconds():
            await self._ping()
        return sight

    async def glance(self) -> Sight:
        """Look once and tell nobody."""
        async with await self._connect() as self._http:
            return await self._see()

    async def _connect(self) -> aiohttp.ClientSession:
        tls = await asyncio.to_thread(_tls, self._settings.ca_file)
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls), trust_env=False)

    # -- seeing ---------------------------------------------------------------------------------------------------

    async def _see(self) -> Sight:
        async with TaskGroup() as group:
            asked = [spawn(group, self._ask(server), f"look-{server}") for server in self._settings.servers]
        answers = [task.result() for task in asked]
        idle = [answer.idle_s for answer in answers if answer.idle_s is not None]
        why = "; ".join(f"{answer.server}: {answer.why}" for answer in answers)
        return Sight(self._clock.utc(), min(idle, default=None), why)

    async def _ask(self, server: str) -> Answer:
        try:
            async with (
                asyncio.timeout(LOOK_S),
                self._session().get(f"{server.rstrip('/')}/api/v1/health/alerting", allow_redirects=False) as reply,
            ):
                body = await reply.content.read(MOST_BYTES)
                if reply.status != _OK:
                    return Answer(server, None, f"HTTP {reply.status}")
                ages = [float(json.loads(body)[name]) for name in ("incidents_idle_s", "paging_idle_s")]
        except TimeoutError:
            return Answer(server, None, "没有及时应答 (no answer in time)")
        except (aiohttp.ClientError, OSError) as error:
            return Answer(server, None, f"无法连接 (cannot be reached): {type(error).__name__}")
        except (ValueError, TypeError, KeyError):
            return Answer(
                server, None, "告警进程从未工作或应答无法识别 (alerting never had a turn, or a strange answer)"
            )
        idle = max(ages)
        return Answer(server, idle, f"告警已停 {idle:.0f} 秒 (alerting stands still for so many seconds)")

    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:
            raise RuntimeError("the watch does not run")
        return self._http

    # -- telling --------------------------------------------------------------------------------------------------

    async def _tell(self, sight: Sight) -> None:
        repeat = timedelta(seconds=self._settings.repeat_s)
        wanted = [(name, True) for name in rules.due(self._state, self._channels, sight.at, repeat)]
        wanted += [(name, False) for name in self._state.over if name in self._channels]
        async with TaskGroup() as group:
            for name, is_gone in wanted:
                _ = spawn(group, self._send(name, sight, is_gone=is_gone), f"tell-{name}")

    async def _send(self, name: str, sight: Sight, *, is_gone: bool) -> None:
        page = gone_page(self._state, sight) if is_gone else back_page(self._clock)
        try:
            await self._channels[name].send(page)
        except PagingFailed as failure:
            if name not in self._failing:
                log.warning("watch.not_told", target=name, why=str(failure))
            self._failing.add(name)
            return
        self._failing.discard(name)
        log.info("watch.told", target=name, is_gone=is_gone)
        if is_gone:
            self._state = rules.took(self._state, name, sight.at)
        else:
            self._state = rules.heard_over(self._state, name)

    async def _ping(self) -> None:
        file = self._settings.ping_url_file
        if file is None:
            return
        try:
            url = (await asyncio.to_thread(file.read_text, encoding="utf-8")).strip()
            async with asyncio.timeout(LOOK_S), self._session().get(url, allow_redirects=False) as reply:
                if reply.status >= _OK + 100:
                    log.warning("watch.ping_refused", status=reply.status)
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            log.warning("watch.ping_failed", error=type(error).__name__)


def gone_page(state: WatchState, sight: Sight) -> Page:
    """Nobody is called any more."""
    since = state.began_at or sight.at
    return Page(
        f"{state.id}-{len(state.told)}-{int(sight.at.timestamp())}",
        name="",
        title_zh="告警服务中断: 自助机故障此刻无人被呼叫",
        title_en="Alerting is gone: nobody is called for kiosks now",
        where=sight.why[:500],
        severity=Severity.CRITICAL,
        since=since,
        members=0,
        remedy_zh="按手册 docs/runbooks/alerting-gone.md 处理; 恢复前请人工巡查。",
        link=None,
    )


def back_page(clock: Clock) -> Page:
    """It works again."""
    return Page(
        ulid(clock),
        name="",
        title_zh="告警服务已恢复",
        title_en="Alerting works again",
        where="",
        severity=Severity.INFO,
        since=clock.utc(),
        members=0,
        remedy_zh="查看中断期间的事件: kioskctl incidents ls",
        link=None,
    )


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))


def _read(file: Path) -> WatchState:
    try:
        return WatchState.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return WatchState()
    except (OSError, ValidationError) as error:
        # Better to tell once more than not to watch.
        log.warning("watch.state_unreadable", file=file.name, error=type(error).__name__)
        return WatchState()


def _write(file: Path, state: WatchState) -> None:
    fresh = file.with_suffix(".new")
    try:
        with fresh.open("w", encoding="utf-8") as stream:
            stream.write(state.model_dump_json())
            stream.flush()
            os.fsync(stream.fileno())
        fresh.replace(file)
    except OSError as error:
        log.warning("watch.state_not_kept", file=file.name, error=type(error).__name__)
