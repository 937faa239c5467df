"""The spool's printers: what the spool asks, put to the device that the manager runs.

What was not sent may wait for the printer; what may have been sent is never sent again by itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar, cast

from agent.devices.machine import DeviceState
from agent.devices.manager import DeviceManager, NotUsable, Seen
from agent.devices.receipt_printer.types import PrintOutcome, ReceiptPrinter
from agent.devices.report_printer.types import ReportJob, ReportOutcome, ReportPrinter
from agent.devices.types import Driver
from agent.errors import DeviceFault
from agent.links.base import LinkError
from agent.printing.machine import JobState
from agent.printing.model import Job, PrintEnd
from agent.printing.receipt import Receipt
from agent.printing.spool import NotReady, Printer
from agent.printing.stamp import StampFailed, stamped
from wire.faults import FACTS, RANK, Fault, Severity
from wire.profile import Capability

T = TypeVar("T")
_WAITS: Final = frozenset(DeviceState) - {DeviceState.READY, DeviceState.BUSY}


def desks(devices: DeviceManager) -> dict[str, Printer]:
    """Every printer of the kiosk, by component."""
    made: dict[str, Printer] = {}
    for seen in devices.seen():
        if seen.capability is Capability.RECEIPT_PRINTER:
            made[seen.component] = ReceiptDesk(devices, seen.component)
        elif seen.capability is Capability.REPORT_PRINTER:
            made[seen.component] = ReportDesk(devices, seen.component)
    return made


class ReceiptDesk:
    """A receipt printer as the spool sees it."""

    def __init__(self, devices: DeviceManager, component: str) -> None:
        """Print on this component."""
        self._devices = devices
        self._component = component

    def obstacle(self) -> Fault | None:
        """See `Printer`."""
        return _obstacle(self._devices.look(self._component))

    async def print_job(self, job: Job, content: bytes) -> PrintEnd:
        """See `Printer`."""
        receipt = Receipt.of(content)
        if receipt is None:
            return PrintEnd(JobState.FAILED)
        wanted = receipt.job(f"{job.no}", copy_no=job.copy_no)

        async def work(driver: Driver) -> PrintOutcome:
            return await cast("ReceiptPrinter", driver).print_receipt(wanted)

        outcome = await _used(self._devices, self._component, work)
        return _end(JobState(outcome.state.value), outcome.fault, was_sent=outcome.was_sent)


class ReportDesk:
    """A report printer as the spool sees it."""

    def __init__(self, devices: DeviceManager, component: str) -> None:
        """Print on this component."""
        self._devices = devices
        self._component = component

    def obstacle(self) -> Fault | None:
        """See `Printer`."""
        return _obstacle(self._devices.look(self._component))

    async def print_job(self, job: Job, content: bytes) -> PrintEnd:
        """See `Printer`."""
        try:
            pdf = content if job.copy_no == 0 else await stamped(content, f"补打 第{job.copy_no}次")
        except StampFailed:
            return PrintEnd(JobState.FAILED)
        wanted = ReportJob(f"{job.no}-{job.attempts}", pdf)

        async def work(driver: Driver) -> ReportOutcome:
            return await cast("ReportPrinter", driver).print_report(wanted)

        outcome = await _used(self._devices, self._component, work)
        return _end(JobState(outcome.state.value), outcome.fault, was_sent=outcome.was_sent)


async def _used(devices: DeviceManager, component: str, work: Callable[[Driver], Awaitable[T]]) -> T:
    try:
        return await devices.use(component, work)
    except NotUsable as fault:
        raise NotReady(fault.fault, fault.detail) from None
    except LinkError as error:
        raise DeviceFault(Fault.UNPLUGGED, str(error)) from None


def _end(state: JobState, fault: Fault | None, *, was_sent: bool) -> PrintEnd:
    """How an attempt ended; a document that cannot be printed at all is a `device_error` that was not sent.

    Raises:
        NotReady: nothing was sent and waiting may help.
    """
    if state is JobState.FAILED and not was_sent and fault is not None and fault is not Fault.DEVICE_ERROR:
        raise NotReady(fault)
    return PrintEnd(state, fault)


def _obstacle(seen: Seen) -> Fault | None:
    if seen.fault is not None:
        return seen.fault
    if seen.state in _WAITS:
        return Fault.NOT_RESPONDING
    if seen.state is DeviceState.BUSY:
        return Fault.DEVICE_BUSY
    return next((fault for fault in seen.faults if RANK[FACTS[fault].severity] >= RANK[Severity.MAJOR]), None)
