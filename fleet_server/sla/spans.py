"""Stretches of time as pairs of whole microseconds since 1970 UTC, and what an hour of them weighs."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

SECOND_US: Final = 1_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
Span = tuple[int, int]
"""The end is not part of it."""


def to_us(moment: datetime) -> int:
    """Microseconds since 1970, exact."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def to_moment(us: int) -> datetime:
    """The moment of microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=us)


def to_s(us: int) -> int:
    """Whole seconds, the half one up."""
    return (us + SECOND_US // 2) // SECOND_US


def total(spans: Iterable[Span]) -> int:
    """Their length together."""
    return sum(until - since for since, until in spans)


def union(spans: Iterable[Span]) -> list[Span]:
    """The same time as ascending stretches that do not touch; empty ones fall out."""
    found: list[Span] = []
    for since, until in sorted(spans):
        if until <= since:
            continue
        if found and since <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], until))
        else:
            found.append((since, until))
    return found


def within(spans: Sequence[Span], outer: Sequence[Span]) -> list[Span]:
    """What two unions have in common."""
    found: list[Span] = []
    first = second = 0
    while first < len(spans) and second < len(outer):
        since = max(spans[first][0], outer[second][0])
        until = min(spans[first][1], outer[second][1])
        if since < until:
            found.append((since, until))
        if spans[first][1] <= outer[second][1]:
            first += 1
        else:
            second += 1
    return found


def without(spans: Sequence[Span], holes: Sequence[Span]) -> list[Span]:
    """What is left of a union when another is taken out."""
    found: list[Span] = []
    place = 0
    for since, until in spans:
        at = since
        while place < len(holes) and holes[place][1] <= at:
            place += 1
        behind = place
        while behind < len(holes) and holes[behind][0] < until:
            if holes[behind][0] > at:
                found.append((at, holes[behind][0]))
            at = max(at, holes[behind][1])
            behind += 1
        if at < until:
            found.append((at, until))
    return found


def month_span(month: str, zone: str) -> Span:
    """The stretch of a month `2026-11`, from local midnight to local midnight. Raises: ValueError."""
    first = datetime.strptime(month, "%Y-%m").replace(tzinfo=ZoneInfo(zone))
    following = (first.replace(day=28) + timedelta(days=4)).replace(day=1)
    return to_us(first), to_us(following)


class Scale:
    """Weighs stretches inside one outer stretch by the local hour of the day."""

    def __init__(self, outer: Span, hours: Sequence[int], zone: str) -> None:
        """Add up the weights once, so that any stretch costs two look-ups."""
        self._outer = outer
        self._edges: list[int] = []
        self._weights: list[int] = []
        self._sums: list[int] = []
        place, at, so_far = ZoneInfo(zone), outer[0], 0
        while at < outer[1]:
            local = to_moment(at).astimezone(place)
            into_us = (local.minute * 60 + local.second) * SECOND_US + local.microsecond
            until = min(at - into_us + 3_600 * SECOND_US, outer[1])
            self._edges.append(at)
            self._weights.append(hours[local.hour])
            self._sums.append(so_far)
            so_far += (until - at) * hours[local.hour]
            at = until

    def weigh(self, spans: Iterable[Span]) -> int:
        """The weighted microseconds of a union inside the outer stretch."""
        return sum(self._until(until) - self._until(since) for since, until in spans)

    def _until(self, us: int) -> int:
        place = bisect_right(self._edges, us) - 1
        if place < 0:
            return 0
        return self._sums[place] + (us - self._edges[place]) * self._weights[place]
