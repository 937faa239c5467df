"""The spool: one worker a printer takes its jobs in order, notes each step before it happens, and never repeats one.

Printers stand behind a port; what they print from (a receipt's layout, a PDF) is theirs. What a job's outcome means
for money or for the patient is decided by whoever asked for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from agent.errors import DeviceFault
from agent.printing.journal import JournalError, Moment, PrintJournal, PrintRefused
from agent.printing.machine import OPEN, JobEvent, JobState
from agent.printing.model import Draft, Job, PrintEnd
from kit.blocking import Abandoned, CallTimeout, DeviceThread
from kit.clock import Clock
from kit.logs import get_logger
from kit.supervise import TaskGroup
from wire.faults import Fault

T = TypeVar("T")
CALL_TIMEOUT_S: Final = 30.0
CLOSE_TIMEOUT_S: Final = 5.0
READY_POLL_S: Final = 0.5
KEPT_FOR_REPRINT_S: Final = 600.0
WIPE_EVERY_S: Final = 30.0
_EVENT_OF: Final[Mapping[JobState, JobEvent]] = {
    JobState.PRINTED: JobEvent.CONFIRMED,
    JobState.FAILED: JobEvent.FAILED,
    JobState.UNKNOWN: JobEvent.LOST,
}
log = get_logger(__name__)


class NotReady(DeviceFault):
    """The printer cannot begin now; nothing of the job was sent."""


class Printer(Protocol):
    """A printer as the spool sees it."""

    def obstacle(self) -> Fault | None:
        """Why it cannot begin a job now, as last heard from it; None when it can."""

    async def print_job(self, job: Job, content: bytes) -> PrintEnd:
        """Print, and say how it ended; the mark 补打 belongs on every page when `job.copy_no` is not 0.

        Raises:
            NotReady: nothing was sent; the job may wait.
            DeviceFault: what was printed is unknown.
        """


@dataclass(frozen=True, slots=True)
class SpoolParts:
    """What the spool works with."""

    directory: Path
    clock: Clock
    host_boot: str
    on_change: Callable[[Job], Awaitable[None]]
    """Told of every state a job reaches; it may report, it must not print."""
    on_damage: Callable[[Path], Awaitable[None]]
    """Told that the journal was damaged, and where it was put: jobs of before are not known any more."""


class PrintSpool:
    """See the module."""

    name = "print-spool"

    def __init__(self, parts: SpoolParts, printers: Mapping[str, Printer]) -> None:
        """Print on these printers, by component name; nothing is opened yet."""
        self._parts = parts
        self._printers = printers
        self._journal = PrintJournal(parts.directory)
        self._thread: DeviceThread | None = None
        self._wake = {component: asyncio.Event() for component in printers}
        self._over: dict[int, asyncio.Event] = {}
        self.is_open = False
        """Whether jobs are taken."""

    async def run(self) -> None:
        """Open the journal, tell of what a crash left behind, print until cancelled.

        Raises:
            JournalError: it cannot be used; nothing is printed without it.
        """
        self._thread = DeviceThread("print-journal")
        try:
            settled = await self._call(self._journal.open, self._now())
            self.is_open = True
            for job in settled:
                await self._tell(job)
            if self._journal.quarantined is not None:
                log.error("journal.damaged", kept_as=self._journal.quarantined.name)
                await self._parts.on_damage(self._journal.quarantined)
            async with TaskGroup() as group:
                group.create_task(self._wipe(), name="print-wipe")
                for component in self._printers:
                    group.create_task(self._work(component), name=f"print-{component}")
        finally:
            self.is_open = False
            thread, self._thread = self._thread, None
            with suppress(CallTimeout, Abandoned):
                await thread.call(self._journal.close, timeout_s=CLOSE_TIMEOUT_S)
            thread.close(timeout_s=0.0)

    async def submit(self, draft: Draft) -> Job:
        """Take a job; the same key gives the same job, whatever became of it.

        Raises:
            PrintRefused: no such printer, or the journal's rules forbid it.
            JournalError: it could not be noted; nothing will be printed.
        """
        if draft.component not in self._printers:
            raise PrintRefused(f"there is no printer {draft.component!r}")
        job, is_new = await self._call(self._journal.add, draft, self._now())
        if is_new:
            await self._queued(job)
        return job

    async def reprint(self, no: int, key: str) -> Job:
        """Print a job that is over once more, marked 补打. Raises: PrintRefused, JournalError."""
        job = await self._call(self._journal.reprint, no, key, self._now())
        if job.state is JobState.QUEUED:
            await self._queued(job)
        return job

    async def cancel(self, no: int) -> Job:
        """Take a job off the queue. Raises: PrintRefused when it is not waiting any more, JournalError."""
        return await self._note(no, JobEvent.CANCEL)

    async def settle(self, no: int, *, was_seen: bool) -> Job:
        """Note what a person found out about an unknown job. Raises: PrintRefused, JournalError."""
        return await self._note(no, JobEvent.SEEN if was_seen else JobEvent.MISSED)

    async def job(self, no: int) -> Job | None:
        """One job. Raises: JournalError."""
        return await self._call(self._journal.job, no)

    async def recent(self, limit: int = 100) -> list[Job]:
        """The newest jobs first. Raises: JournalError."""
        return await self._call(self._journal.recent, limit)

    async def wait(self, no: int, *, timeout_s: float) -> Job:
        """Wait until a job is over; the job as it is then, or after `timeout_s`. Raises: PrintRefused, JournalError."""
        over = self._over.setdefault(no, asyncio.Event())
        job = await self._call(self._journal.job, no)
        if job is not None and job.state in OPEN:
            try:
                async with asyncio.timeout(timeout_s):
                    await over.wait()
            except TimeoutError:
                pass
            job = await self._call(self._journal.job, no)
        if job is None:
            raise PrintRefused(f"there is no job {no}")
        if job.state not in OPEN:
            self._over.pop(no, None)
        return job

    # -- inside ----------------------------------------------------------------------------------------------

    async def _work(self, component: str) -> None:
        wake, printer = self._wake[component], self._printers[component]
        while True:
            job = next((job for job in await self._call(self._journal.waiting) if job.component == component), None)
            if job is None:
                await wake.wait()
                wake.clear()
                continue
            with suppress(PrintRefused):  # somebody cancelled it meanwhile
                await self._print(job, printer)

    async def _print(self, job: Job, printer: Printer) -> None:
        """Have one job printed, waiting for a printer that is not ready as long as its patient may wait.

        Raises:
            PrintRefused: the job was cancelled.
        """
        until_s = self._parts.clock.monotonic() + job.expires_s
        while True:
            obstacle = printer.obstacle() or await self._try(job, printer)
            if obstacle is None:
                return
            if self._parts.clock.monotonic() >= until_s:
                await self._note(job.no, JobEvent.EXPIRED, obstacle)
                return
            await asyncio.sleep(READY_POLL_S)
            current = await self._call(self._journal.job, job.no)
            if current is None or current.state is not JobState.QUEUED:
                return

    async def _try(self, job: Job, printer: Printer) -> Fault | None:
        """Print; None when the job is over, otherwise what was in the way before anything was sent.

        Raises:
            PrintRefused: the job was cancelled.
        """
        begun, content = await self._call(self._journal.begin, job.no, self._now())
        await self._tell(begun)
        try:
            end = await printer.print_job(begun, content)
        except NotReady as fault:
            await self._note(job.no, JobEvent.RETURNED, fault.fault)
            return fault.fault
        except DeviceFault as fault:
            end = PrintEnd(JobState.UNKNOWN, fault.fault)
        is_unexplained = end.state is JobState.UNKNOWN and end.fault is None
        await self._note(job.no, _EVENT_OF[end.state], Fault.PRINT_UNKNOWN if is_unexplained else end.fault)
        return None

    async def _note(self, no: int, event: JobEvent, fault: Fault | None = None) -> Job:
        moved = await self._call(self._journal.move, no, event, self._now(), fault)
        await self._tell(moved)
        return moved

    async def _queued(self, job: Job) -> None:
        await self._tell(job)
        self._wake[job.component].set()

    async def _tell(self, job: Job) -> None:
        log.info("job.moved", job_no=job.no, component=job.component, state=job.state, fault=job.fault)
        if job.state not in OPEN and job.no in self._over:
            self._over[job.no].set()
        await self._parts.on_change(job)

    async def _wipe(self) -> None:
        while True:
            before_ms = self._now().wall_ms - int(KEPT_FOR_REPRINT_S * 1_000)
            await self._call(self._journal.wipe, before_ms)
            await asyncio.sleep(WIPE_EVERY_S)

    def _now(self) -> Moment:
        return Moment(int(self._parts.clock.utc().timestamp() * 1_000), self._parts.host_boot)

    async def _call(self, work: Callable[..., T], *arguments: Any) -> T:  # noqa: ANN401 - whatever the journal takes
        if self._thread is None:
            raise JournalError("the print spool is not running")
        return await self._thread.call(work, *arguments, timeout_s=CALL_TIMEOUT_S)
