"""The wall clock of a running child jumps and its monotonic clock does not notice."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kit.clock import SystemClock
from support.wall_clock import DAY_S, SOURCE, ShimError, WallClock, build_shim

CHILD = """
import datetime, json, sqlite3, sys, time
db = sqlite3.connect(":memory:")
for _ in sys.stdin:
    before = time.monotonic(); time.sleep(0.01); slept = time.monotonic() - before
    print(json.dumps({
        "wall": time.time(), "ns": time.time_ns() / 1e9, "utc": datetime.datetime.now(datetime.UTC).timestamp(),
        "coarse": time.clock_gettime(5), "local": time.mktime(time.localtime()),
        "sqlite": db.execute("select unixepoch('now')").fetchone()[0],
        "monotonic": time.monotonic(), "boot": time.clock_gettime(time.CLOCK_BOOTTIME), "slept": slept,
    }), flush=True)
"""

TRUE_CLOCK = SystemClock()
WALLS = ("wall", "ns", "utc", "coarse", "local", "sqlite")


def now_s() -> float:
    return TRUE_CLOCK.utc().timestamp()


@dataclass
class Asked:
    """A running child that reads all its clocks when asked."""

    process: subprocess.Popen[str]

    def clocks(self) -> dict[str, float]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("?\n")
        self.process.stdin.flush()
        answer: dict[str, float] = json.loads(self.process.stdout.readline())
        return answer


@pytest.fixture
def clock(tmp_path: Path) -> WallClock:
    """A wall clock that is right."""
    return WallClock(tmp_path / "clock")


@pytest.fixture
def child(clock: WallClock) -> Iterator[Asked]:
    """A child under that clock."""
    with subprocess.Popen(
        [sys.executable, "-u", "-c", CHILD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=clock.env(),
    ) as process:
        yield Asked(process)


@pytest.mark.parametrize("days", [400, -400, 1 / 24, -1 / 24])
def test_a_live_jump_moves_every_wall_clock_and_no_other(child: Asked, clock: WallClock, days: float) -> None:
    shift_s = days * DAY_S
    for round_number, expected_s in enumerate((0.0, shift_s, -shift_s, 0.0)):
        clock.set_offset(expected_s)
        now = child.clocks()
        for name in WALLS:
            assert now[name] - now_s() == pytest.approx(expected_s, abs=2.5), (round_number, name)
        assert now["monotonic"] == pytest.approx(time.monotonic(), abs=2.0)
        assert now["boot"] == pytest.approx(time.clock_gettime(time.CLOCK_BOOTTIME), abs=2.0)
        assert 0.01 <= now["slept"] < 2.0


def test_jumps_add_up_and_keep_fractions(child: Asked, clock: WallClock) -> None:
    for step_s in (0.25, -0.75, -1_000.5):
        clock.jump(step_s)
    assert clock.offset_s == pytest.approx(-1_001.0)
    assert child.clocks()["wall"] - now_s() == pytest.approx(-1_001.0, abs=1.0)


@pytest.mark.parametrize("unix_s", [0.0, 2_147_483_700.0])
def test_the_clock_can_be_put_on_1970_and_past_2038(child: Asked, clock: WallClock, unix_s: float) -> None:
    clock.set_to(unix_s, true_unix_s=now_s())
    for name in WALLS:
        assert child.clocks()[name] == pytest.approx(unix_s, abs=2.5)


def test_grandchildren_follow_too(clock: WallClock) -> None:
    clock.set_offset(400 * DAY_S)
    shown = subprocess.run(
        ["/bin/sh", "-c", "date +%s; date +%s"], env=clock.env(), capture_output=True, text=True, check=True
    )
    for line in shown.stdout.split():
        assert float(line) - now_s() == pytest.approx(400 * DAY_S, abs=2.5)


def test_without_the_file_the_clock_is_right(clock: WallClock) -> None:
    clock.set_offset(DAY_S)
    env = clock.env() | {"KIOSK_CLOCK_FILE": str(clock.path.with_name("absent"))}
    shown = subprocess.run(["/bin/date", "+%s"], env=env, capture_output=True, text=True, check=True)
    assert float(shown.stdout) == pytest.approx(now_s(), abs=2.5)


def test_a_shim_already_present_is_kept(clock: WallClock) -> None:
    joined = clock.env({"LD_PRELOAD": "/usr/lib/other.so", "LANG": "C"})
    assert joined["LD_PRELOAD"] == f"{clock.library}:/usr/lib/other.so"
    assert joined["LANG"] == "C"


def test_the_shim_is_built_once_and_a_missing_compiler_is_named(tmp_path: Path) -> None:
    library = build_shim(tmp_path)
    built_at = library.stat().st_mtime_ns
    assert build_shim(tmp_path, compiler="no-such-compiler").stat().st_mtime_ns == built_at
    assert [path.name for path in tmp_path.iterdir()] == [library.name]
    library.unlink()
    with pytest.raises(ShimError, match="no-such-compiler is missing"):
        build_shim(tmp_path, compiler="no-such-compiler")
    refusing = shutil.which("false")
    assert refusing is not None
    with pytest.raises(ShimError, match="refused"):
        build_shim(tmp_path, compiler=refusing)
    assert SOURCE.name == "clock_shim.c"
