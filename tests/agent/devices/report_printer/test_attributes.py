from __future__ import annotations

import pytest

from agent.devices.report_printer.attributes import (
    JobReport,
    JobState,
    Level,
    PrinterReport,
    PrinterState,
    Reason,
    Supply,
    fault_of,
    faults_of,
    parse_reason,
    printer_report,
    spoils,
    words_of,
)
from agent.devices.report_printer.frames import Group, decode_reply
from support.golden import golden_frames
from wire.faults import Fault


def _report(*reasons: str, state: PrinterState = PrinterState.IDLE, supplies: tuple[Supply, ...] = ()) -> PrinterReport:
    parsed = tuple(reason for text in reasons if (reason := parse_reason(text)) is not None)
    return PrinterReport(state, parsed, supplies, None, None, None, None, None, frozenset(), frozenset())


@pytest.mark.parametrize(
    ("keyword", "reason"),
    [
        ("none", None),
        ("media-empty-error", Reason("media-empty", Level.ERROR)),
        ("media-empty-report", Reason("media-empty", Level.REPORT)),
        ("toner-low-warning", Reason("toner-low", Level.WARNING)),
        ("media-jam", Reason("media-jam", Level.PLAIN)),
        ("error", Reason("error", Level.PLAIN)),
    ],
)
def test_suffixes(keyword: str, reason: Reason | None) -> None:
    assert parse_reason(keyword) == reason


@pytest.mark.parametrize(
    ("keyword", "fault"),
    [
        ("media-empty-report", Fault.PAPER_OUT),
        ("media-needed", Fault.PAPER_OUT),
        ("media-low-warning", Fault.PAPER_LOW),
        ("media-jam-error", Fault.PAPER_JAM),
        ("door-open-error", Fault.COVER_OPEN),
        ("cover-open", Fault.COVER_OPEN),
        ("marker-supply-low-warning", Fault.TONER_LOW),
        ("toner-empty-error", Fault.TONER_EMPTY),
        ("output-area-full-warning", Fault.OUTPUT_FULL),
        ("x-vendor-thing-error", Fault.DEVICE_ERROR),
        ("x-vendor-thing-warning", None),
        ("x-vendor-thing", None),
    ],
)
def test_reasons_are_faults(keyword: str, fault: Fault | None) -> None:
    reason = parse_reason(keyword)
    assert reason is not None
    assert fault_of(reason) == fault


def test_a_stopped_printer_is_never_fine() -> None:
    assert faults_of(_report(state=PrinterState.STOPPED), toner_low_percent=10) == {Fault.DEVICE_ERROR: "stopped"}


def test_toner_is_low_by_its_level_and_waste_is_not_toner() -> None:
    supplies = (Supply("toner", 8), Supply("waste-toner", 3), Supply("drum", None))
    assert faults_of(_report(supplies=supplies), toner_low_percent=10) == {Fault.TONER_LOW: "toner 8 %"}
    assert faults_of(_report(supplies=(Supply("toner", 8, 5),)), toner_low_percent=10) == {}


def test_supplies_of_a_real_printer_come_from_printer_supply() -> None:
    idle, *_, toner = (printer_report(decode_reply(f).first(Group.PRINTER)) for f in golden_frames("ipp_replies"))
    assert [supply.percent for supply in idle.supplies if not supply.is_waste] == [75]
    assert words_of(idle, {})["toner_percent"] == 75
    assert set(faults_of(toner, toner_low_percent=10)) == {Fault.TONER_LOW}


def test_markers_win_and_unknown_levels_stay_unknown() -> None:
    report = printer_report(
        {"marker-types": ("toner", "ink"), "marker-levels": (-2, 40), "printer-supply": ("type=x;level=1;",)}
    )
    assert report.supplies == (Supply("toner", None), Supply("ink", 40))


def test_nothing_said_is_unknown_not_fine() -> None:
    words = words_of(printer_report({}), {})
    assert words == {"paper": "unknown", "toner": "unknown"}


def test_foreign_types_do_not_matter() -> None:
    report = printer_report({"printer-state": ("idle",), "printer-state-reasons": (5, b"x"), "marker-levels": (1,)})
    assert (report.state, report.reasons) == (PrinterState.UNKNOWN, ())


def test_what_spoils_a_completed_job() -> None:
    done = JobReport(1, "j", JobState.COMPLETED, (), 2)
    assert spoils(done, _report("media-jam-error")) == "media-jam"
    assert spoils(done, _report("media-empty-error")) is None
    assert spoils(done, _report("media-jam-report")) is None
    assert spoils(JobReport(1, "j", JobState.COMPLETED, (Reason("job-completed-with-errors", Level.PLAIN),), 2), None)


@pytest.mark.parametrize(
    ("attributes", "is_queue", "asks_printer"),
    [
        ({}, False, True),
        ({"cups-version": ("2.4.2",), "device-uri": ("ipp://192.0.2.7/ipp/print",)}, True, True),
        ({"cups-version": ("2.4.2",), "device-uri": ("usb://Pantum/BP5100DN?serial=1",)}, True, False),
        ({"cups-version": ("2.4.2",), "device-uri": ("socket://192.0.2.7:9100",)}, True, False),
        ({"cups-version": ("2.4.2",)}, True, False),
    ],
)
def test_a_queue_is_told_from_a_printer(
    attributes: dict[str, tuple[str, ...]], is_queue: bool, asks_printer: bool
) -> None:
    report = printer_report(attributes)
    assert (report.is_queue, report.asks_printer) == (is_queue, asks_printer)
