"""A real agent that says what it is told to: `python kiosk_talker.py HISTORY FIRST LAST`, settings by KIOSK_ variables.

Appends class P0 events numbered FIRST to LAST through the agent's own reporter, writing `invoke` before and `ok`
after each: an `ok` means the agent promised that the event survives. Then it goes on running.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from agent.app import Agent, prepare
from agent.settings import load_settings
from kit.clock import SystemClock
from kit.logs import configure
from support.history import HistoryWriter
from support.waiting import wait_for
from wire.uplink import RecordClass

PAUSE_EVERY = 20


async def talk(agent: Agent, history: HistoryWriter, first: int, last: int) -> None:
    """Say the numbers, in groups, so that some are sent while others are written."""
    for number in range(first, last + 1):
        history.invoke("put", number, key="events")
        await agent.reporter.event("host", "test.number", {"number": number}, record_class=RecordClass.P0)
        history.ok("put", number, key="events")
        if number % PAUSE_EVERY == 0:
            await asyncio.sleep(0.01)


async def run(history: Path, first: int, last: int) -> None:
    """Run the agent and talk beside it."""
    settings = load_settings(None)
    prepare(settings.data_dir)
    agent = Agent(settings, SystemClock(), "test-host-boot")
    with HistoryWriter(history) as writer:
        async with asyncio.TaskGroup() as group:
            runner = group.create_task(agent.run(), name="agent")
            await wait_for(lambda: agent.is_open, timeout_s=20.0, what="the outbox")
            await talk(agent, writer, first, last)
            await runner


if __name__ == "__main__":
    configure("talker")
    asyncio.run(run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
