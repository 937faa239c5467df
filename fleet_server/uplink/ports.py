"""What the uplink asks of features above it, wired in the composition root."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from fleet_server.registry.model import QuarantineReason
from fleet_server.uplink.model import Incoming, Stream

Part = TypeVar("Part")


class RecordSink(Protocol[Part]):
    """Keeps some kinds of records.

    `prepare` does the work that needs no store, before the transaction; `write` runs inside the transaction that
    also moves the stream's cursor, and is the only part that can fail.
    """

    def prepare(self, batch: Incoming, stream: Stream) -> Part | None:
        """What this sink keeps of a batch, ready to be written; None when nothing of it concerns the sink."""

    async def write(self, connection: AsyncConnection, parts: Sequence[Part]) -> None:
        """Write what was prepared of several batches; all their records are new."""

    def committed(self, parts: Sequence[Part]) -> None:
        """The transaction is durable: tell whoever waits for changes."""


class Quarantine(Protocol):
    """The part of the registry that sets kiosks aside."""

    async def quarantine(self, kid: str, why: QuarantineReason, reason: str) -> bool:
        """Stop listening to a kiosk; False when it is not enrolled."""

    async def release(self, kid: str, *, only: QuarantineReason | None = None) -> None:
        """Listen to it again. Raises: Refusal."""
