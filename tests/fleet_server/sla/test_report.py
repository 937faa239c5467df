"""Availability and the report from rows of evidence."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from fleet_server.errors import Refusal
from fleet_server.sla.evidence import Kind, fold, in_force
from fleet_server.sla.model import Report
from fleet_server.sla.report import Basis, compute
from fleet_server.sla.spans import month_span
from support.sla_rows import (
    HOUR,
    SECOND,
    Row,
    case,
    contract,
    kiosk,
    mark,
    month,
    order,
    part,
    pause,
    presence,
    said,
    us,
    watch,
)

BEGIN, END = month_span("2026-03", "Asia/Shanghai")
DAYS = 31
OK = {"pay": "available", "print_report": "available"}
EVEN = contract(demand={"hours": [1] * 24}, functions={"pay": 4, "print_report": 2})


def report(*rows: Row, now: int = END + 30 * 24 * HOUR) -> Report:
    return compute("2026-03", Basis(fold((Kind(kind), body) for kind, body in rows), now, len(rows)))


def seen(*rows: Row) -> Report:
    """One kiosk that the server watched and saw all month."""
    return report(EVEN, kiosk("k1", BEGIN), watch(BEGIN, END), presence("k1", "online", BEGIN - HOUR), *rows)


def hours(found: Report, name: str = "pay") -> tuple[float, float, float, float]:
    line = next(item for item in found.functions if item.name == name)
    return line.up_s / 3_600, line.down_s / 3_600, line.excluded_s / 3_600, line.unproved_s / 3_600


def test_a_month_begins_at_local_midnight() -> None:
    assert us(datetime(2026, 2, 28, 16, tzinfo=UTC)) == BEGIN
    assert END - BEGIN == DAYS * 24 * HOUR


def test_a_kiosk_without_its_report_printer_is_up_in_part() -> None:
    at = BEGIN + 24 * HOUR
    found = seen(
        said("k1", BEGIN, at, OK), said("k1", at, at + 31 * HOUR, {"pay": "available", "print_report": "lost"})
    )
    assert hours(found) == (744, 0, 0, 0)
    assert hours(found, "print_report") == (24, 720, 0, 0)
    line = found.kiosks[0]
    assert line.availability_ppm == round((4 * 744 + 2 * 24) / (6 * 744) * 1_000_000)
    assert line.up_s == round((4 * 744 + 2 * 24) / 6 * 3_600)
    assert line.is_met is False
    assert found.summary.kiosks_below_target == 1


def test_out_of_sight_is_unproved_and_a_goodbye_is_down() -> None:
    day = 24 * HOUR
    found = seen(
        said("k1", BEGIN, BEGIN, OK),
        presence("k1", "offline", BEGIN + day),
        presence("k1", "online", BEGIN + day + 3 * HOUR),
        presence("k1", "planned", BEGIN + 2 * day),
        presence("k1", "online", BEGIN + 2 * day + 2 * HOUR),
    )
    assert hours(found) == (744 - 5, 2, 0, 3)


def test_what_the_kiosk_tells_afterwards_proves_that_it_served_meanwhile() -> None:
    at = BEGIN + 24 * HOUR
    dark = (presence("k1", "offline", at), presence("k1", "online", at + 10 * HOUR))
    told = said("k1", at, at + 8 * HOUR, OK), said("k1", at + 9 * HOUR, at + 9 * HOUR, OK)
    assert hours(seen(said("k1", BEGIN, BEGIN, OK), *dark, *told)) == (743, 0, 0, 1), "after its last word: unproved"
    gap = said("k1", at, at + 6 * HOUR, OK), said("k1", at + 9 * HOUR, at + 10 * HOUR, OK)
    assert hours(seen(said("k1", BEGIN, BEGIN, OK), *dark, *gap)) == (741, 0, 0, 3), "three silent hours"
    untimed = said("k1", at, at + 8 * HOUR, OK, is_timed=False)
    assert hours(seen(said("k1", BEGIN, BEGIN, OK), *dark, untimed))[0] == 24


def test_while_nobody_watched_nothing_is_proved() -> None:
    found = report(
        EVEN,
        kiosk("k1", BEGIN),
        watch(BEGIN, BEGIN + 100 * HOUR),
        watch(BEGIN + 110 * HOUR, END),
        presence("k1", "online", BEGIN),
        said("k1", BEGIN, BEGIN, OK),
    )
    assert hours(found) == (734, 0, 0, 10)


def test_only_service_within_the_term_counts() -> None:
    rows = (watch(BEGIN, END), presence("k1", "online", BEGIN), said("k1", BEGIN, BEGIN, OK))
    found = report(EVEN, kiosk("k1", BEGIN + 44 * HOUR, until_us=BEGIN + 144 * HOUR), *rows)
    assert hours(found) == (100, 0, 0, 0)
    assert report(contract(starts_on="2026-04-01"), kiosk("k1", BEGIN), *rows).kiosks == []
    running = report(EVEN, kiosk("k1", BEGIN), *rows, now=BEGIN + 50 * HOUR)
    assert hours(running) == (50, 0, 0, 0)
    assert not running.is_final


def test_a_proved_pause_takes_time_out_and_an_unproved_one_does_not() -> None:
    at = BEGIN + 24 * HOUR
    dark = (
        said("k1", BEGIN, BEGIN, OK),
        presence("k1", "offline", at),
        presence("k1", "online", at + 10 * HOUR),
        case(1, ["k1"], "kiosk_offline"),
        mark(1, "began", at),
        mark(1, "responded", at + HOUR),
        mark(1, "restored", at + 10 * HOUR),
    )
    proved = seen(*dark, pause(1, at + HOUR, at + 7 * HOUR, document="d"))
    assert hours(proved) == (734, 0, 6, 4)
    assert proved.kiosks[0].availability_ppm == round(734 / 738 * 1_000_000)
    assert (proved.cases[0].repair_s, proved.cases[0].paused_s) == (4 * 3_600, 6 * 3_600)
    assert proved.breaches == []
    claimed = seen(*dark, pause(1, at + HOUR, at + 7 * HOUR))
    assert hours(claimed) == (734, 0, 0, 10)
    assert [line.over_s for line in claimed.breaches] == [6 * 3_600]
    assert not claimed.pauses[0].is_proved


def test_demand_weighs_the_hours_of_an_area() -> None:
    hours_of_day = [0] * 8 + [10] * 8 + [1] * 8
    rows = (
        kiosk("k1", BEGIN, "急诊"),
        watch(BEGIN, END),
        presence("k1", "online", BEGIN),
        said("k1", BEGIN, BEGIN, OK),
        said("k1", BEGIN + 7 * HOUR, BEGIN + 7 * HOUR, {"pay": "lost", "print_report": "available"}),
        said("k1", BEGIN + 9 * HOUR, BEGIN + 9 * HOUR, OK),
    )
    found = report(contract(demand={"areas": {"急诊": hours_of_day}}), *rows)
    whole = DAYS * 88
    assert found.functions[0].availability_ppm == round((whole - 10) / whole * 1_000_000)
    assert found.functions[0].down_s == 2 * 3_600
    assert (
        report(contract(demand={"hours": hours_of_day}), *rows).functions[0].availability_ppm
        == found.functions[0].availability_ppm
    )


def test_breaches_have_a_side_and_only_the_vendor_pays() -> None:
    def trouble(number: int, begin: int, cause: str, **changes: object) -> list[Row]:
        return [
            case(number, ["k1"], cause, **changes),
            mark(number, "began", begin),
            mark(number, "responded", begin + HOUR),
            mark(number, "restored", begin + 5 * HOUR),
        ]

    at = BEGIN + 100 * HOUR
    found = seen(*trouble(1, at, "paper_jam"), *trouble(2, at, "kiosk_offline", scope="power_feed"))
    assert [(line.number, line.side, line.penalty_fen, line.over_s) for line in found.breaches] == [
        (1, "vendor", 100_000, 3_600),
        (2, "hospital", 0, 3_600),
    ]
    assert found.summary.penalty_fen == 100_000
    assert found.summary.vendor_breaches == 1
    before = seen(*trouble(1, BEGIN - 4 * HOUR + SECOND, "paper_jam"))
    assert len(before.breaches) == 1, "began last month, breached in this one"
    assert seen(*trouble(1, BEGIN - 4 * HOUR - SECOND, "paper_jam")).breaches == []
    late = seen(*trouble(1, END - 2 * HOUR, "paper_jam"))
    assert (late.breaches, late.cases[0].is_repair_breached) == ([], True), "the limit was passed in the next month"
    prevented = seen(*trouble(1, at, "paper_jam", is_preventive=True))
    assert (prevented.breaches, prevented.summary.cases, prevented.summary.preventive_cases) == ([], 0, 1)


def test_models_and_parts_are_counted() -> None:
    at = BEGIN + 100 * HOUR
    found = seen(
        kiosk("k2", BEGIN),
        case(1, ["k1"]),
        mark(1, "began", at),
        mark(1, "restored", at + HOUR),
        order(1),
        mark(1, "restored", at + 2 * HOUR, "order"),
        part(1, at + HOUR, "k1"),
    )
    printer = next(line for line in found.models if line.model == "acme-p80")
    assert (printer.units, printer.failures, printer.mtbf_s, printer.mttr_s) == (2, 1, 2 * 744 * 3_600, 7_200)
    reader = next(line for line in found.models if line.model == "acme-cr1")
    assert (reader.failures, reader.mtbf_s) == (0, None)
    assert [(line.order, line.serial_in) for line in found.parts] == [("WO-1", "B1")]


def test_without_a_contract_there_is_no_report() -> None:
    with pytest.raises(Refusal, match="no contract"):
        report(kiosk("k1", BEGIN))


def test_the_rows_in_force_give_the_following_month_the_same_numbers() -> None:
    rows = [(Kind(kind), body) for kind, body in month(7, datetime(2026, 1, 31, 16, tzinfo=UTC), 59, 6)]
    sealed_us = BEGIN + 3 * HOUR  # a day is sealed a while after midnight, with what is known by then
    early = [row for row in rows if _known_us(row) < sealed_us]
    late = [row for row in rows if _known_us(row) >= sealed_us]
    now = END + 30 * 24 * HOUR
    whole = compute("2026-03", Basis(fold(rows), now))
    short = compute("2026-03", Basis(fold([*in_force(early, BEGIN), *late]), now))
    assert short == whole
    assert len(list(in_force(early, BEGIN))) < len(early) / 3


def _known_us(row: tuple[Kind, dict[str, object]]) -> int:
    body = row[1]
    found = body.get("at_us", body.get("since_us"))
    if row[0] is Kind.CASE or found is None:
        return 0
    assert isinstance(found, int)
    return found
