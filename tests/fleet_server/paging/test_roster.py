"""Who is on duty: judged minute by minute by a calendar that knows nothing of shifts as spans."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from fleet_server.paging.roster import HANDOVER_HOLD, Handover, Plan, Roster, Shift, Swap, targets_of
from fleet_server.settings import DutyLine

SHANGHAI = ZoneInfo("Asia/Shanghai")
MONDAY = date(2026, 3, 2)
EVERY_DAY = (1, 2, 3, 4, 5, 6, 7)
WAYS = {"wang": ("sms-wang", "wecom"), "li": ("sms-li",), "zhao": ("sms-zhao",)}


def at(day: int, hour: int, minute: int = 0) -> datetime:
    """Local time of the hospital in March 2026."""
    return datetime(2026, 3, day, hour, minute, tzinfo=SHANGHAI)


def shift(begins: time, ends: time, *rota: str, days: tuple[int, ...] = EVERY_DAY) -> Shift:
    return Shift(days=days, begins=begins, ends=ends, rota=rota)


DAY = shift(time(8), time(17), "wang", "li")
NIGHT = shift(time(17), time(8), "li", "zhao")
ROSTER = Roster(first_week=MONDAY, members=WAYS, shifts=(DAY, NIGHT))
PLAN = Plan(ROSTER, SHANGHAI)


def swap(begins: datetime, ends: datetime, who: str, instead_of: str | None, number: int = 1) -> Swap:
    return Swap(f"S{number}", DutyLine.ONSITE, begins, ends, who, instead_of, "", begins, "lead")


def handover(begun: datetime, confirmed: datetime | None = None) -> Handover:
    return Handover("H1", DutyLine.ONSITE, "wang", "zhao", "paper at 021", begun, confirmed)


@pytest.mark.parametrize(
    ("moment", "names"),
    [
        (at(2, 7, 59), ("zhao",)),  # the night of the week before: the rota reaches back, too
        (at(2, 8), ("wang",)),
        (at(2, 16, 59), ("wang",)),
        (at(2, 17), ("li",)),
        (at(3, 3), ("li",)),
        (at(9, 7, 59), ("li",)),  # Sunday night is still of the first week
        (at(9, 8), ("li",)),
        (at(9, 17), ("zhao",)),
        (at(16, 8), ("wang",)),
    ],
)
def test_shifts_go_round_week_by_week(moment: datetime, names: tuple[str, ...]) -> None:
    assert PLAN.on_duty(moment) == names


def test_a_day_without_a_shift_is_a_gap() -> None:
    plan = Plan(Roster(first_week=MONDAY, members=WAYS, shifts=(shift(time(8), time(8), "li", days=(1, 2)),)), SHANGHAI)
    gaps = plan.gaps(at(2, 8), at(9, 8))
    assert [(gap.starts_at, gap.ends_at) for gap in gaps] == [(at(4, 8), at(9, 8))]


def test_who_stands_in_may_be_stood_in_for() -> None:
    first = swap(at(2, 9), at(2, 12), "li", "wang", 1)
    second = swap(at(2, 10), at(2, 11), "zhao", "li", 2)
    plan = Plan(ROSTER, SHANGHAI, (second, first))
    assert [plan.on_duty(at(2, hour)) for hour in (8, 9, 10, 11, 12)] == [
        ("wang",),
        ("li",),
        ("zhao",),
        ("li",),
        ("wang",),
    ]


def test_a_swap_for_somebody_who_is_not_there_changes_nothing_and_one_for_nobody_adds() -> None:
    plan = Plan(
        ROSTER, SHANGHAI, (swap(at(2, 8), at(2, 9), "li", "zhao", 1), swap(at(2, 8), at(2, 9), "zhao", None, 2))
    )
    assert plan.on_duty(at(2, 8)) == ("wang", "zhao")


def test_whoever_hands_over_stays_until_it_is_confirmed_and_not_for_ever() -> None:
    begun = at(2, 16, 50)
    waiting = Plan(ROSTER, SHANGHAI, handovers=(handover(begun),))
    assert waiting.on_duty(at(2, 17, 30)) == ("li", "wang")
    assert waiting.on_duty(begun + HANDOVER_HOLD) == ("li",)
    confirmed = Plan(ROSTER, SHANGHAI, handovers=(handover(begun, at(2, 17, 5)),))
    assert confirmed.on_duty(at(2, 17, 4)) == ("li", "wang")
    assert confirmed.on_duty(at(2, 17, 5)) == ("li",)
    assert confirmed.ends_duty("wang", at(2, 17, 5)) is None
    assert confirmed.ends_duty("li", at(2, 17, 5)) == at(3, 8)


def test_who_is_no_member_any_more_is_not_reached() -> None:
    assert targets_of(ROSTER, ("wang", "gone")) == {"wang": ("sms-wang", "wecom")}


@pytest.mark.parametrize(
    "changed",
    [
        {"shifts": [{"days": [1], "begins": "08:00", "ends": "17:00", "rota": ["nobody"]}]},
        {"shifts": [{"days": [8], "begins": "08:00", "ends": "17:00", "rota": ["li"]}]},
        {"shifts": [{"days": [1], "begins": "08:00+08:00", "ends": "17:00", "rota": ["li"]}]},
        {"shifts": [{"days": [1], "begins": "25:00", "ends": "17:00", "rota": ["li"]}]},
        {"shifts": [{"days": [1], "begins": "08:00", "ends": "17:00", "rota": []}]},
        {"members": {"li": []}},
        {"members": {"l i": ["sms"]}},
        {"zone": "Asia/Shanghai"},
    ],
)
def test_a_roster_that_makes_no_sense_is_refused(changed: dict[str, object]) -> None:
    document = {"first_week": "2026-03-02", "members": {"li": ["sms-li"]}, "shifts": [], **changed}
    with pytest.raises(ValidationError):
        Roster.model_validate(document)


# --- the calendar -----------------------------------------------------------------------------------------------------

HOURS = st.builds(time, st.integers(0, 23), st.sampled_from((0, 15, 30)))
SHIFTS = st.builds(
    Shift,
    days=st.lists(st.integers(1, 7), min_size=1, max_size=7, unique=True).map(tuple),
    begins=HOURS,
    ends=HOURS,
    rota=st.lists(st.sampled_from(sorted(WAYS)), min_size=1, max_size=3).map(tuple),
)


def calendar(roster: Roster, minute: datetime) -> set[str]:
    """Who has a minute of local time without daylight saving, written down without spans."""
    found = set()
    for one in roster.shifts:
        is_over_midnight = one.ends <= one.begins
        for day in (minute.date(), minute.date() - timedelta(days=1)):
            is_same_day = day == minute.date()
            clock = minute.time()
            if is_same_day:
                is_in = clock >= one.begins and (is_over_midnight or clock < one.ends)
            else:
                is_in = is_over_midnight and clock < one.ends
            if is_in and day.isoweekday() in one.days:
                weeks = (day.toordinal() - MONDAY.toordinal()) // 7
                found.add(one.rota[weeks % len(one.rota)])
    return found


@settings(max_examples=60, deadline=None)
@given(st.lists(SHIFTS, max_size=4), st.integers(0, 40))
def test_every_minute_is_as_the_calendar_says(shifts: list[Shift], day: int) -> None:
    roster = Roster(first_week=MONDAY, members=WAYS, shifts=tuple(shifts))
    plan = Plan(roster, SHANGHAI)
    begin = datetime(2026, 2, 20, 0, 0, tzinfo=SHANGHAI) + timedelta(days=day)
    end = begin + timedelta(days=2)
    spans = plan.spans(begin, end)
    assert (spans[0].starts_at, spans[-1].ends_at) == (begin, end)
    for number in range(0, 2 * 24 * 60, 15):
        minute = begin + timedelta(minutes=number)
        wanted = calendar(roster, minute)
        assert set(plan.on_duty(minute)) == wanted
        (span,) = [one for one in spans if one.starts_at <= minute < one.ends_at]
        assert set(span.names) == wanted


@pytest.mark.parametrize("month", [3, 10])
def test_a_changed_clock_leaves_no_gap(month: int) -> None:
    plan = Plan(ROSTER, ZoneInfo("Europe/Berlin"))
    begin = datetime(2026, month, 20, tzinfo=UTC)
    assert plan.gaps(begin, begin + timedelta(days=12)) == []
