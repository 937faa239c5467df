"""Child processes of the demo: each with its log file, all gone when the demo is gone."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)
_LOG_TAIL_LINES = 12
STOP_TIMEOUT_S = 15.0


class ChildFailed(RuntimeError):
    """A child ended although it should run; the text has the end of its log."""


def _die_with_parent() -> None:
    """Runs in the child before exec: the kernel ends it when the demo dies, however that happens (prctl(2))."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@dataclass(slots=True)
class Child:
    """One running process."""

    name: str
    process: asyncio.subprocess.Process
    log_file: Path

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def log_tail(self) -> str:
        """The last lines of its log."""
        lines = self.log_file.read_text(errors="replace").splitlines()
        return "\n".join(lines[-_LOG_TAIL_LINES:])

    def check(self) -> None:
        """Nothing when it runs.

        Raises:
            ChildFailed: it has ended.
        """
        if self.process.returncode is not None:
            raise ChildFailed(
                f"{self.name} ended with {self.process.returncode}; {self.log_file} ends with:\n{self.log_tail()}"
            )


@dataclass(slots=True)
class Children:
    """Everything the demo started, in order."""

    log_dir: Path
    running: list[Child] = field(default_factory=list)

    async def start(self, name: str, command: Sequence[str], environ: Mapping[str, str] | None = None) -> Child:
        """Start one process in a session of its own, output to `<name>.log`."""
        self.log_dir.mkdir(parents=True, exist_ok=True)
        log_file = self.log_dir / f"{name}.log"
        with log_file.open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **(environ or {})},
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        child = Child(name, process, log_file)
        self.running.append(child)
        return child

    async def run(self, name: str, command: Sequence[str], environ: Mapping[str, str] | None = None) -> None:
        """Run one process to its end.

        Raises:
            ChildFailed: it did not end with 0.
        """
        child = await self.start(name, command, environ)
        code = await child.process.wait()
        self.running.remove(child)
        if code != 0:
            raise ChildFailed(f"{name} ended with {code}; {child.log_file} ends with:\n{child.log_tail()}")

    def check(self) -> None:
        """Nothing when all run.

        Raises:
            ChildFailed: one has ended.
        """
        for child in self.running:
            child.check()

    async def stop(self) -> None:
        """Ask all to end, last started first, and make sure they do."""
        for child in reversed(self.running):
            if child.process.returncode is None:
                with suppress(ProcessLookupError):
                    child.process.terminate()
                await _await_end(child)
        self.running.clear()


async def _await_end(child: Child) -> None:
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await child.process.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            child.process.kill()
        await child.process.wait()
