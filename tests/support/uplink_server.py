"""The other side of the uplink, in memory: what a fleet server remembers and answers, judged record by record."""

from __future__ import annotations

from dataclasses import dataclass, field

from wire.envelope import decode, encode
from wire.uplink import CHAIN_START, AnyRecord, Batch, Receipt, chain_next, record_digest


@dataclass(slots=True)
class Ledger:
    """One epoch of one kiosk."""

    known: set[int] = field(default_factory=set)
    records: dict[int, AnyRecord] = field(default_factory=dict)
    void: set[int] = field(default_factory=set)
    order: list[int] = field(default_factory=list)

    def receipt(self, epoch: str) -> Receipt:
        """The set of what is known: all up to a number, and ranges above it."""
        through = 0
        while through + 1 in self.known:
            through += 1
        ranges: list[tuple[int, int]] = []
        for number in sorted(item for item in self.known if item > through):
            if ranges and number == ranges[-1][1] + 1:
                ranges[-1] = (ranges[-1][0], number)
            else:
                ranges.append((number, number))
        return Receipt(epoch=epoch, through_seq=through, ranges=ranges)


@dataclass(slots=True)
class UplinkServer:
    """Takes batches, answers receipts; a duplicate changes nothing and is answered all the same."""

    ledgers: dict[str, Ledger] = field(default_factory=dict)
    batches: list[Batch] = field(default_factory=list)
    duplicates: int = 0
    refuses: set[tuple[str, int]] = field(default_factory=set)
    """A batch with one of these records is never answered."""

    def take(self, payload: bytes) -> bytes | None:
        """Commit a batch and give the receipt."""
        batch = decode(Batch, payload)
        self.batches.append(batch)
        if any((batch.epoch, record.seq) in self.refuses for record in batch.records):
            return None
        ledger = self.ledgers.setdefault(batch.epoch, Ledger())
        for record in batch.records:
            if record.seq in ledger.known:
                self.duplicates += 1
                continue
            ledger.known.add(record.seq)
            ledger.records[record.seq] = record
            ledger.order.append(record.seq)
        for first, last in batch.void:
            ledger.known.update(range(first, last + 1))
            ledger.void.update(range(first, last + 1))
        return encode(ledger.receipt(batch.epoch))

    @property
    def records(self) -> list[AnyRecord]:
        """All records of all epochs, each once, in the order of arrival."""
        return [ledger.records[seq] for ledger in self.ledgers.values() for seq in ledger.order]

    def check_chain(self, epoch: str) -> int:
        """Walk the P0 chain of an epoch; how many links there are."""
        ledger = self.ledgers[epoch]
        linked = sorted(
            (record for record in ledger.records.values() if record.chain_n is not None),
            key=lambda record: record.chain_n or 0,
        )
        head = CHAIN_START
        for position, record in enumerate(linked):
            assert record.chain_n == position + 1, f"link {position + 1} is missing"
            head = chain_next(head, record_digest(record.model_dump(mode="json", exclude_unset=True)))
            assert record.chain == head, f"link {record.chain_n} does not follow"
        return len(linked)
