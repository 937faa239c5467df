from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest

from agent.devices.report_printer.driver import IppReportPrinter
from agent.links.ipp import IppAddress, IppLink
from kit.clock import SystemClock
from simulators.devices.report_printer import ReportPrinterCore
from simulators.devices.report_printer_server import ReportPrinterServer
from support.owner import RecordingOwner
from wire.profile import Capability, DeviceProfile, LinkKind, LinkProfile

QUICK = {
    "poll_s": 0.05, "job_poll_s": 0.02, "answer_s": 0.5, "send_s": 1.5, "stall_s": 0.6, "wait_s": 0.8,
    "contact_s": 0.6, "cancel_s": 0.6,
    "settle_s": 0.1,
}  # fmt: skip


def quick_profile(**more: float | bool | str) -> DeviceProfile:
    return DeviceProfile(
        vendor="Simulated",
        model="A4",
        capability=Capability.REPORT_PRINTER,
        link=LinkProfile(kind=LinkKind.IPP),
        dialect="ipp",
        capabilities={"duplex": True},
        quirks={**QUICK, **more},
    )


@pytest.fixture
def owner() -> RecordingOwner:
    return RecordingOwner()


@pytest.fixture
async def server() -> AsyncIterator[ReportPrinterServer]:
    async with ReportPrinterServer(ReportPrinterCore(), time.monotonic) as serving:
        yield serving


@pytest.fixture
async def link(server: ReportPrinterServer) -> AsyncIterator[IppLink]:
    way = IppLink(IppAddress("127.0.0.1", server.port))
    await way.open()
    yield way
    await way.close()


@pytest.fixture
def printer(link: IppLink, owner: RecordingOwner) -> IppReportPrinter:
    return IppReportPrinter(link, quick_profile(), owner, SystemClock())
