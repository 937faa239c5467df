"""Counters of what is used up: sensors, reports, refills and the forecast."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.devices.machine import DeviceState
from agent.devices.manager import Seen
from agent.devices.types import DeviceStatus
from agent.health.consumables import FORECAST_DAYS, ConsumableBook, Kept
from wire.consumables import ConsumableLevel, ConsumableSource, ConsumableStatus, ConsumableUnit
from wire.envelope import Scalar
from wire.faults import Fault
from wire.profile import Capability, ConsumableProfile

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
PAPER = ConsumableProfile(unit=ConsumableUnit.MM, capacity=80_000.0, low=4_000.0)
TONER = ConsumableProfile(unit=ConsumableUnit.PERCENT, capacity=100.0, low=10.0, part="TO-5100")
PROFILES = {("receipt", "paper"): PAPER, ("report", "toner"): TONER}
_L, _S = ConsumableLevel, ConsumableSource


def _receipt(*faults: Fault, state: DeviceState = DeviceState.READY) -> Seen:
    why = Fault.UNPLUGGED if state is DeviceState.ABSENT else None
    status = DeviceStatus(dict.fromkeys(faults, ""))
    return Seen("receipt", Capability.RECEIPT_PRINTER, state, status=status, fault=why)


def _report(percent: Scalar, *faults: Fault) -> Seen:
    status = DeviceStatus(dict.fromkeys(faults, ""), {"toner_percent": percent})
    return Seen("report", Capability.REPORT_PRINTER, DeviceState.READY, status=status)


def _of(book: ConsumableBook, name: str = "paper", now: datetime = NOON) -> ConsumableStatus:
    return next(status for status in book.statuses(now) if status.consumable == name)


def _paper(*seen: Seen) -> ConsumableStatus:
    book = ConsumableBook(PROFILES)
    book.refilled("receipt", "paper", NOON)
    for one in seen:
        book.seen(one, NOON)
    return _of(book)


def test_what_nobody_said_is_unknown() -> None:
    book = ConsumableBook(PROFILES)
    book.seen(_receipt(), NOON)
    status = _of(book)
    assert (status.level, status.remaining, status.days_left, status.source) == (_L.UNKNOWN, None, None, _S.NONE)


def test_use_is_counted_from_a_refill_and_never_says_empty_by_itself() -> None:
    book = ConsumableBook(PROFILES)
    book.refilled("receipt", "paper", NOON)
    book.used("receipt", {"paper": 200.0, "ribbon": 1, "toner": "much"}, NOON)
    assert (_of(book).remaining, _of(book).level) == (79_800.0, _L.OK)
    book.used("receipt", {"paper": 90_000}, NOON)
    assert (_of(book).remaining, _of(book).level) == (0.0, _L.LOW)


@pytest.mark.parametrize("amount", [-1.0, 0, float("nan"), float("inf"), "5", None])
def test_an_absurd_amount_counts_nothing(amount: Scalar) -> None:
    book = ConsumableBook(PROFILES)
    book.refilled("receipt", "paper", NOON)
    book.used("receipt", {"paper": amount}, NOON)
    assert _of(book).remaining == 80_000.0


_LOW, _OUT, _OPEN = Fault.PAPER_LOW, Fault.PAPER_OUT, Fault.COVER_OPEN
_AWAY = DeviceState.ABSENT


@pytest.mark.parametrize(
    ("seen", "level", "remaining"),
    [
        ([_receipt(_LOW)], _L.LOW, 4_000.0),
        ([_receipt(_OUT)], _L.EMPTY, 0.0),
        ([_receipt(_LOW), _receipt(_OUT)], _L.EMPTY, 0.0),
        ([_receipt(_OUT), _receipt()], _L.OK, 80_000.0),
        ([_receipt(_OUT), _receipt(_LOW)], _L.LOW, 4_000.0),
        ([_receipt(_LOW), _receipt()], _L.LOW, 4_000.0),
        ([_receipt(_LOW), _receipt(_LOW, _OPEN), _receipt()], _L.OK, 80_000.0),
        ([_receipt(_LOW), _receipt(_LOW, state=_AWAY), _receipt()], _L.OK, 80_000.0),
        ([_receipt(_OUT), _receipt(state=DeviceState.FAULTED)], _L.EMPTY, 0.0),
        ([_receipt(_OUT, _OPEN), _receipt()], _L.OK, 80_000.0),
        ([_receipt(_OUT), _receipt(_OUT, _OPEN), _receipt(_OPEN), _receipt()], _L.OK, 80_000.0),
    ],
)
def test_what_the_sensors_say(seen: list[Seen], level: ConsumableLevel, remaining: float) -> None:
    status = _paper(*seen)
    assert (status.level, status.remaining) == (level, remaining)


def test_a_sensor_that_flickers_at_its_mark_keeps_the_count() -> None:
    book = ConsumableBook(PROFILES)
    book.refilled("receipt", "paper", NOON)
    book.seen(_receipt(_LOW), NOON)
    book.used("receipt", {"paper": 1_000.0}, NOON)
    for _ in range(5):
        book.seen(_receipt(), NOON)
        book.seen(_receipt(_LOW), NOON)
    assert (_of(book).remaining, _of(book).level) == (3_000.0, _L.LOW)


def test_a_roll_changed_while_the_agent_was_off_is_noticed() -> None:
    book = ConsumableBook(PROFILES)
    book.seen(_receipt(_LOW), NOON)
    again = ConsumableBook(PROFILES, Kept.model_validate_json(book.kept().model_dump_json()))
    assert _of(again).level is _L.LOW
    again.seen(_receipt(), NOON)
    assert (_of(again).level, _of(again).remaining) == (_L.OK, 80_000.0)


def test_a_reported_level_falls_by_use_and_jumps_at_a_new_cartridge() -> None:
    book = ConsumableBook(PROFILES)
    for percent in (50, 49, 50, 40):
        book.seen(_report(percent), NOON)
    assert (_of(book, "toner").percent, _of(book, "toner").source) == (40.0, _S.REPORTED)
    assert book.kept().counters["report/toner"].days == {NOON.date(): 10.0}
    book.seen(_report(8, Fault.TONER_LOW), NOON)
    assert _of(book, "toner").level is _L.LOW
    book.seen(_report(100), NOON + timedelta(hours=1))
    status = _of(book, "toner")
    assert (status.level, status.percent, status.refilled_at) == (_L.OK, 100.0, NOON + timedelta(hours=1))
    assert status.part == "TO-5100"


@pytest.mark.parametrize("percent", [-1, 101, "full", None])
def test_a_level_that_makes_no_sense_is_no_level(percent: Scalar) -> None:
    book = ConsumableBook(PROFILES)
    book.seen(_report(percent), NOON)
    assert _of(book, "toner").level is _L.UNKNOWN


def _days(*used: float) -> ConsumableBook:
    book = ConsumableBook(PROFILES)
    book.refilled("receipt", "paper", NOON)
    for number, amount in enumerate(used):
        day = NOON - timedelta(days=len(used) - number)
        book.attend(day)
        book.used("receipt", {"paper": amount}, day)
    book.refilled("receipt", "paper", NOON)
    return book


@pytest.mark.parametrize(
    ("used", "per_day", "days_left"),
    [
        ((), None, None),
        ((2_000.0, 2_000.0), None, None),
        ((2_000.0, 1_000.0, 4_000.0), 2_000.0, 40.0),
        ((0.0, 0.0, 0.0, 5_000.0), 0.0, None),
        ((2_000.0,) * 13 + (70_000.0,), 2_000.0, 40.0),
        ((9_000.0,) * 10 + (1_000.0,) * 14, 1_000.0, 80.0),
    ],
)
def test_the_forecast(used: tuple[float, ...], per_day: float | None, days_left: float | None) -> None:
    status = _of(_days(*used))
    assert (status.per_day, status.days_left) == (per_day, days_left)


def test_the_present_day_is_not_over_and_days_off_do_not_count() -> None:
    book = _days(1_000.0, 1_000.0, 1_000.0)
    book.attend(NOON)
    book.used("receipt", {"paper": 40_000.0}, NOON)
    assert (_of(book).per_day, _of(book).days_left) == (1_000.0, 40.0)
    later = NOON + timedelta(days=10)
    assert _of(book, now=later).per_day == 1_000.0, "nine days switched off are no days without use"
    assert _of(book, now=NOON + timedelta(days=90)).days_left is None, "what was used last summer says nothing"


def test_days_are_bounded() -> None:
    book = _days(*([1.0] * 400))
    assert len(book.kept().counters["receipt/paper"].days) <= FORECAST_DAYS + 2


def test_what_the_kiosk_does_not_have_cannot_be_refilled() -> None:
    with pytest.raises(KeyError):
        ConsumableBook(PROFILES).refilled("receipt", "toner", NOON)


@given(
    st.lists(
        st.one_of(
            st.floats(0.0, 50_000.0),
            st.sets(st.sampled_from([_LOW, _OUT, _OPEN])),
            st.sampled_from(list(DeviceState)),
            st.just("refill"),
        ),
        max_size=30,
    )
)
def test_whatever_happens_levels_stay_in_their_bounds(happened: list[object]) -> None:
    book = ConsumableBook(PROFILES)
    for item in happened:
        match item:
            case float():
                book.used("receipt", {"paper": item}, NOON)
            case set():
                book.seen(_receipt(*item), NOON)
            case DeviceState():
                book.seen(_receipt(state=item), NOON)
            case _:
                book.refilled("receipt", "paper", NOON)
    status = _of(ConsumableBook(PROFILES, Kept.model_validate_json(book.kept().model_dump_json())))
    assert status.remaining is None or 0 <= status.remaining <= PAPER.capacity
    assert (status.remaining is None) == (status.percent is None)
