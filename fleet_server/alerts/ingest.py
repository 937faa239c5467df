"""Alarm records of the uplink become alarms, in the transaction that stores them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from fleet_server.alerts.model import AlarmEdge, AlarmOrigin
from fleet_server.alerts.store import AlarmStore
from fleet_server.uplink.model import Incoming, Stream, to_moment
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

    def prepare(self, batch: Incoming, stream: Stream) -> list[AlarmEdge] | None:  # noqa: ARG002 - as `RecordSink` has it
        """See `RecordSink`."""
        edges = [
            AlarmEdge(
                batch.header.sender.kid,
                item.record.component,
                item.record.code,
                item.record.edge,
                item.record.severity,
                to_moment(item.at_us),
                AlarmOrigin.KIOSK,
                item.record.hist,
                item.record.detail,
            )
            for item in batch.evidence
            if isinstance(item.record, AlarmRecord)
        ]
        return edges or None

    async def write(self, connection: AsyncConnection, parts: Sequence[list[AlarmEdge]]) -> None:
        """See `RecordSink`."""
        edges = [edge for part in parts for edge in part]
        await self._store.apply_in(connection, edges, self._clock.utc())

    def committed(self, parts: Sequence[list[AlarmEdge]]) -> None:  # noqa: ARG002 - as `RecordSink` has it
        """See `RecordSink`."""
        self._wake()
