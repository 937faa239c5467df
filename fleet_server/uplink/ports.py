"""What the uplink asks of features above it, wired in `fleet_server.app`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from fleet_server.uplink.model import Accepted


class RecordSink(Protocol):
    """Keeps some kinds of records."""

    async def write(self, connection: AsyncConnection, batches: Sequence[Accepted]) -> None:
        """Write what concerns this sink, inside the transaction that also moves the cursors."""

    def committed(self) -> None:
        """The transaction is durable: tell whoever waits for changes."""
