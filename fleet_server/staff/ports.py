"""The audit trail as every feature above sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from wire.envelope import Scalar


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what to whom; `fields` hold no secret and nothing of a patient."""

    actor: str
    action: str
    target: str | None
    outcome: str
    fields: Mapping[str, Scalar] = field(default_factory=dict)
    source: str | None = None
    """The network address it came from."""


class Auditor(Protocol):
    """Appends to the audit trail."""

    async def record(self, entry: AuditEntry) -> None:
        """Append one row."""
