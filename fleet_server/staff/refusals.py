"""How many refusals reach the audit trail: enough to see who tried what, never so many that they fill the disk.

A refusal is kept once in a minute for one person and operation; the row after it says how many were left out.
People nobody knows share one more limit, since an address costs nothing. Every refusal is counted as a metric.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from fleet_server.staff.ports import AuditEntry, Auditor
from kit.clock import Clock

REFUSED: Final = "refused"
WINDOW: Final = timedelta(minutes=1)
STRANGERS: Final = frozenset({"anonymous", "unknown"})
STRANGERS_MAX: Final = 60
"""Rows of all strangers together in a window."""
PER_WINDOW: Final = {"sign_in": 5, "recovery_used": 5}
"""Operations of which more than one refusal says more: five lock an account."""
_KEPT_MAX: Final = 10_000
_ALL_STRANGERS: Final = ("", "", "")


@dataclass(slots=True)
class _Window:
    since: datetime
    rows: int = 0
    left_out: int = 0


class RefusalLimit:
    """Hands on what was done, and of refusals a bounded number; one for a process. Implements `Auditor`."""

    def __init__(self, auditor: Auditor, clock: Clock) -> None:
        """Nobody was refused yet."""
        self._auditor = auditor
        self._clock = clock
        self._windows: OrderedDict[tuple[str, str, str], _Window] = OrderedDict()

    async def record(self, entry: AuditEntry) -> None:
        """See `Auditor`."""
        if entry.outcome == REFUSED:
            left_out = self._admit(entry)
            if left_out is None:
                return
            if left_out:
                entry = replace(entry, fields={**entry.fields, "left_out": left_out})
        await self._auditor.record(entry)

    def _admit(self, entry: AuditEntry) -> int | None:
        """How many rows like it were left out since the last one; None leaves this one out, too."""
        is_stranger = entry.actor in STRANGERS
        # A person is the same person everywhere; of a stranger the address is all there is.
        key = (entry.actor, entry.action, (entry.source or "") if is_stranger else str(entry.fields.get("code", "")))
        window = self._window(key)
        if window.rows >= PER_WINDOW.get(entry.action, 1) or (is_stranger and not self._has_room_for_strangers()):
            window.left_out += 1
            return None
        left_out, window.left_out = window.left_out, 0
        window.rows += 1
        return left_out

    def _has_room_for_strangers(self) -> bool:
        window = self._window(_ALL_STRANGERS)
        window.rows += 1
        return window.rows <= STRANGERS_MAX

    def _window(self, key: tuple[str, str, str]) -> _Window:
        now = self._clock.utc()
        window = self._windows.pop(key, None) or _Window(now)
        if now - window.since >= WINDOW or now < window.since:
            window.since, window.rows = now, 0
        self._windows[key] = window
        while len(self._windows) > _KEPT_MAX:
            self._windows.popitem(last=False)
        return window
