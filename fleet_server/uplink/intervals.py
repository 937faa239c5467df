"""Which sequence numbers of one (kiosk, epoch) are in the store: all up to `through`, and ranges above it.

New records travel before the backlog, so what has arrived is a set and not a prefix. The number of ranges is
bounded: beyond it, what would open another range is not taken, and the kiosk sends it again later.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from wire.uplink import RANGES_LIMIT


class IntervalSet:
    """A set of positive whole numbers, kept as intervals."""

    __slots__ = ("_limit", "_ranges", "through")

    def __init__(self, through: int = 0, ranges: Iterable[Sequence[int]] = (), *, limit: int = RANGES_LIMIT) -> None:
        """Take up a stored set; overlapping or unsorted ranges are put right."""
        self.through = through
        self._ranges: list[list[int]] = []
        self._limit = limit
        for first, last in sorted((int(item[0]), int(item[1])) for item in ranges):
            self.add(first, last)

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """The intervals above `through`, ascending, both ends included."""
        return [(first, last) for first, last in self._ranges]

    def __contains__(self, number: int) -> bool:
        """Whether the number is in the set."""
        if number <= self.through:
            return True
        place = bisect_right(self._ranges, number, key=lambda item: item[0]) - 1
        return place >= 0 and number <= self._ranges[place][1]

    def add(self, first: int, last: int | None = None) -> bool:
        """Put `first` to `last` in; False when that would be one range too many, and nothing changed."""
        last = first if last is None else last
        if last <= self.through:
            return True
        if first <= self.through + 1:
            self.through = last
            self._absorb()
            return True
        ranges = self._ranges
        left = bisect_right(ranges, first - 1, key=lambda item: item[1] + 1)
        if left and ranges[left - 1][1] >= first - 1:
            left -= 1
        right = bisect_right(ranges, last + 1, key=lambda item: item[0])
        if left == right and len(ranges) >= self._limit:
            return False
        if left < right:
            first, last = min(first, ranges[left][0]), max(last, ranges[right - 1][1])
        ranges[left:right] = [[first, last]]
        return True

    def _absorb(self) -> None:
        """Move ranges that now touch `through` into it."""
        taken = 0
        for first, last in self._ranges:
            if first > self.through + 1:
                break
            self.through = max(self.through, last)
            taken += 1
        del self._ranges[:taken]
