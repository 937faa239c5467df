"""Kill a program before every call that changes its durable state, restart it, and check what is left.

The method is the fail-at-the-Nth-operation loop of the reference on reliability (section 3.2, recipe 1), driven by
`strace -e inject`. For each durable call the program makes on the watched paths, N = 1, 2, … : start from the same
state, kill (or fail) the Nth such call, start again without a fault, check; until a run finishes uninjured. Then
the double fault: for every fifth point the recovery itself is swept in the same way.

What to know about strace (measured with 6.1):
- a killed call is not carried out: the point is the state just before it;
- N counts per thread. When several threads change the state (`SweepReport.threads`), the Nth call of one is reached
  only before the others reach their Nth: sweep the files of each thread by themselves (`watched`);
- a path filter (-P) matches exactly these paths, never what lies below them: name every file, also temporary
  ones, and the directory itself when it is synced. Files with random names escape;
- with --seccomp-bpf an injected signal is silently dropped while an injected error works, so kills run without.

A kill tests the order of calls. It cannot test the loss of data that was never synced: that needs a power cut.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from support.processes import descendants

DURABLE_CALLS = (
    "openat",
    "write",
    "pwrite64",
    "writev",
    "pwritev",
    "pwritev2",
    "copy_file_range",
    "sendfile",
    "ftruncate",
    "truncate",
    "fallocate",
    "fsync",
    "fdatasync",
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "symlink",
    "symlinkat",
    "unlink",
    "unlinkat",
    "mkdir",
    "mkdirat",
    "rmdir",
)
ALLOW_NO_STRACE = "KIOSK_ALLOW_NO_STRACE"

_LINE = re.compile(r"^(\d+)\s+(?:<\.\.\. )?(\w+)\(")
_CREATES = re.compile(r"O_CREAT|O_TRUNC")
_POLL_MS = 10
_TAIL_CHARS = 400
_MOST_POINTS_PER_CALL = 20_000

Command = Callable[[Path], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Kill:
    """SIGKILL instead of the call."""

    def clause(self, call: str, number: int) -> str:
        """Part of the strace option."""
        return f"inject={call}:signal=KILL:when={number}"

    def __str__(self) -> str:
        """How a report calls it."""
        return "kill"


@dataclass(frozen=True, slots=True)
class Fail:
    """Let the call fail with an error such as ENOSPC, EIO or EROFS; `stays`: and every later one of its kind."""

    error: str
    stays: bool = False

    def clause(self, call: str, number: int) -> str:
        """Part of the strace option."""
        return f"inject={call}:error={self.error}:when={number}{'+' if self.stays else ''}"

    def __str__(self) -> str:
        """How a report calls it."""
        return f"{self.error}{' from then on' if self.stays else ''}"


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a command: exit code (minus the signal), output of both streams, and what strace saw."""

    exit_code: int
    output: str
    trace: str = ""
    hung: bool = False

    @property
    def was_hit(self) -> bool:
        """Whether the fault happened in this run."""
        return "(INJECTED)" in self.trace or "killed by SIGKILL" in self.trace

    def calls(self) -> Counter[tuple[str, str]]:
        """How often each (thread, call) appears in the trace."""
        return Counter((match[1], match[2]) for match in map(_LINE.match, self.trace.splitlines()) if match)


@dataclass(frozen=True, slots=True)
class Point:
    """Where the fault struck and what the runs printed; handed to the checker with the state after recovery."""

    state: Path
    place: str
    faulted: Run
    recovered: Run


@dataclass(frozen=True, slots=True)
class Workload:
    """A program to sweep.

    `command` and `recover` (default: the same) are given the state directory and must end by themselves with code
    0, or, when `until` is given, are ended with SIGTERM once it is true of the state directory. `check` returns a
    sentence for every broken promise; what the program acknowledged it prints, so that `Point.faulted.output` has it.
    `watched` names the files below the state directory whose calls count.
    """

    command: Command
    watched: Sequence[str]
    check: Callable[[Point], Iterable[str]]
    prepare: Callable[[Path], None] | None = None
    recover: Command | None = None
    until: Callable[[Path], bool] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = 20.0


@dataclass(slots=True)
class SweepReport:
    """Figures of a sweep; prints in a few lines."""

    fault: str
    points: int = 0
    double_points: int = 0
    runs: int = 0
    threads: int = 0
    seconds: float = 0.0
    points_by_call: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    skipped: str = ""

    def __str__(self) -> str:
        """Figures, then the violations."""
        if self.skipped:
            return f"SKIPPED crash sweep ({self.fault}): {self.skipped}"
        each_ms = 1_000 * self.seconds / max(1, self.points + self.double_points)
        calls = ", ".join(f"{call} {count}" for call, count in self.points_by_call.items())
        head = (
            f"crash sweep ({self.fault}): {self.points} points + {self.double_points} double, "
            f"{len(self.violations)} violations, {self.seconds:.1f} s ({each_ms:.0f} ms a point), "
            f"{self.threads} thread(s) change the state; {calls}"
        )
        shown = self.violations[:20]
        lines = [head, *(f"  ! {violation}" for violation in shown)]
        lines += [f"  … {len(self.violations) - len(shown)} more"] if len(self.violations) > len(shown) else []
        return "\n".join(lines)

    def require(self, *, floor: int, double_floor: int = 0) -> Self:
        """Print the report and return it when nothing is broken and the floors are reached.

        Raises:
            AssertionError: a violation, or fewer points than the floor: a sweep that tests nothing is no proof.
        """
        sys.stdout.write(f"{self}\n")
        if self.skipped:
            return self
        assert not self.violations, str(self)
        assert self.points >= floor, f"only {self.points} points, the floor is {floor}\n{self}"
        assert self.double_points >= double_floor, (
            f"only {self.double_points} double points, the floor is {double_floor}\n{self}"
        )
        return self


def python_script(code: str, *args: str) -> list[str]:
    """Command for a small script that starts in 15 ms: system interpreter, no site packages, no environment."""
    interpreter = os.path.realpath(sys.executable)
    return [interpreter, "-I", "-S", "-c", code, *args]


def why_not(strace: str = "strace") -> str:
    """Say in one line why nothing can be traced here; empty when it can."""
    try:
        probe = subprocess.run(
            [strace, "-f", "-o", os.devnull, "-e", "trace=none", "--", "true"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except FileNotFoundError:
        return f"{strace} is missing: apt-get install --no-install-recommends strace"
    except subprocess.TimeoutExpired:
        return f"{strace} hangs here"
    reason = probe.stderr.strip().splitlines()
    return "" if probe.returncode == 0 else f"{strace} cannot trace here: {reason[0] if reason else 'no reason given'}"


class _Sweep:
    """One sweep of one workload in one directory."""

    def __init__(self, workload: Workload, fault: Kill | Fail, directory: Path, strace: str) -> None:
        self.workload = workload
        self.fault = fault
        self.state = directory / "state"
        self.strace = strace
        self.report = SweepReport(fault=str(fault))
        self._snapshot = directory / "snapshot"
        self._seed = directory / "seed"
        self._trace = directory / "trace"
        self._output = directory / "output"
        self._env = {**os.environ, "PYTHONUNBUFFERED": "1", **workload.env}
        self._seed.mkdir()
        if workload.prepare is not None:
            self.state.mkdir()
            workload.prepare(self.state)
            shutil.rmtree(self._seed)
            self.state.rename(self._seed)

    def reset(self, source: Path | None = None) -> None:
        """Put the state back to the seed or to a snapshot, at the same path as ever."""
        shutil.rmtree(self.state, ignore_errors=True)
        shutil.copytree(source or self._seed, self.state, symlinks=True)

    def keep(self) -> Path:
        """Copy the state as it is."""
        shutil.rmtree(self._snapshot, ignore_errors=True)
        shutil.copytree(self.state, self._snapshot, symlinks=True)
        return self._snapshot

    def _traced(self, argv: Sequence[str], calls: Iterable[str], clause: str) -> list[str]:
        paths = [part for name in self.workload.watched for part in ("-P", str(self.state / name).removesuffix("/."))]
        inject = ["-e", clause] if clause else []
        fast = ["--seccomp-bpf"] if "signal=" not in clause else []
        trace = ["-e", f"trace={','.join(calls)}"]
        return [self.strace, "-f", "-q", *fast, "-o", str(self._trace), *trace, *inject, *paths, "--", *argv]

    def run(self, command: Command, *, calls: Iterable[str] = (), clause: str = "") -> Run:
        """Run `command` on the state; traced when `calls` are given, faulted when `clause` is."""
        argv = list(command(self.state))
        traced = self._traced(argv, calls, clause) if calls else argv
        self._trace.write_bytes(b"")
        self.report.runs += 1
        with self._output.open("wb") as output:
            process = subprocess.Popen(
                traced,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._env,
                start_new_session=True,
            )
        hung = not self._ended(process, is_traced=bool(calls))
        if hung:
            os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
        text = self._output.read_text(encoding="utf-8", errors="replace")
        return Run(code, text, self._trace.read_text(encoding="utf-8", errors="replace"), hung)

    def _ended(self, process: subprocess.Popen[bytes], *, is_traced: bool) -> bool:
        """Wait for the end, asking for it once `until` is true; whether it came in time."""
        deadline = time.monotonic() + self.workload.timeout_s
        until, asked = self.workload.until, False
        descriptor = os.pidfd_open(process.pid)
        try:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            while not poll.poll(_POLL_MS if until else self.workload.timeout_s * 1_000):
                if time.monotonic() > deadline:
                    return False
                if until is not None and not asked and until(self.state):
                    asked = _ask_to_end(process.pid, is_traced=is_traced)
        finally:
            os.close(descriptor)
        return True

    def recover(self, *, calls: Iterable[str] = (), clause: str = "") -> Run:
        """Start again on the state as it is."""
        return self.run(self.workload.recover or self.workload.command, calls=calls, clause=clause)

    def judge(self, place: str, faulted: Run, recovered: Run) -> None:
        """Add every broken promise to the report."""
        broken = self.report.violations
        for name, run in (("faulted run", faulted), ("recovery", recovered)):
            if run.hung:
                broken.append(f"{place}: the {name} hung for {self.workload.timeout_s:g} s")
        if recovered.exit_code not in self._right_codes() and not recovered.hung:
            tail = recovered.output.strip()[-_TAIL_CHARS:]
            broken.append(f"{place}: the recovery ended with code {recovered.exit_code}: {tail}")
        point = Point(self.state, place, faulted, recovered)
        broken.extend(f"{place}: {sentence}" for sentence in self.workload.check(point))

    def _right_codes(self) -> set[int]:
        return {0} if self.workload.until is None else {0, -signal.SIGTERM}

    def rehearse(self, calls: Iterable[str]) -> list[str]:
        """Run once without a fault; returns the calls that change watched files.

        Raises:
            AssertionError: the workload or its checker fails even without a fault.
        """
        self.reset()
        run = self.run(self.workload.command, calls=calls)
        assert run.exit_code in self._right_codes(), (
            f"the workload fails without any fault, code {run.exit_code}: {run.output.strip()[-_TAIL_CHARS:]}"
        )
        self.judge("no fault", run, self.recover())
        assert not self.report.violations, f"the checker objects without any fault: {self.report.violations[0]}"
        self.report.threads = len({thread for thread, _ in run.calls()})
        return _changing(run, calls)


def _ask_to_end(pid: int, *, is_traced: bool) -> bool:
    """Send SIGTERM to the program, which under strace is its child; whether there was one to ask."""
    targets = descendants(pid)[:1] if is_traced else [pid]
    for target in targets:
        os.kill(target, signal.SIGTERM)
    return bool(targets)


def _changing(run: Run, calls: Iterable[str]) -> list[str]:
    """Calls that appear in a trace, without opens when nothing is created or truncated by one."""
    used = {call for _, call in run.calls()}
    if not _CREATES.search(run.trace):
        used.discard("openat")
    return [call for call in calls if call in used]


def _numbers(stride: int, offset: int) -> Iterator[int]:
    number = 1 + offset
    while number < _MOST_POINTS_PER_CALL:
        yield number
        number += stride
    raise AssertionError(f"more than {_MOST_POINTS_PER_CALL} calls of one kind: the workload does not end")


def _sweep_recovery(sweep: _Sweep, place: str, faulted: Run, snapshot: Path, traced: Run) -> None:
    """Strike the recovery from `snapshot` at each of its calls, recover again, check."""
    for call in _changing(traced, DURABLE_CALLS):
        for number in _numbers(1, 0):
            sweep.reset(snapshot)
            struck = sweep.recover(calls=[call], clause=sweep.fault.clause(call, number))
            if not struck.was_hit and not struck.hung:
                break
            sweep.report.double_points += 1
            second = f"{place}, then {sweep.fault} at {call} #{number} of the recovery"
            sweep.judge(second, faulted, sweep.recover())


def _sweep_all(sweep: _Sweep, calls: Sequence[str], double_every: int, stride: int, offset: int) -> None:
    for call in sweep.rehearse(calls):
        for number in _numbers(stride, offset):
            sweep.reset()
            faulted = sweep.run(sweep.workload.command, calls=[call], clause=sweep.fault.clause(call, number))
            if not faulted.was_hit and not faulted.hung:
                break
            sweep.report.points += 1
            sweep.report.points_by_call[call] += 1
            place = f"{sweep.fault} at {call} #{number}"
            doubled = bool(double_every) and sweep.report.points % double_every == 0
            snapshot = sweep.keep() if doubled else None
            recovered = sweep.recover(calls=DURABLE_CALLS if doubled else ())
            sweep.judge(place, faulted, recovered)
            if snapshot is not None:
                _sweep_recovery(sweep, place, faulted, snapshot, recovered)


@contextmanager
def _directory(given: Path | None) -> Iterator[Path]:
    """The caller's directory, or one in memory: a kill does not ask what the file system has on disk."""
    if given is not None:
        yield given
        return
    memory = Path("/dev/shm")
    parent = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="kiosk-sweep-", dir=parent) as made:
        yield Path(made)


def sweep_crashes(
    workload: Workload,
    fault: Kill | Fail | None = None,
    *,
    calls: Sequence[str] = DURABLE_CALLS,
    double_every: int = 5,
    stride: int = 1,
    offset: int = 0,
    directory: Path | None = None,
    strace: str = "strace",
    environ: Mapping[str, str] = os.environ,
) -> SweepReport:
    """Strike `workload` with `fault` (default: kill) at every durable call on its watched files, one run each.

    `double_every` = 0 leaves the double faults out. `stride` and `offset` take every n-th point only, for gates
    that have no time. The caller ends with `.require(floor=…)`.

    Raises:
        AssertionError: the workload fails without a fault, or strace cannot work here and KIOSK_ALLOW_NO_STRACE is
            not 1 (with it, the report is printed as skipped).
    """
    chosen = fault or Kill()
    if reason := why_not(strace):
        assert environ.get(ALLOW_NO_STRACE) == "1", reason
        return SweepReport(fault=str(chosen), skipped=reason)
    started = time.monotonic()
    with _directory(directory) as place:
        sweep = _Sweep(workload, chosen, place, strace)
        _sweep_all(sweep, calls, double_every, stride, offset)
    sweep.report.seconds = time.monotonic() - started
    return sweep.report
