"""The engineer's part is loaded when somebody asks for it, and is then what it always was."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from agent.local_api.documents import commands
from agent.local_api.late import ENGINEERS, Late, LateCommand
from kit.supervise import spawn


def test_the_names_are_those_of_the_commands() -> None:
    known = {name for name in commands() if name.startswith("Maintenance.")}
    assert set(ENGINEERS) == known


def test_a_late_command_is_the_command() -> None:
    loads = 0

    def load() -> dict[str, LateCommand]:
        nonlocal loads
        loads += 1
        return {"Maintenance.State": real}  # type: ignore[dict-item]  # a `Verb`, which is a `Command` too

    real = commands()["Maintenance.State"]
    late = LateCommand("Maintenance.State", load)
    assert loads == 0
    assert (late.request, late.limit_s) == (real.request, real.limit_s)
    assert loads == 2


class Part:
    """Counts its runs."""

    runs = 0

    async def run(self) -> None:
        self.runs += 1
        await asyncio.Event().wait()


async def test_a_part_runs_once_it_is_made() -> None:
    late = Late(Part)
    async with asyncio.TaskGroup() as group:
        task = spawn(group, late.run(), "late")
        await asyncio.sleep(0)
        assert late.made is None
        part = late.get()
        assert late.get() is part
        for _ in range(5):
            await asyncio.sleep(0)
        assert part.runs == 1
        task.cancel()


@pytest.mark.timeout(30)
def test_the_agent_does_without_it() -> None:
    code = "import agent.app, sys; sys.exit(any(name.startswith('agent.maintenance') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
