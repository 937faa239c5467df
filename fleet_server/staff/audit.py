"""The audit trail: who did what, hash-chained row by row, so that an edit, a gap or a reordering is found.

Row n's chain value is SHA-256 over row n-1's value and the canonical JSON of row n without its chain. Cutting
off the end shows against the head, which is kept beside the rows and exported with every report.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from fleet_server.staff.model import AuditRow
from fleet_server.staff.ports import AuditEntry
from fleet_server.staff.store import AuditStore
from kit.clock import Clock
from wire.envelope import canonical_bytes

CHAIN_START: Final = "0" * 64
_PAGE: Final = 1_000


@dataclass(frozen=True, slots=True)
class AuditBreak:
    """The first row that does not follow from the one before it."""

    no: int
    reason: str


def chain_value(previous: str, row: AuditRow) -> str:
    """The chain value `row` must carry after `previous`."""
    document = {
        "no": row.no,
        "at": row.at.isoformat(),
        "actor": row.actor,
        "action": row.action,
        "target": row.target,
        "outcome": row.outcome,
        "source": row.source,
        "fields": row.fields,
    }
    return hashlib.sha256(previous.encode() + canonical_bytes(document)).hexdigest()


class AuditTrail:
    """Appends and verifies; implements the registry's `Auditor`."""

    def __init__(self, store: AuditStore, clock: Clock) -> None:
        """Write to this store."""
        self._store = store
        self._clock = clock

    async def record(self, entry: AuditEntry) -> None:
        """Append one row. Raises: StoreBusy."""
        async with self._store.appending() as (last_no, last_chain, add):
            row = AuditRow(
                no=last_no + 1,
                at=self._clock.utc(),
                actor=entry.actor[:64],
                action=entry.action[:64],
                target=None if entry.target is None else entry.target[:64],
                outcome=entry.outcome,
                source=entry.source,
                fields=dict(entry.fields),
                chain="",
            )
            add(_with_chain(row, chain_value(last_chain, row)))

    async def verify(self) -> AuditBreak | None:
        """Walk the whole trail; None when every row follows and the last one is the head."""
        no, chain = 0, CHAIN_START
        while rows := await self._store.rows(after_no=no, limit=_PAGE):
            for row in rows:
                if row.no != no + 1:
                    return AuditBreak(no + 1, "the row is missing")
                if row.chain != chain_value(chain, row):
                    return AuditBreak(row.no, "the row was changed")
                no, chain = row.no, row.chain
        head_no, head_chain = await self._store.head()
        if (head_no, head_chain) != (no, chain):
            return AuditBreak(no + 1, "the end of the trail is missing or was rewritten")
        return None


def _with_chain(row: AuditRow, chain: str) -> AuditRow:
    return AuditRow(row.no, row.at, row.actor, row.action, row.target, row.outcome, row.source, row.fields, chain)
