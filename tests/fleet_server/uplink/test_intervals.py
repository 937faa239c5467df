"""The memory of what has arrived, against a plain set of numbers."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from fleet_server.uplink.intervals import IntervalSet, runs

BIGGEST = 60
ANY_RANGE = st.tuples(st.integers(1, BIGGEST), st.integers(0, 8)).map(lambda item: (item[0], item[0] + item[1]))


def numbers_of(found: IntervalSet) -> set[int]:
    """Everything in the set, by its two visible parts."""
    return set(range(1, found.through + 1)) | {
        number for first, last in found.ranges for number in range(first, last + 1)
    }


def is_tidy(found: IntervalSet) -> bool:
    """Whether the ranges are disjoint, ascending, do not touch each other, and do not touch `through`."""
    edge = found.through
    for first, last in found.ranges:
        if not edge + 1 < first <= last:
            return False
        edge = last
    return True


@given(st.lists(ANY_RANGE, max_size=40))
def test_any_order_and_any_overlap_give_the_same_set(added: list[tuple[int, int]]) -> None:
    found, model = IntervalSet(), set[int]()
    for first, last in added:
        assert found.touches(first, last) is bool(model & set(range(first, last + 1)))
        assert found.add(first, last)
        model |= set(range(first, last + 1))
        assert numbers_of(found) == model
        assert is_tidy(found)
    for number in range(1, BIGGEST + 12):
        assert (number in found) is (number in model)


@given(st.lists(ANY_RANGE, max_size=40))
def test_through_is_the_last_number_before_the_first_hole(added: list[tuple[int, int]]) -> None:
    found = IntervalSet()
    for first, last in added:
        found.add(first, last)
    model = numbers_of(found)
    hole = next(number for number in range(1, BIGGEST + 20) if number not in model)
    assert found.through == hole - 1


@given(st.lists(ANY_RANGE, max_size=60), st.integers(1, 4))
def test_the_number_of_ranges_is_bounded_and_a_refusal_changes_nothing(
    added: list[tuple[int, int]], limit: int
) -> None:
    found, model = IntervalSet(limit=limit), set[int]()
    for first, last in added:
        before = (found.through, found.ranges)
        if found.add(first, last):
            model |= set(range(first, last + 1))
        else:
            assert (found.through, found.ranges) == before
            assert len(found.ranges) == limit, "refused although there was room"
        assert len(found.ranges) <= limit
        assert numbers_of(found) == model


@given(st.lists(ANY_RANGE, max_size=60), st.integers(1, 4))
def test_what_is_next_is_always_taken(added: list[tuple[int, int]], limit: int) -> None:
    """A kiosk that sends its oldest records first gets on, however full of holes its past is."""
    found = IntervalSet(limit=limit)
    for first, last in added:
        found.add(first, last)
    through = found.through
    assert found.add(through + 1, through + 1)
    assert found.through > through


@given(st.integers(0, 20), st.lists(ANY_RANGE, max_size=20))
def test_a_stored_set_is_taken_up_as_it_is_and_put_right_when_it_is_not(
    through: int, ranges: list[tuple[int, int]]
) -> None:
    found = IntervalSet(through, [list(item) for item in ranges])
    expected = set(range(1, through + 1)).union(*(range(first, last + 1) for first, last in ranges))
    assert numbers_of(found) == expected
    assert is_tidy(found)
    again = IntervalSet(found.through, found.ranges)
    assert (again.through, again.ranges) == (found.through, found.ranges)


@given(st.sets(st.integers(1, 80)))
def test_runs_are_the_ranges_of_ascending_numbers(numbers: set[int]) -> None:
    found = runs(sorted(numbers))
    assert {number for first, last in found for number in range(first, last + 1)} == numbers
    assert all(later[0] > earlier[1] + 1 for earlier, later in pairwise(found))
