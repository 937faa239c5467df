"""Which sequence numbers of one stream (kiosk, epoch) are in the store: all up to `through`, and ranges above it.

New records travel before the backlog, so what has arrived is a set and not a prefix. The number of ranges is
bounded: beyond it, what would open another range is not taken, and the kiosk sends it again later.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

from wire.uplink import RANGES_LIMIT

Range = tuple[int, int]
"""Both ends included."""


def _first(item: Range) -> int:
    return item[0]


def _last(item: Range) -> int:
    return item[1]


class IntervalSet:
    """A set of positive whole numbers, kept as disjoint ranges that do not touch."""

    __slots__ = ("_limit", "_ranges", "_through")

    def __init__(self, through: int = 0, ranges: Iterable[Sequence[int]] = (), *, limit: int = RANGES_LIMIT) -> None:
        """Take up a stored set; overlapping or unsorted ranges are put right."""
        self._through = through
        self._ranges: list[Range] = []
        self._limit = limit
        for first, last in sorted((int(item[0]), int(item[1])) for item in ranges):
            self.add(first, last)

    @property
    def through(self) -> int:
        """Everything up to this number is in the set."""
        return self._through

    @property
    def ranges(self) -> list[Range]:
        """What is in the set above `through`, ascending."""
        return list(self._ranges)

    def __contains__(self, number: int) -> bool:
        """Whether the number is in the set."""
        return self.touches(number, number)

    def touches(self, first: int, last: int) -> bool:
        """Whether any number from `first` to `last` is in the set."""
        if first <= self._through:
            return True
        place = bisect_left(self._ranges, first, key=_last)
        return place < len(self._ranges) and self._ranges[place][0] <= last

    def add(self, first: int, last: int) -> bool:
        """Put `first` to `last` in; False when that would be one range too many, and nothing changed."""
        ranges = self._ranges
        left = bisect_left(ranges, first - 1, key=_last)
        right = bisect_right(ranges, last + 1, key=_first)
        if left < right:
            first = min(first, ranges[left][0])
            last = max(last, ranges[right - 1][1])
        if first <= self._through + 1:
            self._through = max(self._through, last)
            del ranges[:right]
            return True
        if left == right and len(ranges) >= self._limit:
            return False
        ranges[left:right] = [(first, last)]
        return True


def runs(numbers: Sequence[int]) -> list[Range]:
    """The ranges that ascending, distinct numbers form."""
    if not numbers:
        return []
    if numbers[-1] - numbers[0] + 1 == len(numbers):
        return [(numbers[0], numbers[-1])]
    found: list[Range] = []
    first = last = numbers[0]
    for number in numbers[1:]:
        if number != last + 1:
            found.append((first, last))
            first = number
        last = number
    found.append((first, last))
    return found
