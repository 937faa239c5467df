"""Server time of a record, whatever the kiosk's clock says: ±400 days, no offset, other boots, lies."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_server.uplink.model import to_moment, to_us
from fleet_server.uplink.times import PAST_US, Basis, Clocks, Placed, RecordTimes, kiosk_time

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
KID = "zzj-001"
DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Made:
    """A record: how long before `NOW` it was really made, and how far the kiosk's clock was ahead then."""

    ago_s: float
    skew_s: float = 0.0
    knows_offset: bool = True
    boot: str = "a"
    booted_ago_s: float = 2 * DAY_S
    hist: bool = False
    claimed_s: float | None = None
    """The offset it claims, when that is not the truth."""

    @property
    def real(self) -> datetime:
        return NOW - timedelta(seconds=self.ago_s)


def place(times: RecordTimes, *records: Made, now: datetime = NOW, kid: str = KID) -> Placed:
    clocks = Clocks(
        [record.real + timedelta(seconds=record.skew_s) for record in records],
        [(record.skew_s if record.claimed_s is None else record.claimed_s) if record.knows_offset else None
         for record in records],
        [record.boot for record in records],
        [int((record.booted_ago_s - record.ago_s) * 1_000) for record in records],
        [record.hist for record in records],
    )  # fmt: skip
    return times.place(kid, clocks, to_us(now))


def moments(placed: Placed) -> list[datetime]:
    return [to_moment(at_us) for at_us in placed.at_us]


@pytest.mark.parametrize("skew_s", [400 * DAY_S, -400 * DAY_S, 0.5, -7_200.0, 1e9])
def test_a_known_offset_puts_any_clock_right(skew_s: float) -> None:
    records = [Made(30.0, skew_s), Made(20.0, skew_s), Made(0.0, skew_s)]
    placed = place(RecordTimes(), *records)
    assert moments(placed) == [record.real for record in records]
    assert placed.basis == {}
    assert to_moment(placed.kiosk_us[0]) == records[0].real + timedelta(seconds=skew_s), "the kiosk's word is kept"


@pytest.mark.parametrize("skew_s", [400 * DAY_S, -400 * DAY_S])
def test_an_unknown_offset_of_a_wrong_clock_is_settled_by_the_moment_of_receipt(skew_s: float) -> None:
    records = [Made(60.0, skew_s, knows_offset=False), Made(0.0, skew_s, knows_offset=False)]
    placed = place(RecordTimes(), *records)
    assert moments(placed) == [record.real for record in records], "distances within a boot are kept"
    assert set(placed.basis) == {0, 1}


@pytest.mark.parametrize("skew_s", [400 * DAY_S, -400 * DAY_S])
def test_what_was_made_before_the_offset_was_known_is_placed_by_its_boot(skew_s: float) -> None:
    times = RecordTimes()
    place(times, Made(0.0, skew_s))
    old = Made(9 * 3_600.0, skew_s, knows_offset=False, hist=True)
    placed = place(times, old)
    assert moments(placed) == [old.real]
    assert placed.basis == {0: Basis.BOOT}


def test_one_batch_is_enough_to_place_the_others_of_its_boot() -> None:
    early = Made(500.0, 400 * DAY_S, knows_offset=False)
    placed = place(RecordTimes(), Made(10.0, 400 * DAY_S), early)
    assert moments(placed)[1] == early.real
    assert placed.basis == {1: Basis.BOOT}


def test_a_boot_of_another_kiosk_proves_nothing() -> None:
    times = RecordTimes()
    place(times, Made(0.0), kid="zzj-002")
    placed = place(times, Made(3_600.0, 400 * DAY_S, knows_offset=False, hist=True))
    assert placed.basis == {0: Basis.RECEIVED}


def test_a_backlog_of_an_unknown_boot_with_an_impossible_clock_is_as_old_as_it_is_late() -> None:
    """Nothing is known but the order: the newest is taken as just received, the others by their distance."""
    records = [Made(7_200.0, -400 * DAY_S, knows_offset=False, hist=True, boot="old"),
               Made(3_600.0, -400 * DAY_S, knows_offset=False, hist=True, boot="old")]  # fmt: skip
    placed = place(RecordTimes(), *records)
    assert moments(placed) == [NOW - timedelta(hours=1), NOW]
    assert set(placed.basis.values()) == {Basis.RECEIVED}


def test_a_plausible_clock_without_offset_is_believed() -> None:
    old = Made(5 * DAY_S, 30.0, knows_offset=False, hist=True, boot="old", booted_ago_s=6 * DAY_S)
    placed = place(RecordTimes(), old)
    assert moments(placed) == [old.real + timedelta(seconds=30)]
    assert placed.basis == {0: Basis.KIOSK}


@pytest.mark.parametrize("claimed_s", [-4_000.0, 400 * DAY_S, 1e11, -1e11, 1e300])
def test_an_offset_that_cannot_be_is_not_believed(claimed_s: float) -> None:
    """It would put the record far into the future, or back by more than a year."""
    placed = place(RecordTimes(), Made(0.0, claimed_s=claimed_s))
    assert moments(placed) == [NOW]
    assert set(placed.basis) == {0}


def test_a_little_drift_into_the_future_is_cut_off() -> None:
    placed = place(RecordTimes(), Made(0.0, claimed_s=-60.0))
    assert moments(placed) == [NOW]
    assert placed.basis == {}


@pytest.mark.parametrize(("is_boot_known", "basis"), [(True, Basis.BOOT), (False, Basis.KIOSK)])
def test_no_way_of_judging_leads_into_the_future(is_boot_known: bool, basis: Basis) -> None:
    times, ahead = RecordTimes(), Made(-60.0, knows_offset=False, hist=True)
    if is_boot_known:
        place(times, Made(0.0))
    placed = place(times, ahead)
    assert moments(placed) == [NOW]
    assert placed.basis == {0: basis}


def test_our_own_clock_set_back_by_400_days_loses_no_record() -> None:
    times = RecordTimes()
    records = [Made(1.0), Made(0.0, knows_offset=False, hist=True)]
    place(times, *records)
    back = NOW - timedelta(days=400)
    placed = place(times, *records, now=back)
    assert max(moments(placed)) <= back
    assert min(moments(placed)) >= back - timedelta(microseconds=PAST_US)


def test_the_memory_of_boots_is_bounded_and_the_latest_stay() -> None:
    times, lost = RecordTimes(), Made(100.0, 400 * DAY_S, knows_offset=False, hist=True, boot="boot-0")
    kept = Made(100.0, 400 * DAY_S, knows_offset=False, hist=True, boot="boot-24999")
    spoiler = Made(0.0, knows_offset=False, hist=True, boot="spoiler")
    place(times, *(Made(0.0, boot=f"boot-{number}") for number in range(25_000)), spoiler)
    assert place(times, kept).basis == {0: Basis.BOOT}
    assert place(times, lost).basis == {0: Basis.RECEIVED}


def test_nothing_to_place() -> None:
    assert place(RecordTimes()).at_us == ()


@pytest.mark.parametrize("moment", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC), NOW])
def test_the_kiosks_own_time_is_moved_into_the_years_a_store_holds(moment: datetime) -> None:
    held = to_moment(kiosk_time(to_us(moment)))
    assert abs((held - moment).total_seconds()) < 2 * DAY_S
    for zone_h in (-14, 14):
        held + timedelta(hours=zone_h)


MADE = st.builds(
    Made,
    ago_s=st.floats(-1e6, 4e7),
    skew_s=st.floats(-5e8, 5e8),
    knows_offset=st.booleans(),
    boot=st.sampled_from("abc"),
    booted_ago_s=st.floats(4e7, 1e9),
    hist=st.booleans(),
    claimed_s=st.none() | st.floats(allow_nan=False, allow_infinity=False),
)


@given(st.lists(st.lists(MADE, max_size=5), max_size=4))
def test_no_clock_makes_a_record_of_the_future_or_of_another_age(batches: list[list[Made]]) -> None:
    times, received_us = RecordTimes(), to_us(NOW)
    for records in batches:
        placed = place(times, *records)
        assert len(placed.at_us) == len(placed.kiosk_us) == len(records)
        assert all(received_us - PAST_US <= at_us <= received_us for at_us in placed.at_us)


@given(st.lists(st.floats(0.0, 1e6), min_size=2, max_size=8), st.floats(-5e8, 5e8))
def test_records_of_one_boot_stay_in_order(ages: list[float], skew_s: float) -> None:
    records = [Made(age, skew_s, knows_offset=False, booted_ago_s=2e6) for age in sorted(ages, reverse=True)]
    placed = place(RecordTimes(), *records)
    assert all(earlier <= later for earlier, later in pairwise(placed.at_us))
