"""Answers questions about samples and events."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any, Final

from fleet_server.errors import Refusal
from fleet_server.registry.directory import Directory
from fleet_server.telemetry.model import EventQuery, EventView, Point, Series, TelemetryQuery, TelemetryView
from fleet_server.telemetry.store import EventRow, TelemetryStore
from kit.clock import Clock
from kit.web import Page
from wire.telemetry import METRICS

DEFAULT_SPAN: Final = timedelta(hours=24)
LONGEST_SPAN: Final = timedelta(days=400)


class TelemetryService:
    """Down-samples and pages."""

    def __init__(self, store: TelemetryStore, directory: Directory, clock: Clock) -> None:
        """Read from this store."""
        self._store = store
        self._directory = directory
        self._clock = clock

    async def telemetry(self, kid: str, query: TelemetryQuery) -> TelemetryView:
        """Metrics of one kiosk in buckets of equal length.

        Raises:
            Refusal: no such kiosk, or the span is empty or too long.
        """
        number = self._number(kid)
        until = query.until or self._clock.utc()
        since = query.since or until - DEFAULT_SPAN
        if not timedelta(0) < until - since <= LONGEST_SPAN:
            raise Refusal("span_invalid", f"the span must be positive and at most {LONGEST_SPAN.days} days", status=422)
        bucket_s = float(max(1, math.ceil((until - since).total_seconds() / query.points)))
        series = []
        for metric in dict.fromkeys(query.metric):
            buckets = await self._store.buckets(number, query.component, metric, since, until, bucket_s)
            unit = METRICS[metric].unit if metric in METRICS else ""
            series.append(Series(metric=metric, unit=unit, points=[_point(since, bucket_s, item) for item in buckets]))
        return TelemetryView(series=series, bucket_s=bucket_s, since=since, until=until)

    async def events(self, kid: str, query: EventQuery) -> Page[EventView]:
        """Events of one kiosk, newest first.

        Raises:
            Refusal: no such kiosk.
        """
        rows = await self._store.events(
            self._number(kid), kind=query.kind, since=query.since, before_no=query.cursor, limit=query.limit + 1
        )
        items = [_event_view(row) for row in rows[: query.limit]]
        more = len(rows) > query.limit
        return Page(items=items, total=len(items), next=str(items[-1].id) if more else None)

    def _number(self, kid: str) -> int:
        number = self._directory.number_of(kid)
        if number is None:
            raise Refusal("kiosk_unknown", "there is no such kiosk in the registry", status=404)
        return number


def _point(since: datetime, bucket_s: float, bucket: tuple[int, float, float, float]) -> Point:
    number, average, low, high = bucket
    return Point(at=since + timedelta(seconds=(number + 0.5) * bucket_s), avg=average, min=low, max=high)


def _event_view(row: EventRow) -> EventView:
    facts: dict[str, Any] = {name: getattr(row, name) for name in EventView.model_fields if name != "id"}
    return EventView(id=row.no or 0, **facts)
