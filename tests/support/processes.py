"""Children for tests: started with their own log file, ended by their own pid, and none left behind.

A child is the leader of its own session, so that whatever it starts can be found again and ended with it.
Where `setpriv` exists a child is also killed by the kernel when the test run itself dies.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from ssl import SSLContext
from types import TracebackType
from typing import Any, Self

import aiohttp

from support.waiting import WaitTimeout, wait_for, wait_until

__all__ = [
    "Child",
    "ChildFailed",
    "HttpReply",
    "WaitTimeout",
    "assert_no_leftovers",
    "descendants",
    "dying_with_parent",
    "has_children",
    "http_get",
    "listening_ports",
    "session_members",
    "wait_for",
    "wait_until",
]

_TAIL_CHARS = 4_000
_TCP_LISTEN = "0A"

_shared: set[int] = set()


class ChildFailed(AssertionError):
    """A child ended or stayed silent when it should have been ready; the text ends with its log."""


def dying_with_parent(argv: Sequence[str], *, user: str | None = None) -> list[str]:
    """Return a command that the kernel kills when the caller dies, run as `user` when one is given.

    Without setpriv the command comes back unchanged, and a user cannot be given.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        if user is not None:
            raise ChildFailed("running a child as another user needs setpriv (package util-linux)")
        return list(argv)
    as_user: list[str] = []
    if user is not None:
        account = pwd.getpwnam(user)
        as_user = ["--reuid", str(account.pw_uid), "--regid", str(account.pw_gid), "--init-groups"]
    return [setpriv, *as_user, "--pdeathsig", "KILL", *argv]


@dataclass(slots=True)
class Child:
    """One process under test. `with Child(...)` or `start()`; output of both streams goes to `log_path`.

    `outlives_test` is for servers shared by several tests: the check for leftovers after each test spares them.
    """

    name: str
    argv: Sequence[str]
    log_path: Path
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    inherit_env: bool = True
    user: str | None = None
    outlives_test: bool = False
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)

    @classmethod
    def of_module(
        cls, module: str, *args: str, log_dir: Path, env: Mapping[str, str] | None = None, name: str = ""
    ) -> Self:
        """Describe `python -m module args` under the interpreter of the test run."""
        label = name or module.removesuffix(".__main__")
        argv = [sys.executable, "-X", "faulthandler", "-m", module, *args]
        return cls(name=label, argv=argv, log_path=log_dir / f"{label}.log", env=dict(env or {}))

    def start(self) -> Self:
        """Start the process; a second start appends to the same log."""
        if self.is_running:
            raise ChildFailed(f"{self.name} is already running")
        environ = {**(os.environ if self.inherit_env else {}), "PYTHONUNBUFFERED": "1", **self.env}
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                dying_with_parent(self.argv, user=self.user),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environ,
                cwd=self.cwd,
                start_new_session=True,
            )
        if self.outlives_test:
            _shared.add(self._process.pid)
        return self

    @property
    def pid(self) -> int:
        """Process id of the last start."""
        if self._process is None:
            raise ChildFailed(f"{self.name} was never started")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """Exit code, minus the signal number when killed, None while it runs."""
        return None if self._process is None else self._process.poll()

    def log(self) -> str:
        """Everything it has written so far."""
        return self.log_path.read_text(encoding="utf-8", errors="replace") if self.log_path.exists() else ""

    def failed(self, why: str) -> ChildFailed:
        """Build an error that shows the end of the log."""
        state = "running" if self.is_running else f"exit code {self.exit_code}"
        return ChildFailed(f"{self.name} ({state}): {why}\n--- end of log ---\n{self.log()[-_TAIL_CHARS:]}")

    async def ready(self, condition: Callable[[], object], *, timeout_s: float = 10.0, what: str = "") -> None:
        """Return when `condition` (plain or async) is true.

        Raises:
            ChildFailed: the process ended first, or the time passed; with its log.
        """

        def ended() -> bool:
            return not self.is_running

        async def ready_or_ended() -> bool:
            outcome = condition()
            if hasattr(outcome, "__await__"):
                outcome = await outcome
            return bool(outcome) or ended()

        try:
            await wait_for(ready_or_ended, timeout_s=timeout_s, what=what or f"{self.name} to be ready")
        except WaitTimeout as late:
            raise self.failed(str(late)) from late
        if ended():
            raise self.failed("ended before it was ready")

    async def logged(self, text: str, *, timeout_s: float = 10.0) -> None:
        """Return when `text` is in the log.

        Raises:
            ChildFailed: it never came.
        """
        await self.ready(lambda: text in self.log(), timeout_s=timeout_s, what=f"{text!r} in the log")

    def listens_on(self, port: int) -> bool:
        """Whether this process or one it started has TCP `port` open; another server there does not count."""
        return self.is_running and any(port in listening_ports(pid) for pid in session_members(self.pid))

    def send(self, signal_number: signal.Signals) -> None:
        """Send a signal to this process alone (SIGSTOP hangs it, SIGCONT wakes it); nothing if it ended."""
        if self._process is not None and self.is_running:
            self._process.send_signal(signal_number)

    def kill9(self) -> None:
        """End it without goodbye and collect it."""
        if self._process is not None:
            self.send(signal.SIGKILL)
            self._process.wait(timeout=5.0)

    def terminate(self, *, timeout_s: float = 5.0) -> int:
        """Ask it to end and return its exit code.

        Raises:
            ChildFailed: it needed a kill.
        """
        if self._process is None:
            return 0
        self.send(signal.SIGTERM)
        try:
            return self._process.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired as late:
            self.close()
            raise self.failed(f"ignored SIGTERM for {timeout_s:g} s") from late

    async def exited(self, *, timeout_s: float = 5.0) -> int:
        """Wait until it ended by itself and return its exit code.

        Raises:
            WaitTimeout: it did not.
        """
        await wait_for(lambda: not self.is_running, timeout_s=timeout_s, what=f"{self.name} to end")
        return self.exit_code or 0

    def close(self) -> None:
        """Kill it and everything still alive in its session."""
        if self._process is None:
            return
        self.kill9()
        for pid in session_members(self._process.pid):
            _kill(pid)

    def __enter__(self) -> Self:
        """Start it."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """End it with all it started."""
        self.close()

    async def __aenter__(self) -> Self:
        """Start it."""
        return self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it with all it started."""
        self.close()


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _stat_fields(pid: str) -> list[str]:
    """Fields of /proc/PID/stat after the name: state, parent, group, session, …; empty when it is gone."""
    try:
        text = Path("/proc", pid, "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def _processes() -> dict[int, tuple[int, int]]:
    """Parent and session of every living process; zombies are left out."""
    found: dict[int, tuple[int, int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = _stat_fields(entry.name)
            if len(fields) > 3 and fields[0] not in {"Z", "X"}:
                found[int(entry.name)] = (int(fields[1]), int(fields[3]))
    return found


def listening_ports(pid: int) -> set[int]:
    """TCP ports that a process listens on; empty when it is gone.

    In a container root may not look into the processes of other accounts: then every listener of the process's
    account counts as its own.
    """
    try:
        tables = [Path(f"/proc/{pid}/net/{name}").read_text(encoding="ascii") for name in ("tcp", "tcp6")]
        account = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("Uid:"))
    except OSError:
        return set()
    sockets, uid = _sockets(pid), account.split()[1]
    rows = [line.split() for table in tables for line in table.splitlines()[1:]]
    listening = [row for row in rows if row[3] == _TCP_LISTEN]
    own = [row for row in listening if (row[7] == uid if sockets is None else row[9] in sockets)]
    return {int(row[1].rpartition(":")[2], 16) for row in own}


def _sockets(pid: int) -> set[str] | None:
    """The inodes of a process's sockets, none when it is gone; None when they may not be seen."""
    links: list[str] = []
    try:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                links.append(str(entry.readlink()))
    except PermissionError:
        return None
    except OSError:
        return set()
    return {link[len("socket:[") : -1] for link in links if link.startswith("socket:[")}


def session_members(session: int) -> list[int]:
    """Living processes of one session, also those whose parent has gone."""
    return sorted(pid for pid, (_, its_session) in _processes().items() if its_session == session)


def descendants(root: int | None = None, *, sparing: Iterable[int] = ()) -> list[int]:
    """Living processes below `root` (default: this process), without those in `sparing` and what is below them."""
    table = _processes()
    top = root if root is not None else os.getpid()
    spared = set(sparing)
    family = {top}
    grown = True
    while grown:
        more = {pid for pid, (parent, _) in table.items() if parent in family and pid not in spared} - family
        family |= more
        grown = bool(more)
    return sorted(family - {top})


def has_children() -> bool:
    """Whether this process has any child at all, also one that ended and was not collected; one system call."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def command_line(pid: int) -> str:
    """Command of a process for messages; empty when it is gone."""
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ""
    return raw.replace(b"\0", b" ").decode(errors="replace").strip()


def assert_no_leftovers(*, known: Iterable[int] = (), timeout_s: float = 1.0) -> None:
    """Check that this process has no living descendants; those found are killed.

    Spared are the `known` ones, children that outlive their test, and whatever these start.

    Raises:
        AssertionError: names every leftover by pid and command line.
    """
    spared = _shared.union(known)
    if not has_children():
        return
    with suppress(WaitTimeout):
        wait_until(lambda: not descendants(sparing=spared), timeout_s=timeout_s)
    left = descendants(sparing=spared)
    if left:
        names = "; ".join(f"{pid} {command_line(pid)}" for pid in left)
        for pid in left:
            _kill(pid)
        raise AssertionError(f"child processes were left running (killed now): {names}")


@dataclass(frozen=True, slots=True)
class HttpReply:
    """What came back from `http_get`."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """Body as UTF-8."""
        return self.body.decode()

    def json(self) -> Any:  # noqa: ANN401 - JSON is what it is
        """Body as JSON."""
        return json.loads(self.body)


async def http_get(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    ssl_context: SSLContext | None = None,
    timeout_s: float = 5.0,
) -> HttpReply:
    """Fetch `url` once, without cookies, redirects or a connection kept.

    Raises:
        aiohttp.ClientError: nobody answered.
        TimeoutError: the answer took longer than `timeout_s`.
    """
    connector = aiohttp.TCPConnector(force_close=True, ssl=ssl_context if ssl_context is not None else True)
    limit = aiohttp.ClientTimeout(total=timeout_s)
    async with (
        aiohttp.ClientSession(connector=connector, timeout=limit, cookie_jar=aiohttp.DummyCookieJar()) as session,
        session.get(url, headers=dict(headers or {}), allow_redirects=False) as reply,
    ):
        return HttpReply(reply.status, dict(reply.headers), await reply.read())
