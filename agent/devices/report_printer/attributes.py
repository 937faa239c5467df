"""What IPP attributes mean: states, reasons, supplies and counts, and the faults they are.

Follows RFC 8011 and PWG 5100.9 (supplies); keywords may carry `-report`, `-warning` or `-error`. A known condition is
a fault whatever its suffix: ippeveprinter 2.4.2 says `media-empty-report` of a printer that has no paper.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from types import MappingProxyType

from agent.devices.report_printer.frames import Attributes, Value
from wire.faults import Fault

_PERCENT = 100


class PrinterState(IntEnum):
    """`printer-state`."""

    UNKNOWN = 0
    IDLE = 3
    PROCESSING = 4
    STOPPED = 5


class JobState(IntEnum):
    """`job-state`."""

    UNKNOWN = 0
    PENDING = 3
    HELD = 4
    PROCESSING = 5
    STOPPED = 6
    CANCELED = 7
    ABORTED = 8
    COMPLETED = 9


_PRINTER_STATES: Mapping[int | None, PrinterState] = MappingProxyType({state.value: state for state in PrinterState})
_JOB_STATES: Mapping[int | None, JobState] = MappingProxyType({state.value: state for state in JobState})
ENDED = frozenset({JobState.CANCELED, JobState.ABORTED, JobState.COMPLETED})


class Level(StrEnum):
    """How bad the printer calls a reason; `plain` has no suffix."""

    PLAIN = ""
    REPORT = "report"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason without its suffix."""

    keyword: str
    level: Level


@dataclass(frozen=True, slots=True)
class Supply:
    """One toner, ink, drum or waste box; `percent` is None when the printer cannot say."""

    kind: str
    percent: int | None
    low_percent: int | None = None

    @property
    def is_waste(self) -> bool:
        """Whether it fills up instead of running out."""
        return "waste" in self.kind.lower()


@dataclass(frozen=True, slots=True)
class PrinterReport:
    """What a printer says of itself."""

    state: PrinterState
    reasons: tuple[Reason, ...]
    supplies: tuple[Supply, ...]
    accepts_jobs: bool | None
    impressions_total: int | None
    model: str | None
    firmware: str | None
    serial: str | None
    formats: frozenset[str]
    sides: frozenset[str]
    is_queue: bool = False
    """A queue of CUPS: what it counts are the pages it made ready, not those that came out."""
    asks_printer: bool = True
    """Whether it hears from its printer how a job ends; others have handed over bytes when they say `completed`."""


@dataclass(frozen=True, slots=True)
class JobReport:
    """What a printer says of a job."""

    number: int | None
    name: str | None
    state: JobState
    reasons: tuple[Reason, ...]
    impressions: int | None


FAULT_OF: Mapping[str, Fault | None] = MappingProxyType(
    {
        "media-empty": Fault.PAPER_OUT,
        "media-needed": Fault.PAPER_OUT,
        "input-tray-missing": Fault.PAPER_OUT,
        "media-low": Fault.PAPER_LOW,
        "media-jam": Fault.PAPER_JAM,
        "door-open": Fault.COVER_OPEN,
        "cover-open": Fault.COVER_OPEN,
        "interlock-open": Fault.COVER_OPEN,
        "toner-low": Fault.TONER_LOW,
        "marker-supply-low": Fault.TONER_LOW,
        "marker-waste-almost-full": Fault.TONER_LOW,
        "opc-near-eol": Fault.TONER_LOW,
        "toner-empty": Fault.TONER_EMPTY,
        "marker-supply-empty": Fault.TONER_EMPTY,
        "marker-waste-full": Fault.DEVICE_ERROR,
        "opc-life-over": Fault.DEVICE_ERROR,
        "fuser-over-temp": Fault.DEVICE_ERROR,
        "fuser-under-temp": Fault.DEVICE_ERROR,
        "output-area-full": Fault.OUTPUT_FULL,
        "output-area-almost-full": None,
        "output-tray-missing": Fault.DEVICE_ERROR,
        "spool-area-full": Fault.DEVICE_BUSY,
        "paused": Fault.DEVICE_ERROR,
        "moving-to-paused": Fault.DEVICE_ERROR,
        "offline": Fault.NOT_RESPONDING,
        "shutdown": Fault.NOT_RESPONDING,
        "timed-out": Fault.NOT_RESPONDING,
        "connecting-to-device": None,
        "wifi-not-configured": None,
    }
)
"""Keywords without suffix; None is known and harmless. Another one counts when the printer calls it an error."""

BLOCKING = frozenset(
    {
        Fault.PAPER_OUT,
        Fault.PAPER_JAM,
        Fault.COVER_OPEN,
        Fault.TONER_EMPTY,
        Fault.OUTPUT_FULL,
        Fault.DEVICE_ERROR,
        Fault.NOT_RESPONDING,
    }
)
"""Faults that keep paper from coming out."""

SPOILING = frozenset({Fault.PAPER_JAM, Fault.COVER_OPEN, Fault.OUTPUT_FULL, Fault.DEVICE_ERROR})
"""Faults that cast doubt on a job the printer calls completed; an empty tray after the last sheet does not."""

_ASKING = frozenset({"ipp", "ipps", "dnssd"})
"""Back-ends of CUPS that follow a job in the printer."""
_SPOILED = frozenset({"job-completed-with-errors", "errors-detected", "warnings-detected", "document-format-error"})
_PAPER_WORDS = MappingProxyType({Fault.PAPER_JAM: "jammed", Fault.PAPER_OUT: "out", Fault.PAPER_LOW: "low"})
_TONER_WORDS = MappingProxyType({Fault.TONER_EMPTY: "out", Fault.TONER_LOW: "low"})


def parse_reason(keyword: str) -> Reason | None:
    """A reason from its keyword; None for `none`."""
    if keyword == "none":
        return None
    stem, _, suffix = keyword.rpartition("-")
    if stem and suffix in {Level.REPORT, Level.WARNING, Level.ERROR}:
        return Reason(stem, Level(suffix))
    return Reason(keyword, Level.PLAIN)


def _reasons(values: Iterable[Value]) -> tuple[Reason, ...]:
    found = (parse_reason(value) for value in values if isinstance(value, str) and type(value) is str)
    return tuple(reason for reason in found if reason is not None)


def _number(attributes: Attributes, name: str) -> int | None:
    value = next(iter(attributes.get(name, ())), None)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _text(attributes: Attributes, name: str) -> str | None:
    value = next(iter(attributes.get(name, ())), None)
    return value.strip() or None if type(value) is str else None


def _texts(attributes: Attributes, name: str) -> frozenset[str]:
    return frozenset(value for value in attributes.get(name, ()) if type(value) is str)


def printer_report(attributes: Attributes) -> PrinterReport:
    """Read a printer's attributes; what is missing or foreign stays unknown."""
    state = _number(attributes, "printer-state")
    accepts = next(iter(attributes.get("printer-is-accepting-jobs", ())), None)
    return PrinterReport(
        state=_PRINTER_STATES.get(state, PrinterState.UNKNOWN),
        reasons=_reasons(attributes.get("printer-state-reasons", ())),
        supplies=_supplies(attributes),
        accepts_jobs=accepts if isinstance(accepts, bool) else None,
        impressions_total=_number(attributes, "printer-impressions-completed"),
        model=_text(attributes, "printer-make-and-model"),
        firmware=_text(attributes, "printer-firmware-string-version"),
        serial=_device_serial(_text(attributes, "printer-device-id")),
        formats=_texts(attributes, "document-format-supported"),
        sides=_texts(attributes, "sides-supported"),
        is_queue="cups-version" in attributes,
        asks_printer="cups-version" not in attributes
        or (_text(attributes, "device-uri") or "").partition(":")[0] in _ASKING,
    )


def job_report(attributes: Attributes) -> JobReport:
    """Read a job's attributes; what is missing or foreign stays unknown."""
    state = _number(attributes, "job-state")
    return JobReport(
        number=_number(attributes, "job-id"),
        name=_text(attributes, "job-name"),
        state=_JOB_STATES.get(state, JobState.UNKNOWN),
        reasons=_reasons(attributes.get("job-state-reasons", ())),
        impressions=_number(attributes, "job-impressions-completed"),
    )


def _device_serial(device_id: str | None) -> str | None:
    fields = dict(part.partition(":")[::2] for part in (device_id or "").split(";"))
    return fields.get("SN") or fields.get("SERIALNUMBER") or fields.get("SERN") or None


def _supplies(attributes: Attributes) -> tuple[Supply, ...]:
    """From `marker-*` where the printer has it, from `printer-supply` otherwise."""
    kinds, levels = attributes.get("marker-types", ()), attributes.get("marker-levels", ())
    lows = attributes.get("marker-low-levels", ())
    found = []
    for index, (kind, level) in enumerate(zip(kinds, levels, strict=False)):
        if type(kind) is str and isinstance(level, int):
            low = lows[index] if index < len(lows) else None
            found.append(Supply(kind, _percent(level, _PERCENT), low if isinstance(low, int) and low >= 0 else None))
    if found:
        return tuple(found)
    rows = (_supply_row(value) for value in attributes.get("printer-supply", ()))
    return tuple(row for row in rows if row is not None)


def _supply_row(value: Value) -> Supply | None:
    """`type=toner;maxcapacity=100;level=75;…`, an octet string by the standard, a text from some printers."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if type(value) is not str:
        return None
    fields = dict(part.partition("=")[::2] for part in value.split(";") if "=" in part)
    level, full = _integer(fields.get("level")), _integer(fields.get("maxcapacity"))
    if "type" not in fields or level is None:
        return None
    return Supply(fields["type"], _percent(level, full if full is not None and full > 0 else _PERCENT))


def _integer(text: str | None) -> int | None:
    try:
        return int(text or "")
    except ValueError:
        return None


def _percent(level: int, full: int) -> int | None:
    """Negative levels say that the printer cannot tell (-2), or only that something is left (-3)."""
    return min(_PERCENT, round(level * _PERCENT / full)) if level >= 0 else None


def fault_of(reason: Reason) -> Fault | None:
    """The fault a reason is; None for what is harmless."""
    if reason.keyword in FAULT_OF:
        return FAULT_OF[reason.keyword]
    return Fault.DEVICE_ERROR if reason.level is Level.ERROR else None


def faults_of(report: PrinterReport, *, toner_low_percent: int) -> dict[Fault, str]:
    """All conditions that are up, with the keyword or the level that says so."""
    found: dict[Fault, str] = {}
    for reason in report.reasons:
        fault = fault_of(reason)
        if fault is not None:
            found.setdefault(fault, reason.keyword)
    for supply in report.supplies:
        if supply.percent is None or supply.is_waste:
            continue
        limit = supply.low_percent if supply.low_percent is not None else toner_low_percent
        if supply.percent <= limit and Fault.TONER_EMPTY not in found:
            found.setdefault(Fault.TONER_LOW, f"{supply.kind} {supply.percent} %")
    if report.state is PrinterState.STOPPED and not BLOCKING & found.keys():
        found[Fault.DEVICE_ERROR] = "stopped"
    return found


def spoils(job: JobReport, printer: PrinterReport | None) -> str | None:
    """Why a job that is called completed may not lie whole in the tray; None when nothing says so."""
    for reason in job.reasons:
        if reason.keyword in _SPOILED or reason.level is Level.ERROR:
            return reason.keyword
    for reason in printer.reasons if printer is not None else ():
        if fault_of(reason) in SPOILING and reason.level in {Level.ERROR, Level.PLAIN}:
            return reason.keyword
    return None


def words_of(report: PrinterReport, faults: Mapping[Fault, str]) -> dict[str, str | int]:
    """The status names of the local API (CWA 17852, Printer)."""
    words: dict[str, str | int] = {
        "paper": next((word for fault, word in _PAPER_WORDS.items() if fault in faults), "unknown"),
        "toner": next((word for fault, word in _TONER_WORDS.items() if fault in faults), "unknown"),
    }
    if report.state is not PrinterState.UNKNOWN:
        if words["paper"] == "unknown" and Fault.COVER_OPEN not in faults:
            words["paper"] = "full"
        levels = [supply.percent for supply in report.supplies if not supply.is_waste and supply.percent is not None]
        if levels:
            words["toner_percent"] = min(levels)
            if words["toner"] == "unknown":
                words["toner"] = "full"
    if report.impressions_total is not None:
        words["impressions_total"] = report.impressions_total
    return words
