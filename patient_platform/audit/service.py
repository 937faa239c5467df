"""The audit trail as the platform uses it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Final

from kit.clock import Clock
from kit.web import Audited
from patient_platform.audit.model import CHAIN_START, AuditBreak, AuditEntry, AuditHead, AuditRow, walk
from patient_platform.audit.store import AuditStore
from patient_platform.identity.access import KioskPrincipal

_PAGE: Final = 1_000
_OK: Final = 400
_ORDER: Final = re.compile(r"/orders/([0-9A-Z]{26})(?:/|$)")
_PAPER: Final = re.compile(r"/papers/([0-9A-Z]{26})$")
_SESSION: Final = re.compile(r"/sessions/([0-9a-f]{32})(?:/|$)")
_SHOWN: Final = 16


class AuditTrail:
    """Notes what kiosks ask for and proves that nobody changed the notes."""

    def __init__(self, store: AuditStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def note(self, entry: AuditEntry) -> None:
        """Add a row. Raises: StoreBusy."""
        await self._store.append(entry, self._clock.utc())

    async def operation(self, audited: Audited[KioskPrincipal]) -> None:
        """One request of a kiosk that changes something; its body is nobody's business."""
        order = _ORDER.search(audited.path) or _PAPER.search(audited.path)
        session = _SESSION.search(audited.path)
        # A session's number opens it for half an hour: only what tells sessions apart is kept.
        fields = {} if session is None else {"session": hashlib.sha256(session[1].encode()).hexdigest()[:_SHOWN]}
        entry = AuditEntry(
            actor="unknown" if audited.principal is None else audited.principal.id,
            action=audited.operation[:64],
            target=None if order is None else order[1],
            outcome="ok" if audited.status < _OK else (audited.code or str(audited.status))[:64],
            fields=fields,
        )
        await self.note(entry)

    async def identified(self, kiosk: str, kind: str, patient: str, *, is_new: bool) -> None:
        """A kiosk was told who somebody is."""
        await self.note(AuditEntry(kiosk, "patient.identified", patient, "ok", {"medium": kind, "is_new": is_new}))

    async def rows(self, limit: int, target: str | None = None) -> Sequence[AuditRow]:
        """The newest rows."""
        return await self._store.rows(limit=limit, target=target, newest_first=True)

    async def head(self) -> AuditHead:
        """The end of the trail, to be noted elsewhere."""
        return await self._store.head()

    async def verify(self, noted: AuditHead | None = None) -> AuditBreak | None:
        """Walk the whole trail; None when every row follows, the last is the head, and `noted` was on the way."""
        end, at = await self._store.head(), AuditHead(0, CHAIN_START)
        met = noted is None or noted.no == 0
        while rows := await self._page(at.no):
            if isinstance(rows, AuditBreak):
                return rows
            for step in walk(at, rows):
                if isinstance(step, AuditBreak):
                    return step
                at = step
                if noted is not None and step.no == noted.no:
                    if step.chain != noted.chain:
                        return AuditBreak(step.no, "the trail is not the one this head was noted of")
                    met = True
        if at.no < end.no or (at.no == end.no and at.chain != end.chain):
            return AuditBreak(at.no + 1, "the end of the trail is missing or was rewritten")
        return None if met else AuditBreak(at.no + 1, "the trail was put back to an older state")

    async def _page(self, after_no: int) -> Sequence[AuditRow] | AuditBreak:
        try:
            return await self._store.rows(after_no=after_no, limit=_PAGE)
        except (ValueError, TypeError):
            return AuditBreak(after_no + 1, "this row, or one of the thousand after it, cannot be read")
