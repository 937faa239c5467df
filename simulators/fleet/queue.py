"""The light kiosk's outbox: in memory, otherwise with the rules of the uplink protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wire.uplink import AnyRecord, Batch, Receipt

BATCH_RECORDS = 100


@dataclass(slots=True)
class _Waiting:
    record: AnyRecord
    sent_at_s: float | None = None


class MemoryOutbox:
    """Records of one epoch that no receipt has covered yet."""

    def __init__(self, epoch: str) -> None:
        self.epoch = epoch
        self._waiting: dict[int, _Waiting] = {}
        self._last_seq = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def next_seq(self) -> int:
        """The number of the next record."""
        self._last_seq += 1
        return self._last_seq

    def reserve(self, count: int) -> int:
        """Set that many numbers aside and return the first of them."""
        first = self._last_seq + 1
        self._last_seq += count
        return first

    def add(self, record: AnyRecord) -> None:
        """Keep a record until a receipt covers it."""
        self._waiting[record.seq] = _Waiting(record)

    def due(self, now_s: float, *, resend_after_s: float, limit: int) -> Sequence[Batch]:
        """At most `limit` batches of what was never sent or waits too long for a receipt; they count as sent now."""
        due = [
            waiting
            for waiting in self._waiting.values()
            if waiting.sent_at_s is None or now_s - waiting.sent_at_s >= resend_after_s
        ][: max(0, limit) * BATCH_RECORDS]
        for waiting in due:
            waiting.sent_at_s = now_s
        records = sorted((waiting.record for waiting in due), key=lambda record: record.seq)
        return [
            Batch(epoch=self.epoch, first_seq=part[0].seq, records=part)
            for part in (records[at : at + BATCH_RECORDS] for at in range(0, len(records), BATCH_RECORDS))
        ]

    def forget_sent(self) -> None:
        """After a lost connection nothing counts as sent."""
        for waiting in self._waiting.values():
            waiting.sent_at_s = None

    def accept(self, receipt: Receipt) -> Sequence[int]:
        """Drop what the receipt covers and return those numbers; another epoch's receipt covers nothing."""
        if receipt.epoch != self.epoch:
            return ()
        covered = [
            seq
            for seq in self._waiting
            if seq <= receipt.through_seq or any(first <= seq <= last for first, last in receipt.ranges)
        ]
        for seq in covered:
            del self._waiting[seq]
        return covered
