"""Alarm records of the uplink become alarms, in the transaction that stores them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from fleet_server.alerts.model import AlarmEdge, AlarmOrigin
from fleet_server.alerts.store import AlarmStore
from fleet_server.uplink.model import Accepted
from kit.clock import Clock
from wire.uplink import AlarmRecord


class AlarmRecordSink:
    """A sink of the uplink."""

    def __init__(self, store: AlarmStore, clock: Clock) -> None:
        """Apply edges to this store."""
        self._store = store
        self._clock = clock
        self._wake: Callable[[], None] = lambda: None

    def on_change(self, wake: Callable[[], None]) -> None:
        """Call `wake` after every commit of this process."""
        self._wake = wake

    async def write(self, connection: AsyncConnection, batches: Sequence[Accepted]) -> None:
        """See `RecordSink`."""
        edges = [
            AlarmEdge(
                batch.kid,
                record.component,
                record.code,
                record.edge,
                record.severity,
                at,
                AlarmOrigin.KIOSK,
                record.hist,
                record.detail,
            )
            for batch in batches
            for record, at in zip(batch.records, batch.moments, strict=True)
            if isinstance(record, AlarmRecord)
        ]
        await self._store.apply_in(connection, edges, self._clock.utc())

    def committed(self) -> None:
        """See `RecordSink`."""
        self._wake()
