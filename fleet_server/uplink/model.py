"""What the uplink hands around inside the server. Instants are microseconds since 1970 UTC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from fleet_server.uplink.intervals import Range
from fleet_server.uplink.times import Basis
from wire.uplink import AnyRecord

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Sender:
    """Whose batch it is and when it came."""

    kid: str
    kiosk_no: int
    received_us: int


@dataclass(frozen=True, slots=True)
class Stream:
    """One kiosk's epoch: the space in which sequence numbers are unique. `no` names it in big tables."""

    no: int
    epoch: str


@dataclass(frozen=True, slots=True)
class Samples:
    """The telemetry records of a batch that travel outside the evidence chain, in columns."""

    seqs: Sequence[int] = ()
    at_us: Sequence[int] = ()
    kiosk_us: Sequence[int] = ()
    hist: Sequence[bool] = ()
    component: Sequence[str] = ()
    span_s: Sequence[float | None] = ()
    values: Sequence[Mapping[str, float]] = ()

    def at(self, places: Sequence[int]) -> Samples:
        """Some of them, by place."""
        columns = [getattr(self, name) for name in self.__slots__]
        return Samples(*([column[place] for place in places] for column in columns))


@dataclass(frozen=True, slots=True)
class Evidence:
    """Any other record: an alarm edge, an event, an audit entry and so on.

    `body` is its canonical JSON without the chain fields and the backlog flag, the very text `digest` covers.
    """

    record: AnyRecord
    at_us: int
    kiosk_us: int
    basis: Basis
    body: str
    digest: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that breaks the schema; kept as it came, so that nothing is lost and nothing is blocked."""

    seq: int
    reason: str
    content: str


@dataclass(frozen=True, slots=True)
class Header:
    """What of a batch is needed until it is committed; its records are not kept in memory that long.

    `seqs` are the numbers of all its records, good and bad, ascending.
    """

    sender: Sender
    epoch: str
    seqs: Sequence[int]
    void: Sequence[Range] = ()
    rejected: Sequence[Rejected] = ()
    late: int = 0
    """How many of the records come from the backlog."""
    spoiled: int = 0
    """Records without a usable number: they can neither be kept nor acknowledged."""

    @property
    def size(self) -> int:
        """How many records the batch brings, good and bad."""
        return len(self.seqs)


@dataclass(frozen=True, slots=True)
class Incoming:
    """One batch that was understood."""

    header: Header
    samples: Samples
    evidence: Sequence[Evidence]

    def only(self, wanted: frozenset[int]) -> Incoming:
        """The batch with nothing but these of its records, and without voids."""
        header = self.header
        return Incoming(
            replace(
                header,
                seqs=[seq for seq in header.seqs if seq in wanted],
                void=(),
                rejected=[item for item in header.rejected if item.seq in wanted],
            ),
            self.samples.at([place for place, seq in enumerate(self.samples.seqs) if seq in wanted]),
            [item for item in self.evidence if item.record.seq in wanted],
        )


@dataclass(slots=True)
class Outcome:
    """What a committed transaction did, for receipts, counters and alarms."""

    receipts: dict[tuple[str, str], tuple[int, list[Range]]] = field(default_factory=dict)
    """By kiosk id and epoch: how far, and what above that."""
    stored: int = 0
    duplicates: int = 0
    deferred: int = 0
    """Not taken because the stream has too many gaps; the kiosk sends them again."""
    rejected: dict[str, int] = field(default_factory=dict)
    """Kiosks whose records were set aside just now, and how many."""


def to_us(moment: datetime) -> int:
    """An aware moment in microseconds since 1970 UTC."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def to_moment(at_us: int) -> datetime:
    """The inverse of `to_us`."""
    return _EPOCH + timedelta(microseconds=at_us)
