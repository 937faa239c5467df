"""The sweep finds torn files, half recoveries and ignored errors, and nothing in programs that do it right."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from support.crash_sweep import (
    ALLOW_NO_STRACE,
    Fail,
    Point,
    SweepReport,
    Workload,
    python_script,
    sweep_crashes,
)

pytestmark = pytest.mark.timeout(60)

OLD, NEW = "old" * 100, "new" * 100

NAIVE = """
import os, sys
fd = os.open(sys.argv[1] + "/config", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
os.write(fd, b"new" * 50); os.write(fd, b"new" * 50)
os.fsync(fd); os.close(fd)
"""

ATOMIC = """
import os, sys
d = sys.argv[1]
fd = os.open(d + "/config.tmp", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
os.write(fd, b"new" * 50); os.write(fd, b"new" * 50)
os.fsync(fd); os.close(fd)
os.rename(d + "/config.tmp", d + "/config")
fd = os.open(d, os.O_RDONLY); os.fsync(fd)
"""

# Adds the number in `journal` to `sum`, at start: first writes the sum in place, then removes the journal.
NOT_IDEMPOTENT = """
import os, sys
d = sys.argv[1]
def put(name, text):
    fd = os.open(d + "/" + name + ".tmp", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.write(fd, text.encode()); os.fsync(fd); os.close(fd)
    os.rename(d + "/" + name + ".tmp", d + "/" + name)
    fd = os.open(d, os.O_RDONLY); os.fsync(fd); os.close(fd)
if os.path.exists(d + "/journal"):
    put("sum", str(int(open(d + "/sum").read()) + int(open(d + "/journal").read())))
    os.unlink(d + "/journal")
if sys.argv[2:] and open(d + "/sum").read() == "0":
    put("journal", "5")
"""

QUEUE = """
import os, sqlite3, sys
db = sqlite3.connect(sys.argv[1] + "/queue.db", isolation_level=None)
db.execute("PRAGMA journal_mode=WAL"); db.execute("PRAGMA synchronous=FULL")
db.execute("CREATE TABLE IF NOT EXISTS queue (number INTEGER PRIMARY KEY)")
for number in range(int(sys.argv[2])):
    db.execute("INSERT OR IGNORE INTO queue VALUES (?)", (number,))
    os.write(1, b"%d\\n" % number)
"""

COUNT = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1] + "/queue.db")
tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
print(*[row[0] for row in db.execute("SELECT number FROM queue")] if tables else [])
"""

SERVICE = """
import os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
fd = os.open(sys.argv[1] + "/up.tmp", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
os.write(fd, b"up"); os.close(fd)
os.rename(sys.argv[1] + "/up.tmp", sys.argv[1] + "/up")
while True:
    signal.pause()
"""


TWO_THREADS = """
import os, sys, threading
def sync(name):
    fd = os.open(sys.argv[1] + "/" + name, os.O_WRONLY | os.O_CREAT)
    os.fsync(fd); os.fsync(fd); os.fsync(fd)
for name in ("a", "b"):
    thread = threading.Thread(target=sync, args=(name,)); thread.start(); thread.join()
"""


def of(code: str, *args: str) -> Callable[[Path], list[str]]:
    """Command that runs a small script on the state directory."""
    return lambda state: python_script(code, str(state), *args)


def with_old_config(state: Path) -> None:
    (state / "config").write_text(OLD, encoding="ascii")


def whole_config(point: Point) -> Iterable[str]:
    """The configuration is the old one or the new one."""
    text = (point.state / "config").read_text(encoding="ascii")
    if text not in {OLD, NEW}:
        yield f"the configuration has {len(text)} bytes"


def config_writer(code: str) -> Workload:
    return Workload(
        command=of(code),
        watched=["config", "config.tmp", "."],
        check=whole_config,
        prepare=with_old_config,
        recover=of("pass"),
    )


def test_a_naive_writer_is_caught_at_every_torn_point() -> None:
    report = sweep_crashes(config_writer(NAIVE), double_every=0)
    assert report.points == 4
    assert [violation.split(":")[0] for violation in report.violations] == ["kill at write #1", "kill at write #2"]
    assert report.violations[1].endswith("the configuration has 150 bytes")
    with pytest.raises(AssertionError, match="kill at write #1: the configuration has 0 bytes"):
        report.require(floor=1)


def test_write_temp_sync_rename_survives_every_point() -> None:
    report = sweep_crashes(config_writer(ATOMIC), double_every=0).require(floor=7)
    assert report.points_by_call == {"openat": 2, "write": 2, "fsync": 2, "rename": 1}
    assert report.threads == 1


def test_a_sweep_with_too_few_points_fails() -> None:
    report = sweep_crashes(config_writer(ATOMIC), double_every=0, stride=3)
    assert report.points == 3 + 1
    with pytest.raises(AssertionError, match="only 4 points, the floor is 400"):
        report.require(floor=400)


@pytest.mark.parametrize("error", ["ENOSPC", "EIO", "EROFS"])
def test_an_error_at_every_call_breaks_the_naive_writer_only(error: str) -> None:
    naive = sweep_crashes(config_writer(NAIVE), Fail(error), double_every=0)
    assert any(violation.startswith(f"{error} at write #2") for violation in naive.violations)
    sweep_crashes(config_writer(ATOMIC), Fail(error), double_every=0).require(floor=7)


def test_a_disk_that_stays_full_fails_every_later_call() -> None:
    script = """
import os, sys
for number in range(4):
    try:
        os.mkdir(sys.argv[1] + "/d%d" % number)
    except OSError as error:
        os.write(1, b"full ")
"""
    seen: list[int] = []

    def count(point: Point) -> Iterable[str]:
        seen.append(point.faulted.output.count("full"))
        return ()

    workload = Workload(command=of(script), watched=[f"d{n}" for n in range(4)], check=count, recover=of("pass"))
    sweep_crashes(workload, Fail("ENOSPC", stays=True), double_every=0).require(floor=4)
    assert seen[1:] == [4, 3, 2, 1]


def with_zero_sum(state: Path) -> None:
    (state / "sum").write_text("0", encoding="ascii")


def sum_is_right(point: Point) -> Iterable[str]:
    total = (point.state / "sum").read_text(encoding="ascii")
    if total not in {"0", "5"}:
        yield f"the sum is {total}"


def journal_workload(recover: str) -> Workload:
    return Workload(
        command=of(NOT_IDEMPOTENT, "write"),
        watched=["sum", "sum.tmp", "journal", "journal.tmp", "."],
        check=sum_is_right,
        prepare=with_zero_sum,
        recover=of(recover),
    )


def test_a_recovery_that_is_not_repeatable_is_caught_only_by_the_double_fault() -> None:
    single = sweep_crashes(journal_workload(NOT_IDEMPOTENT), double_every=0)
    assert single.violations == []
    double = sweep_crashes(journal_workload(NOT_IDEMPOTENT), double_every=1)
    assert double.violations
    assert all("of the recovery: the sum is 10" in violation for violation in double.violations)
    assert double.points == single.points
    assert double.double_points >= 7


def test_a_repeatable_recovery_survives_the_double_fault() -> None:
    absolute = NOT_IDEMPOTENT.replace('str(int(open(d + "/sum").read()) + int(open(d + "/journal").read()))', '"5"')
    sweep_crashes(journal_workload(absolute), double_every=1).require(floor=6, double_floor=7)


def acknowledged_rows_are_there(point: Point) -> Iterable[str]:
    kept = set(point.recovered.output.split())
    if lost := set(point.faulted.output.split()) - kept:
        yield f"{len(lost)} acknowledged rows are lost"


def queue_workload(code: str) -> Workload:
    return Workload(
        command=of(code, "2"),
        watched=["queue.db", "queue.db-wal", "queue.db-shm", "queue.db-journal", "."],
        check=acknowledged_rows_are_there,
        recover=of(COUNT),
    )


def test_a_durable_queue_keeps_what_it_acknowledged() -> None:
    report = sweep_crashes(queue_workload(QUEUE), double_every=40).require(floor=20, double_floor=1)
    assert report.runs > report.points


def test_a_queue_that_acknowledges_first_is_caught() -> None:
    early = QUEUE.replace("for number", 'db.execute("BEGIN")\nfor number') + '\ndb.execute("COMMIT")\n'
    report = sweep_crashes(queue_workload(early), double_every=0)
    assert any("2 acknowledged rows are lost" in violation for violation in report.violations)


def test_calls_count_per_thread_so_each_threads_files_are_swept_by_themselves() -> None:
    def workload(*watched: str) -> Workload:
        return Workload(command=of(TWO_THREADS), watched=watched, check=lambda _: ())

    both = sweep_crashes(workload("a", "b"), calls=["fsync"], double_every=0)
    assert (both.threads, both.points) == (2, 3)
    apart = [sweep_crashes(workload(name), calls=["fsync"], double_every=0) for name in "ab"]
    assert [(report.threads, report.points) for report in apart] == [(1, 3), (1, 3)]


def test_a_service_that_runs_for_ever_is_ended_when_it_is_up() -> None:
    def is_up(state: Path) -> bool:
        return (state / "up").exists()

    def came_up(point: Point) -> Iterable[str]:
        return () if is_up(point.state) else ["never came up"]

    workload = Workload(command=of(SERVICE), watched=["up", "up.tmp"], check=came_up, until=is_up)
    sweep_crashes(workload).require(floor=3)


def test_a_recovery_that_hangs_or_fails_is_a_violation() -> None:
    hanging = Workload(
        command=of(ATOMIC),
        watched=["config", "config.tmp"],
        check=lambda _: (),
        recover=of("import os, sys, signal; os.path.exists(sys.argv[1] + '/config') or signal.pause()"),
        timeout_s=0.5,
    )
    report = sweep_crashes(hanging, calls=["rename"], double_every=0)
    assert report.violations == ["kill at rename #1: the recovery hung for 0.5 s"]
    failing = Workload(
        command=of(ATOMIC),
        watched=["config", "config.tmp"],
        check=lambda _: (),
        recover=of("import os, sys; os.path.exists(sys.argv[1] + '/config') or sys.exit('no config')"),
    )
    report = sweep_crashes(failing, calls=["rename"], double_every=0)
    assert report.violations == ["kill at rename #1: the recovery ended with code 1: no config"]


def test_a_workload_broken_without_a_fault_is_refused() -> None:
    with pytest.raises(AssertionError, match=r"fails without any fault, code 1: boom"):
        sweep_crashes(config_writer("raise SystemExit('boom')"))
    with pytest.raises(AssertionError, match="objects without any fault: no fault: the configuration has 3 bytes"):
        sweep_crashes(config_writer("import sys; open(sys.argv[1] + '/config', 'w').write('new')"))


def test_without_strace_the_sweep_fails_in_one_line_or_says_skipped_when_allowed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(AssertionError, match=r"^no-such-strace is missing: apt-get install"):
        sweep_crashes(config_writer(ATOMIC), strace="no-such-strace", environ={})
    report = sweep_crashes(config_writer(ATOMIC), strace="no-such-strace", environ={ALLOW_NO_STRACE: "1"})
    report.require(floor=400)
    assert capsys.readouterr().out.startswith("SKIPPED crash sweep (kill): no-such-strace is missing")


def test_a_strace_that_may_not_trace_gives_its_own_reason(tmp_path: Path) -> None:
    refusing = tmp_path / "strace"
    refusing.write_text("#!/bin/sh\necho 'PTRACE_TRACEME: Operation not permitted' >&2; exit 1\n", encoding="ascii")
    refusing.chmod(0o755)
    with pytest.raises(AssertionError, match="cannot trace here: PTRACE_TRACEME: Operation not permitted"):
        sweep_crashes(config_writer(ATOMIC), strace=str(refusing), environ={})


def test_a_point_costs_a_few_starts_of_the_program() -> None:
    started = time.monotonic()
    for _ in range(10):
        subprocess.run(python_script("pass"), check=True)
    bare_s = (time.monotonic() - started) / 10
    report = sweep_crashes(config_writer(ATOMIC), double_every=0)
    assert report.seconds / report.points < 15 * bare_s


def test_a_report_shows_at_most_twenty_violations() -> None:
    report = SweepReport(fault="kill", points=50, violations=[f"v{n}" for n in range(50)])
    assert str(report).count("!") == 20
    assert str(report).endswith("… 30 more")
