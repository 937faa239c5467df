"""Event records about functions and consumables, taken in the transaction that stores them as evidence."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from fleet_server.capabilities.model import Entry
from fleet_server.capabilities.rules import read
from fleet_server.capabilities.store import CapabilityStore
from fleet_server.uplink.model import Incoming, Stream, to_moment
from wire.uplink import EventRecord


class CapabilitySink:
    """A sink of the uplink."""

    def __init__(self, store: CapabilityStore) -> None:
        """Keep entries in this store."""
        self._store = store
        self._wake: Callable[[], None] = lambda: None

    def on_change(self, wake: Callable[[], None]) -> None:
        """Call `wake` after every commit of this process."""
        self._wake = wake

    def prepare(self, batch: Incoming, stream: Stream) -> list[Entry] | None:  # noqa: ARG002 - as `RecordSink` has it
        """See `RecordSink`."""
        found = []
        kid, epoch = batch.header.sender.kid, batch.header.epoch
        for item in batch.evidence:
            record = item.record
            if isinstance(record, EventRecord) and (said := read(record)) is not None:
                subject, body = said
                at = to_moment(item.at_us)
                found.append(Entry(kid, record.component, subject, epoch, record.seq, at, body))
        return found or None

    async def write(self, connection: AsyncConnection, parts: Sequence[list[Entry]]) -> None:
        """See `RecordSink`."""
        await self._store.apply_in(connection, [entry for part in parts for entry in part])

    def committed(self, parts: Sequence[list[Entry]]) -> None:  # noqa: ARG002 - as `RecordSink` has it
        """See `RecordSink`."""
        self._wake()
