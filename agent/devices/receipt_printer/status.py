"""What the bits of a printer mean: faults of our list and the words of CWA 17852."""

from __future__ import annotations

from agent.devices.receipt_printer.frames import Condition
from agent.devices.receipt_printer.options import Options
from agent.devices.receipt_printer.presenter import Media
from agent.devices.types import DeviceStatus
from wire.envelope import Scalar
from wire.faults import Fault

# With one of these nothing prints until a person has been there.
BLOCKING = (
    Fault.PAPER_JAM,
    Fault.CUTTER_ERROR,
    Fault.PAPER_OUT,
    Fault.COVER_OPEN,
    Fault.DEVICE_ERROR,
)


def faults_of(condition: Condition, options: Options) -> dict[Fault, str]:
    """The faults that are up; what the printer did not speak of is none."""
    said = {
        Fault.PAPER_OUT: (condition.paper_out, "paper end"),
        Fault.PAPER_LOW: (condition.paper_low and options.near_end and not condition.paper_out, "paper near end"),
        Fault.COVER_OPEN: (condition.cover_open, "cover open or head up"),
        Fault.CUTTER_ERROR: (condition.cutter, "auto-cutter error"),
        Fault.PAPER_JAM: (condition.jammed, "ejector reports a jam"),
        Fault.HEAD_HOT: (condition.recoverable and not condition.cover_open, "head temperature, recovers by itself"),
    }
    faults = {fault: detail for fault, (is_up, detail) in said.items() if is_up}
    if condition.mechanical:
        faults.setdefault(options.mechanical_means, "mechanical error")
    if condition.unrecoverable:
        faults[Fault.DEVICE_ERROR] = "unrecoverable error"
    elif condition.voltage:
        faults.setdefault(Fault.DEVICE_ERROR, "supply voltage")
    if condition.offline and not faults.keys() - {Fault.PAPER_LOW} and not condition.feeding:
        faults[Fault.DEVICE_ERROR] = "offline without a cause"
    return faults


def blocking_fault(condition: Condition, options: Options) -> Fault | None:
    """The fault because of which nothing prints now, the most telling first."""
    faults = faults_of(condition, options)
    return next((fault for fault in BLOCKING if fault in faults), None)


def paper_word(condition: Condition, options: Options, *, is_jammed: bool) -> str:
    """CWA 17852 `paper`: without a near-end sensor it is never `full`."""
    if is_jammed:
        return "jammed"
    if condition.paper_out:
        return "out"
    if condition.paper_out is None or not options.near_end or condition.paper_low is None:
        return "unknown"
    return "low" if condition.paper_low else "full"


def status_of(condition: Condition, options: Options, media: Media, retracted: int) -> DeviceStatus:
    """All of it for the owner."""
    faults = faults_of(condition, options)
    if media is Media.JAMMED:
        faults.setdefault(Fault.PAPER_JAM, "ticket stuck in the presenter")
    if options.retract_bin_capacity and retracted >= options.retract_bin_capacity:
        faults[Fault.RETRACT_BIN_FULL] = f"{retracted} tickets drawn back"
    is_blocked = any(fault in faults for fault in BLOCKING)
    values: dict[str, Scalar] = {"paper": paper_word(condition, options, is_jammed=Fault.PAPER_JAM in faults)}
    if condition.offline is not None or options.presenter:
        values["device"] = "offline" if condition.offline or is_blocked else "online"
    if condition.cover_open is not None:
        values["cover"] = "open" if condition.cover_open else "closed"
    values["media"] = media.value if options.presenter else Media.UNKNOWN.value
    if options.presenter:
        values["retracted"] = retracted
    return DeviceStatus(faults, values)
