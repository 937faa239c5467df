"""The audit trail: who did what, hash-chained row by row, so that an edit, a gap or a reordering is found.

Row n's chain value is SHA-256 over row n-1's value and the canonical JSON of row n without its chain. Cutting
off the end shows against the head, which is kept beside the rows. A whole trail put back to an older state, or
computed anew by whoever owns the database, shows against a head that was noted elsewhere: `verify` takes one, and
`kioskctl audit --verify` keeps the last one it saw.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from fleet_server.staff.model import AuditRow
from fleet_server.staff.ports import AuditEntry
from fleet_server.staff.store import AuditStore
from kit.clock import Clock
from wire.envelope import Scalar, canonical_bytes

CHAIN_START: Final = "0" * 64
_PAGE: Final = 1_000
_VALUE_LENGTH: Final = 512


@dataclass(frozen=True, slots=True)
class AuditHead:
    """The end of a trail: the number and the chain value of its last row."""

    no: int
    chain: str


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
                actor=_text(entry.actor, 64),
                action=_text(entry.action, 64),
                target=None if entry.target is None else _text(entry.target, 64),
                outcome=_text(entry.outcome, 16),
                source=None if entry.source is None else _text(entry.source, 64),
                fields={_text(name, 64): _scalar(value) for name, value in entry.fields.items()},
                chain="",
            )
            add(replace(row, chain=chain_value(last_chain, row)))

    async def verify(self, noted: AuditHead | None = None) -> AuditBreak | None:
        """Walk the whole trail; None when every row follows, the last one is the head, and `noted` is in it.

        Rows that are appended meanwhile are no break.
        """
        no, chain = 0, CHAIN_START
        while True:
            head = AuditHead(*await self._store.head())
            rows = await self._page(no)
            if isinstance(rows, AuditBreak):
                return rows
            for row in rows:
                if row.no != no + 1:
                    return AuditBreak(no + 1, "the row is missing")
                if row.chain != chain_value(chain, row):
                    return AuditBreak(row.no, "the row was changed")
                no, chain = row.no, row.chain
            if not rows:
                break
        return await self._judge_end(AuditHead(no, chain), head, noted)

    async def _judge_end(self, last: AuditHead, head: AuditHead, noted: AuditHead | None) -> AuditBreak | None:
        if head != last:
            return AuditBreak(last.no + 1, "the end of the trail is missing or was rewritten")
        if noted is None or noted.no == 0:
            return None
        if noted.no > last.no:
            return AuditBreak(last.no + 1, "the trail was put back to an older state")
        if await self._store.chain_at(noted.no) != noted.chain:
            return AuditBreak(noted.no, "the trail is not the one this head was noted of")
        return None

    async def head(self) -> AuditHead:
        """The end of the trail, to be noted elsewhere."""
        return AuditHead(*await self._store.head())

    async def chain_at(self, no: int) -> str | None:
        """The chain value of one row, None when there is no such row."""
        return await self._store.chain_at(no)

    async def _page(self, after_no: int) -> Sequence[AuditRow] | AuditBreak:
        try:
            return await self._store.rows(after_no=after_no, limit=_PAGE)
        except (ValueError, TypeError):
            return await self._unreadable(after_no)

    async def _unreadable(self, after_no: int) -> AuditBreak:
        """Find the row that cannot even be read, one by one."""
        no = after_no
        for _ in range(_PAGE):
            try:
                rows = await self._store.rows(after_no=no, limit=1)
            except (ValueError, TypeError):
                break
            if not rows or rows[0].no != no + 1:
                break
            no = rows[0].no
        return AuditBreak(no + 1, "the row cannot be read")


def _text(text: str, length: int) -> str:
    """What every store takes: no NUL, no halves of surrogate pairs, and not too long."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()[:length]


def _scalar(value: Scalar) -> Scalar:
    if isinstance(value, str):
        return _text(value, _VALUE_LENGTH)
    # jsonb keeps numbers, not how they were written: 1e2 would come back as 100 and look changed.
    return str(value) if isinstance(value, float) else value
