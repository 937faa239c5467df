"""What paging asks of features above it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from fleet_server.paging.model import OrderNews


class OrderFeed(Protocol):
    """Implemented by `orders.forecasts`."""

    async def after(self, seq: int, limit: int) -> Sequence[OrderNews]:
        """The feed of work orders behind a number."""
