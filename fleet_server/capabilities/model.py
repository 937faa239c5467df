"""Capabilities: what a kiosk said, and from when that is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from wire.functions import KIOSK

FUNCTIONS: Final = "functions"
"""The subject of the entry that has all functions of a kiosk; the others are named after their consumable."""
ENTRIES_MAX: Final = 64
"""Of one kiosk; what it says beyond is in the evidence only."""


@dataclass(frozen=True, slots=True)
class Entry:
    """The last that a kiosk said about one subject; `at` is server time."""

    kid: str
    component: str
    subject: str
    epoch: str
    seq: int
    at: datetime
    body: dict[str, Any]  # Any: a wire model as JSON
    change_seq: int = 0

    @property
    def key(self) -> tuple[str, str, str]:
        """What it is about."""
        return self.kid, self.component, self.subject

    @property
    def is_functions(self) -> bool:
        """Whether it has the functions."""
        return (self.component, self.subject) == (KIOSK, FUNCTIONS)
