"""What paging hears of work orders: that a clock of the contract passed a share of its target."""

from __future__ import annotations

from collections.abc import Sequence

from fleet_server.orders.machine import UNPROVED
from fleet_server.orders.model import Clock, Line, NewsKind
from fleet_server.orders.store import OrderStore
from fleet_server.paging.model import Forecast, OrderNews


class OrderForecasts:
    """Reads the feed of work orders; see `paging.ports.OrderFeed`."""

    def __init__(self, store: OrderStore) -> None:
        """Use this store."""
        self._store = store

    async def after(self, seq: int, limit: int) -> Sequence[OrderNews]:
        """The feed behind a number."""
        return [await self._news(line) for line in await self._store.lines_after(seq, limit)]

    async def _news(self, line: Line) -> OrderNews:
        plain = OrderNews(line.seq, line.news.at)
        order = await self._store.order(line.order) if line.news.kind is NewsKind.FORECAST else None
        if order is None or order.incident is None or order.state not in UNPROVED:
            return plain
        fields = line.news.fields
        clock = Clock(str(fields["clock"]))
        if clock is Clock.RESPONSE and order.response is not None:
            return plain  # somebody answered while nobody read the feed
        forecast = Forecast(
            order.id, order.number, clock.value, int(str(fields["percent"])), float(str(fields["target_s"]))
        )
        return OrderNews(line.seq, line.news.at, order.incident, forecast)
