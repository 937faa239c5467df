"""Viewers on the live channel, and a probe that raises alarms and waits for their rows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic

import aiohttp

from bench.site import Crowd
from wire.faults import Fault

ALARM_EVERY_S = 0.2
LAST_ROWS_S = 5.0
TOPICS = ("kiosks", "alarms")


@dataclass(slots=True)
class Viewer:
    """One open live channel; `seen` holds when each alarm's row came, by component."""

    seen: dict[str, float] = field(default_factory=dict)
    received_bytes: int = 0

    def take(self, text: str) -> None:
        """Look at one message."""
        now_s = monotonic()
        self.received_bytes += len(text)
        if '"topic":"alarms"' not in text[:80]:
            return
        for found in json.loads(text)["rows"]:
            self.seen.setdefault(found["component"], now_s)


@asynccontextmanager
async def viewers(http: aiohttp.ClientSession, base_url: str, number: int) -> AsyncIterator[Sequence[Viewer]]:
    """That many viewers of the fleet page, each with its snapshots."""
    found = [Viewer() for _ in range(number)]
    ready = [asyncio.Event() for _ in found]

    async def watch(viewer: Viewer, has_begun: asyncio.Event) -> None:
        async with http.ws_connect(f"{base_url}/api/v1/live", headers={"Origin": base_url}, max_msg_size=0) as socket:
            await socket.send_json({"sub": [{"topic": topic} for topic in TOPICS]})
            async for message in socket:
                viewer.take(message.data)
                if '"t":"ping"' in message.data[:20]:
                    await socket.send_json({"t": "ping"})
                has_begun.set()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(watch(*pair)) for pair in zip(found, ready, strict=True)]
        for has_begun in ready:
            async with asyncio.timeout(15.0):
                await has_begun.wait()
        yield found
        for task in tasks:
            task.cancel()


@dataclass(slots=True)
class Probe:
    """Raises one alarm after the other; `seconds` are from the order to the row, for every viewer."""

    crowd: Crowd
    kids: Sequence[str]
    watching: Sequence[Viewer]
    seconds: list[float] = field(default_factory=list)
    missing: int = 0
    _raised: dict[str, float] = field(default_factory=dict)

    @property
    def received_bytes(self) -> int:
        """What all viewers received."""
        return sum(viewer.received_bytes for viewer in self.watching)

    async def run(self, seconds: float) -> None:
        """Probe for so long; the figures are there however it ends."""
        before = self.received_bytes
        try:
            until_s = monotonic() + seconds
            while monotonic() < until_s:
                await self._raise(len(self._raised))
                await asyncio.sleep(ALARM_EVERY_S)
            await asyncio.sleep(LAST_ROWS_S)
        finally:
            self._count()
            for viewer in self.watching:
                viewer.received_bytes -= before // len(self.watching)

    async def _raise(self, number: int) -> None:
        kid = self.kids[number * 37 % len(self.kids)]
        component = f"bench.n{number}"
        body = {"code": Fault.DISK_LOW.value, "component": component}
        self._raised[component] = monotonic()
        await self.crowd.post(f"/kiosks/{kid}/alarms", body)

    def _count(self) -> None:
        """A row that did not come counts with the time it was waited for; very young ones are left out."""
        now_s = monotonic()
        for component, raised_s in self._raised.items():
            for viewer in self.watching:
                seen_s = viewer.seen.get(component)
                if seen_s is not None:
                    self.seconds.append(seen_s - raised_s)
                elif now_s - raised_s > LAST_ROWS_S:
                    self.seconds.append(now_s - raised_s)
                    self.missing += 1
