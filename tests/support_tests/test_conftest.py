"""The checks around each test catch a blocked loop, a child and a thread left behind, and spare what is allowed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kit.clock import ManualClock

pytestmark = pytest.mark.timeout(60)

ROOT = Path(__file__).parents[2]

INNER = """
import asyncio, os, stat, subprocess, sys
from pathlib import Path
import pytest
from kit.blocking import DeviceThread
from kit.settings import load
from pydantic import BaseModel

class Empty(BaseModel, extra="forbid"):
    pass

def read_settings(path):
    path.write_text("")
    load(Empty, file=path, env_prefix="T_", environ={})

async def test_blocks(tmp_path):
    read_settings(tmp_path / "s.toml")

@pytest.mark.may_block("shown")
async def test_may_block(tmp_path):
    read_settings(tmp_path / "s.toml")

async def test_blocks_by_itself(tmp_path):
    (tmp_path / "own").write_text("the test may")
    assert (tmp_path / "own").read_text()

def test_blocks_without_a_loop(tmp_path):
    read_settings(tmp_path / "s.toml")

def test_leaves_a_child():
    subprocess.Popen([sys.executable, "-I", "-S", "-c", "import signal; signal.pause()"])

def test_collects_its_child():
    subprocess.run(["true"], check=True)

def test_leaves_a_thread():
    DeviceThread("left")

@pytest.mark.leaves_threads("shown")
def test_may_leave_a_thread():
    DeviceThread("left on purpose")

def test_closes_its_thread():
    DeviceThread("closed").close()
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What pytest says about each inner test run under our conftest."""
    directory = tmp_path_factory.mktemp("inner")
    shutil.copy(ROOT / "tests" / "conftest.py", directory)
    (directory / "test_inner.py").write_text(INNER, encoding="utf-8")
    argv = [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(directory)]
    argv += ["-o", f"pythonpath={ROOT / 'tests'}", "-p", "no:cacheprovider", "-rA", "--tb=line", str(directory)]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=directory, env=env)
    found: dict[str, str] = {}
    for line in done.stdout.splitlines():
        verdict, _, rest = line.partition(" ")
        if verdict in {"PASSED", "FAILED", "ERROR"} and "::" in rest:
            name, _, why = rest.partition("::")[2].partition(" - ")
            if found.get(name, "PASSED") == "PASSED":
                found[name] = f"{verdict} {why}".strip()
    assert len(found) == INNER.count("def test_"), done.stdout
    return found


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("test_blocks", "FAILED"),
        ("test_leaves_a_child", "ERROR"),
        ("test_leaves_a_thread", "ERROR"),
        ("test_may_block", "PASSED"),
        ("test_blocks_by_itself", "PASSED"),
        ("test_blocks_without_a_loop", "PASSED"),
        ("test_collects_its_child", "PASSED"),
        ("test_may_leave_a_thread", "PASSED"),
        ("test_closes_its_thread", "PASSED"),
    ],
)
def test_the_checks_catch_what_they_must_and_nothing_else(outcomes: dict[str, str], name: str, verdict: str) -> None:
    assert outcomes[name].split()[0] == verdict, outcomes[name]


def test_the_manual_clock_stands_still_on_a_monday_morning(manual_clock: ManualClock) -> None:
    assert manual_clock.utc() == datetime(2026, 3, 2, tzinfo=UTC)
    assert manual_clock.utc().weekday() == 0


def test_the_service_directory_can_be_reached_by_everybody(service_dir: Path) -> None:
    assert all(parent.stat().st_mode & 0o001 for parent in (service_dir, *service_dir.parents))
