"""The audit trail: its rows, and the chain that holds them together. Pure.

Row n's chain value covers row n-1's value and the canonical JSON of row n. An edit, a gap or a changed order is found
by walking; a cut end shows against the head, which is kept beside the rows; a whole trail put back shows against a head
that was noted elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from wire.envelope import Scalar, canonical_digest
from wire.uplink import CHAIN_START, chain_next

__all__ = ["CHAIN_START", "AuditBreak", "AuditEntry", "AuditHead", "AuditRow", "chained", "walk"]


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Something somebody did or tried. `target` is an order or a patient by our own reference."""

    actor: str
    """A kiosk, `worker`, or `console:` and the account of whoever is there."""
    action: str
    target: str | None
    outcome: str
    """`ok`, or the code of the refusal."""
    fields: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One line of the trail."""

    no: int
    at: datetime
    actor: str
    action: str
    target: str | None
    outcome: str
    fields: Mapping[str, Scalar]
    chain: str


@dataclass(frozen=True, slots=True)
class AuditHead:
    """The end of a trail."""

    no: int
    chain: str


@dataclass(frozen=True, slots=True)
class AuditBreak:
    """The first row that does not follow from the one before it."""

    no: int
    reason: str


def chained(previous: AuditHead, entry: AuditEntry, at: datetime) -> AuditRow:
    """The next row of a trail."""
    row = AuditRow(
        previous.no + 1, at, entry.actor, entry.action, entry.target, entry.outcome, dict(entry.fields), chain=""
    )
    return replace(row, chain=_value(previous.chain, row))


def walk(head: AuditHead, rows: Iterable[AuditRow]) -> Iterator[AuditBreak | AuditHead]:
    """After each row the head there, or the break at which the walk ends."""
    for row in rows:
        if row.no != head.no + 1:
            yield AuditBreak(head.no + 1, "the row is missing")
            return
        if row.chain != _value(head.chain, row):
            yield AuditBreak(row.no, "the row was changed")
            return
        head = AuditHead(row.no, row.chain)
        yield head


def _value(previous: str, row: AuditRow) -> str:
    document = {
        "no": row.no,
        "at": row.at.isoformat(),
        "actor": row.actor,
        "action": row.action,
        "target": row.target,
        "outcome": row.outcome,
        "fields": dict(row.fields),
    }
    return chain_next(previous, canonical_digest(document))
