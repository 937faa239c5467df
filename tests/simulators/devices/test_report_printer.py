"""The simulated A4 printer before the judge of CUPS: ipptool with its own test files."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path

import pytest

from simulators.devices.report_printer import Job, JobState, PrinterFault, ReportPrinterCore
from simulators.devices.report_printer_server import ReportPrinterServer
from support.pdf import pdf


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "suite",
    ["ipp-1.1.test", "print-job-and-wait.test", "validate-job.test", "get-jobs.test", "get-completed-jobs.test"],
)
async def test_ipptool_finds_no_fault(tmp_path: Path, suite: str) -> None:
    assert shutil.which("ipptool"), "missing: ipptool (cups-ipp-utils)"
    document = tmp_path / "two.pdf"
    document.write_bytes(pdf(2))
    async with ReportPrinterServer(ReportPrinterCore(), time.monotonic) as server:
        judge = await asyncio.create_subprocess_exec(
            "ipptool", "-t", "-I", "-f", str(document), server.core.uri, suite,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        said, _ = await judge.communicate()
    assert judge.returncode == 0, said.decode()
    assert "[FAIL]" not in said.decode()


def test_a_stopped_job_goes_on_where_it_stopped() -> None:
    core = ReportPrinterCore(page_s=1.0)
    core.script(PrinterFault.JAM, after=1)
    core.jobs[1] = job = _job(pages=3)
    for now_s in (0.0, 1.0, 5.0):
        core.advance(now_s)
    assert (job.state, job.printed, core.reasons()) == (JobState.STOPPED, 1, ("media-jam-error",))
    core.repair(PrinterFault.JAM)
    for now_s in (6.0, 7.0, 8.0):
        core.advance(now_s)
    assert (job.state, job.printed) == (JobState.COMPLETED, 3)


def _job(pages: int) -> Job:
    return Job(1, "job", "kiosk", pages, "one-sided")
