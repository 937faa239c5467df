"""The program that is killed at every durable call of a print job: what reaches the paper it prints, one line each.

python crash_work.py print|look STATE
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from agent.printing.machine import OPEN, JobState
from agent.printing.model import Draft, Job, JobKind, PrintEnd
from agent.printing.spool import PrintSpool, SpoolParts
from kit.clock import SystemClock
from wire.faults import Fault

PRINTER = "receipt-printer"
KEYS = ("a", "b", "c", "d", "e", "f", "g")


def say(*words: object) -> None:
    sys.stdout.write(f"{json.dumps(words)}\n")
    sys.stdout.flush()


class Paper:
    """A printer whose paper is this program's output; it cannot confirm the second job and jams at the third."""

    def obstacle(self) -> Fault | None:
        return None

    async def print_job(self, job: Job, content: bytes) -> PrintEnd:
        say("paper", content.decode(), job.copy_no)
        if job.copy_no == 0 and content in {b"b", b"c"}:
            state = JobState.UNKNOWN if content == b"b" else JobState.FAILED
            return PrintEnd(state, Fault.PAPER_JAM)
        return PrintEnd(JobState.PRINTED)


async def with_spool(state: Path, work: Callable[[PrintSpool], Awaitable[None]]) -> None:
    async def told(job: Job) -> None:
        say("told", job.key, job.state.value)

    async def damaged(path: Path) -> None:
        say("damaged", path.name)

    spool = PrintSpool(SpoolParts(state / "print", SystemClock(), "boot", told, damaged), {PRINTER: Paper()})
    async with asyncio.TaskGroup() as group:
        task = group.create_task(spool.run())
        while not spool.is_open:  # noqa: ASYNC110 - the spool has no event for it, only a test waits
            await asyncio.sleep(0.001)
        await work(spool)
        task.cancel()


async def ask(spool: PrintSpool, key: str) -> Job:
    job = await spool.submit(Draft(key, PRINTER, JobKind.RECEIPT, key.encode()))
    say("taken", key)
    return await spool.wait(job.no, timeout_s=20.0)


async def printing(spool: PrintSpool) -> None:
    """Seven jobs, one after the other, a copy of the one that jammed, and a cancelled one."""
    for key in KEYS:
        over = await ask(spool, key)
        say("over", key, over.state.value)
        if over.state is JobState.FAILED:
            await spool.reprint(over.no, f"{key}-copy")
    for job in await spool.recent():
        await spool.wait(job.no, timeout_s=20.0)


async def look(spool: PrintSpool) -> None:
    """Ask for the same jobs again, as a page does that was reloaded, and say what became of each."""
    for key in KEYS:
        await ask(spool, key)
    for job in await spool.recent():
        over = await spool.wait(job.no, timeout_s=20.0)
        assert over.state not in OPEN
        say("end", over.key, over.state.value)


if __name__ == "__main__":
    task, place = sys.argv[1:]
    asyncio.run(with_spool(Path(place), {"print": printing, "look": look}[task]))
