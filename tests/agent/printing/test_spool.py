"""The spool: jobs in order, each step noted before it happens, nothing printed twice by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agent.errors import DeviceFault
from agent.printing.journal import DATABASE, JournalError, PrintRefused
from agent.printing.machine import JobState
from agent.printing.model import Draft, Job, JobKind, PrintEnd
from agent.printing.spool import NotReady, PrintSpool, SpoolParts
from kit.clock import SystemClock
from support.waiting import wait_for
from wire.faults import Fault

RECEIPT, A4 = "receipt-printer", "report-printer"


@dataclass
class Desk:
    """A printer that does as it is told, and remembers what lies on its output."""

    out: list[tuple[str, int]] = field(default_factory=list)
    blocked: Fault | None = None
    ends: list[PrintEnd | DeviceFault] = field(default_factory=list)
    hold: asyncio.Event | None = None

    def obstacle(self) -> Fault | None:
        return self.blocked

    async def print_job(self, job: Job, content: bytes) -> PrintEnd:
        end = self.ends.pop(0) if self.ends else PrintEnd(JobState.PRINTED)
        if isinstance(end, NotReady):
            raise end
        self.out.append((content.decode(), job.copy_no))
        if self.hold is not None:
            await self.hold.wait()
        if isinstance(end, DeviceFault):
            raise end
        return end


@dataclass
class Site:
    """A spool that runs, with what it told."""

    directory: Path
    printers: dict[str, Desk] = field(default_factory=lambda: {RECEIPT: Desk(), A4: Desk()})
    told: list[tuple[str, JobState]] = field(default_factory=list)
    damaged: list[Path] = field(default_factory=list)
    host_boot: str = "boot-1"

    async def changed(self, job: Job) -> None:
        self.told.append((job.key, job.state))

    async def was_damaged(self, path: Path) -> None:
        self.damaged.append(path)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[PrintSpool]:
        parts = SpoolParts(self.directory, SystemClock(), self.host_boot, self.changed, self.was_damaged)
        spool = PrintSpool(parts, self.printers)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(spool.run(), name="spool")
            await wait_for(lambda: spool.is_open, what="the spool")
            yield spool
            task.cancel()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "print")


def draft(key: str, component: str = RECEIPT, *, expires_s: float = 30.0) -> Draft:
    return Draft(key, component, JobKind.RECEIPT, f"paper of {key}".encode(), expires_s)


async def test_a_job_is_printed_once_and_told_of_step_by_step(site: Site) -> None:
    async with site.running() as spool:
        job = await spool.submit(draft("a"))
        assert (await spool.wait(job.no, timeout_s=5.0)).state is JobState.PRINTED
        again = await spool.submit(draft("a"))
        assert (again.no, again.state) == (job.no, JobState.PRINTED)
    assert site.printers[RECEIPT].out == [("paper of a", 0)]
    assert site.told == [("a", JobState.QUEUED), ("a", JobState.PRINTING), ("a", JobState.PRINTED)]


async def test_jobs_of_one_printer_keep_their_order_and_others_do_not_wait(site: Site) -> None:
    desk = site.printers[RECEIPT]
    desk.hold = asyncio.Event()
    async with site.running() as spool:
        first, second = await spool.submit(draft("a")), await spool.submit(draft("b"))
        report = await spool.submit(draft("c", A4))
        assert (await spool.wait(report.no, timeout_s=5.0)).state is JobState.PRINTED
        assert (await spool.wait(second.no, timeout_s=0.01)).state is JobState.QUEUED
        desk.hold.set()
        await spool.wait(second.no, timeout_s=5.0)
        assert (await spool.wait(first.no, timeout_s=5.0)).state is JobState.PRINTED
    assert [text for text, _ in desk.out] == ["paper of a", "paper of b"]


@pytest.mark.parametrize(
    ("end", "state", "fault"),
    [
        (PrintEnd(JobState.FAILED, Fault.PAPER_JAM), JobState.FAILED, Fault.PAPER_JAM),
        (PrintEnd(JobState.UNKNOWN), JobState.UNKNOWN, Fault.PRINT_UNKNOWN),
        (DeviceFault(Fault.UNPLUGGED), JobState.UNKNOWN, Fault.UNPLUGGED),
    ],
)
async def test_an_attempt_that_went_wrong_is_not_repeated(
    site: Site, end: PrintEnd | DeviceFault, state: JobState, fault: Fault
) -> None:
    site.printers[RECEIPT].ends = [end]
    async with site.running() as spool:
        job = await spool.submit(draft("a"))
        over = await spool.wait(job.no, timeout_s=5.0)
        assert (over.state, over.fault, over.attempts) == (state, fault, 1)
        await spool.submit(draft("a"))
        copy = await spool.wait((await spool.reprint(job.no, "a-again")).no, timeout_s=5.0)
        assert (copy.state, copy.copy_no) == (JobState.PRINTED, 1)
    assert site.printers[RECEIPT].out == [("paper of a", 0), ("paper of a", 1)]


async def test_a_job_waits_for_paper(site: Site) -> None:
    desk = site.printers[RECEIPT]
    desk.blocked = Fault.PAPER_OUT
    async with site.running() as spool:
        job = await spool.submit(draft("a"))
        assert (await spool.wait(job.no, timeout_s=0.05)).state is JobState.QUEUED
        desk.blocked, desk.ends = None, [NotReady(Fault.COVER_OPEN)]
        assert (await spool.wait(job.no, timeout_s=5.0)).state is JobState.PRINTED
    assert desk.out == [("paper of a", 0)]


async def test_a_job_waits_no_longer_than_its_patient(site: Site) -> None:
    site.printers[RECEIPT].blocked = Fault.PAPER_OUT
    async with site.running() as spool:
        job = await spool.submit(draft("a", expires_s=0.01))
        over = await spool.wait(job.no, timeout_s=5.0)
        assert (over.state, over.fault, over.attempts) == (JobState.FAILED, Fault.PAPER_OUT, 0)
        site.printers[RECEIPT].blocked = None
        await spool.wait((await spool.submit(draft("b"))).no, timeout_s=5.0)
    assert site.printers[RECEIPT].out == [("paper of b", 0)]


async def test_a_waiting_job_can_be_cancelled_and_does_not_block_the_next(site: Site) -> None:
    desk = site.printers[RECEIPT]
    desk.blocked = Fault.PAPER_OUT
    async with site.running() as spool:
        first, second = await spool.submit(draft("a")), await spool.submit(draft("b"))
        assert (await spool.cancel(first.no)).state is JobState.CANCELLED
        desk.blocked = None
        assert (await spool.wait(second.no, timeout_s=5.0)).state is JobState.PRINTED
        with pytest.raises(PrintRefused, match="printed"):
            await spool.cancel(second.no)
    assert desk.out == [("paper of b", 0)]


async def test_a_stop_while_printing_leaves_unknown_for_a_person(site: Site) -> None:
    site.printers[RECEIPT].hold = asyncio.Event()
    async with site.running() as spool:
        job = await spool.submit(draft("a"))
        await wait_for(lambda: bool(site.printers[RECEIPT].out), what="the printer to begin")
    site.printers[RECEIPT].hold = None
    async with site.running() as spool:
        found = await spool.job(job.no)
        assert found is not None
        assert (found.state, found.fault) == (JobState.UNKNOWN, Fault.PRINT_UNKNOWN)
        assert (await spool.settle(job.no, was_seen=True)).state is JobState.PRINTED
        with pytest.raises(PrintRefused, match="printed"):
            await spool.settle(job.no, was_seen=False)
    assert site.printers[RECEIPT].out == [("paper of a", 0)]
    assert ("a", JobState.UNKNOWN) in site.told


async def test_an_unknown_printer_takes_nothing(site: Site) -> None:
    async with site.running() as spool:
        with pytest.raises(PrintRefused, match="no printer"):
            await spool.submit(draft("a", "label-printer"))
        with pytest.raises(PrintRefused, match="no job"):
            await spool.wait(99, timeout_s=0.01)
        assert await spool.recent() == []


async def test_without_a_journal_nothing_is_printed(site: Site) -> None:
    spool = PrintSpool(SpoolParts(site.directory, SystemClock(), "boot", site.changed, site.was_damaged), site.printers)
    with pytest.raises(JournalError, match="not running"):
        await spool.submit(draft("a"))
    site.directory.write_text("a file where the directory should be")
    with pytest.raises(JournalError):
        await spool.run()
    assert site.printers[RECEIPT].out == []


async def test_a_damaged_journal_is_told_of_and_printing_goes_on(site: Site) -> None:
    site.directory.mkdir()
    (site.directory / DATABASE).write_bytes(b"no database at all, " * 500)
    async with site.running() as spool:
        job = await spool.submit(draft("a"))
        assert (await spool.wait(job.no, timeout_s=5.0)).state is JobState.PRINTED
    assert len(site.damaged) == 1
