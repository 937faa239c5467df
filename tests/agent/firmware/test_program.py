"""The vendor's program: a real process on a real port."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from agent.firmware.errors import FlashFailed, Why
from agent.firmware.program import run_program
from support.flash_rig import IMAGES, NEW, OLD, running
from support.waiting import wait_for

GOOD = """
import sys
port, image = sys.argv[1:]
data = open(image, "rb").read()
for percent in range(0, 101, 25):
    print(f"\\rerasing {percent}%", end="", flush=True)
with open(port + ".flashed", "wb") as stream:
    stream.write(data)
"""


def _argv(program: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", program, *arguments]


async def _failed(tmp_path: Path, argv: list[str], limit_s: float = 10.0) -> Why:
    port = tmp_path / "port"
    await asyncio.to_thread(port.touch)
    with pytest.raises(FlashFailed) as caught:
        await run_program(argv, str(port), b"image", limit_s, lambda _: None)
    return caught.value.why


async def test_it_gets_the_port_and_the_image(tmp_path: Path) -> None:
    port = tmp_path / "port"
    await asyncio.to_thread(port.touch)
    percents: list[int] = []
    await run_program(_argv(GOOD, "{port}", "{image}"), str(port), b"\x00image\xff", 10.0, percents.append)
    assert await asyncio.to_thread((tmp_path / "port.flashed").read_bytes) == b"\x00image\xff"
    assert percents == [0, 25, 50, 75, 100]


async def test_one_that_fails_or_is_not_there(tmp_path: Path) -> None:
    assert await _failed(tmp_path, _argv("raise SystemExit(3)", "{image}")) is Why.PROGRAM_FAILED
    assert await _failed(tmp_path, ["/no/such/program", "{image}"]) is Why.PROGRAM_FAILED
    assert await _failed(tmp_path, _argv("import os; os.kill(os.getpid(), 9)", "{image}")) is Why.PROGRAM_FAILED


async def test_one_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    program = (
        "import pathlib, subprocess, sys, time\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        "pathlib.Path(sys.argv[1] + '.pid').write_text(str(child.pid))\n"
        "time.sleep(600)\n"
    )
    assert await _failed(tmp_path, _argv(program, "{port}", "{image}"), limit_s=1.0) is Why.TOO_SLOW
    pid = await asyncio.to_thread((tmp_path / "port.pid").read_text)
    await wait_for(lambda: _state(pid) in {"", "Z"}, what="the child to be gone")


def _state(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(") ")[2][:1]
    except OSError:
        return ""


async def test_a_program_that_says_more_than_anybody_wants(tmp_path: Path) -> None:
    program = "import sys\nfor _ in range(200):\n    sys.stdout.write('x' * 65536)\nprint('999999%')"
    percents: list[int] = []
    port = tmp_path / "port"
    await asyncio.to_thread(port.touch)
    await run_program(_argv(program, "{image}"), str(port), b"image", 20.0, percents.append)
    assert set(percents) <= {100}


async def test_a_port_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FlashFailed) as caught:
        await run_program(
            _argv(GOOD, "{port}", "{image}"), "/dev/serial/by-id/nothing-like-it-*", b"image", 5.0, lambda _: None
        )
    assert caught.value.why is Why.LOST


async def test_a_device_is_flashed_by_a_program(tmp_path: Path) -> None:
    """The whole operation: `sb`, as a vendor's tool would, has the port to itself."""
    program = (
        "import os, subprocess, sys, time\n"
        "port = os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY)\n"
        "os.write(port, bytes.fromhex('1b4c41422d464c41534821'))\n"
        "sys.exit(subprocess.run(['sb', '-k', '-q', sys.argv[2]], stdin=port, stdout=port, stderr=-3).returncode)\n"
    )
    flash = {"protocol": "program", "argv": _argv(program, "{port}", "{image}"), "enter": None, "limit_s": 10.0}
    async with running(tmp_path, flash=flash) as rig:
        ended = await rig.update()
        assert (ended.before, ended.version, ended.why) == (OLD, NEW, None)
        assert rig.boots["scanner"].blocks >= len(IMAGES["scanner"]) // 1_024
