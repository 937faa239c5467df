"""Answers questions about samples and events."""

from __future__ import annotations

import json
import math
from datetime import datetime, timedelta
from typing import Final

from fleet_server.errors import Refusal
from fleet_server.registry.directory import Directory
from fleet_server.telemetry.model import (
    Event,
    EventQuery,
    EventView,
    Point,
    Series,
    TelemetryQuery,
    TelemetryView,
)
from fleet_server.telemetry.store import EventFilter, Span, TelemetryStore
from fleet_server.uplink.model import to_moment, to_us
from kit.clock import Clock
from kit.web import Page
from wire.telemetry import METRICS

DEFAULT_SPAN: Final = timedelta(hours=24)
LONGEST_SPAN: Final = timedelta(days=400)
SHORTEST_BUCKET_S: Final = 1.0
_SHOWN_BESIDE: Final = frozenset(
    {"seq", "record_class", "at", "boot", "mono_ms", "offset_s", "hist", "chain_n", "chain", "kind", "component"}
)


class TelemetryService:
    """Down-samples and pages."""

    def __init__(self, store: TelemetryStore, directory: Directory, clock: Clock) -> None:
        """Read from this store."""
        self._store = store
        self._directory = directory
        self._clock = clock

    async def telemetry(self, kid: str, query: TelemetryQuery) -> TelemetryView:
        """Metrics of one kiosk in buckets of equal length; a bucket without samples is left out.

        Raises:
            Refusal: no such kiosk, or the span is empty or too long.
        """
        number = self._number(kid)
        until = query.until or self._clock.utc()
        since = query.since or until - DEFAULT_SPAN
        check_span(since, until)
        bucket_s = max(SHORTEST_BUCKET_S, math.ceil((until - since).total_seconds() / query.points))
        metrics = list(dict.fromkeys(query.metric))
        found = await self._store.buckets(Span(number, query.component, since, until, bucket_s), metrics)
        series = [
            Series(
                metric=metric,
                unit=METRICS[metric].unit if metric in METRICS else "",
                points=[_point(since, bucket_s, item) for item in found[metric]],
            )
            for metric in metrics
        ]
        return TelemetryView(series=series, bucket_s=bucket_s, since=since, until=until)

    async def events(self, kid: str, query: EventQuery) -> Page[EventView]:
        """Events of one kiosk, newest first.

        Raises:
            Refusal: no such kiosk.
        """
        wanted = EventFilter(self._number(kid), kind=query.kind, since=query.since, until=query.until)
        before = None if query.cursor is None else _place(query.cursor)
        page = EventFilter(wanted.kiosk_no, wanted.kind, wanted.since, wanted.until, before)
        rows = await self._store.events(page, query.limit + 1)
        shown = rows[: query.limit]
        following = f"{to_us(shown[-1].at)}.{shown[-1].no}" if len(rows) > query.limit else None
        total = await self._store.count_events(wanted)
        return Page(items=[event_view(row) for row in shown], total=total, next=following)

    def _number(self, kid: str) -> int:
        number = self._directory.number_of(kid)
        if number is None:
            raise Refusal("kiosk_unknown", "there is no such kiosk in the registry", status=404)
        return number


def check_span(since: datetime, until: datetime) -> None:
    """Let a span pass that is not empty and not too long.

    Raises:
        Refusal: it is one of these.
    """
    if not timedelta(0) < until - since <= LONGEST_SPAN:
        raise Refusal("span_invalid", f"the span must be positive and at most {LONGEST_SPAN.days} days", status=422)


def event_view(row: Event) -> EventView:
    """An event as the API shows it."""
    document = json.loads(row.body)
    return EventView(
        id=str(row.no),
        at=row.at,
        kiosk_at=row.kiosk_at,
        received_at=row.received_at,
        kind=row.kind,
        record_class=row.record_class,
        component=row.component,
        name=row.name,
        hist=row.hist,
        body={key: value for key, value in document.items() if key not in _SHOWN_BESIDE},
    )


def _place(cursor: str) -> tuple[datetime, int]:
    at_us, _, number = cursor.partition(".")
    try:
        return to_moment(int(at_us)), int(number)
    except OverflowError:
        raise Refusal("cursor_invalid", "the cursor is not one of ours", status=422) from None


def _point(since: datetime, bucket_s: float, bucket: tuple[int, float, float, float]) -> Point:
    number, average, low, high = bucket
    return Point(at=since + timedelta(seconds=(number + 0.5) * bucket_s), avg=average, min=low, max=high)
