"""What the uplink hands around inside the server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from wire.uplink import AnyRecord


@dataclass(frozen=True, slots=True)
class Incoming:
    """One batch that was understood. `received_at` is server time."""

    kid: str
    kiosk_no: int
    epoch: str
    records: Sequence[AnyRecord]
    void: Sequence[tuple[int, int]]
    rejected: Sequence[Rejected]
    received_at: datetime

    @property
    def size(self) -> int:
        """How many records it brings, good and bad."""
        return len(self.records) + len(self.rejected)


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that breaks the wire's schema; kept as it came, so that nothing is lost and nothing is blocked."""

    seq: int
    reason: str
    content: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """What of a batch was new, with the server time of each record."""

    kid: str
    kiosk_no: int
    epoch: str
    records: Sequence[AnyRecord]
    moments: Sequence[datetime]
    received_at: datetime


@dataclass(slots=True)
class Outcome:
    """What a committed transaction did, for receipts and counters."""

    receipts: dict[tuple[str, str], tuple[int, list[tuple[int, int]]]] = field(default_factory=dict)
    stored: int = 0
    duplicates: int = 0
    deferred: int = 0
    rejected_kids: set[str] = field(default_factory=set)
