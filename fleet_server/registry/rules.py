"""Clone detection: what the sequence of a kiosk's sessions says.

A cloned disk has the same key, the same id and the same session counter, so the two machines take the
connection from each other again and again. Each machine has a boot id of its own, so the server sees boot
A, then B, then A: a boot id never comes back by itself. Two host fingerprints in turn say the same of
machines that were rebooted in between; a single change is a repair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

KEPT: Final = 16
"""Sessions that are remembered of each kiosk."""
ALTERNATION_WINDOW: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Sighting:
    """One session of a kiosk, as its birth told."""

    boot: str
    session: int
    fingerprint: str
    at: datetime

    def to_json(self) -> list[Any]:
        """For a JSON column."""
        return [self.boot, self.session, self.fingerprint, self.at.isoformat()]

    @classmethod
    def of_json(cls, item: Sequence[Any]) -> Sighting:
        """The inverse of `to_json`."""
        return cls(str(item[0]), int(item[1]), str(item[2]), datetime.fromisoformat(item[3]))


class CloneEvidence(StrEnum):
    """Why two machines are believed to share one identity."""

    BOOT_RETURNED = "boot_returned"
    HARDWARE_ALTERNATES = "hardware_alternates"


def is_repeat(history: Sequence[Sighting], new: Sighting) -> bool:
    """Whether this very session was seen before: a birth delivered again, or kept by the broker."""
    return any(old.boot == new.boot and old.session == new.session for old in history)


def judge(history: Sequence[Sighting], new: Sighting) -> CloneEvidence | None:
    """What a new session (not a repeat) proves, given the earlier ones, oldest first."""
    if not history:
        return None
    latest = history[-1]
    if new.boot != latest.boot and any(old.boot == new.boot for old in history):
        return CloneEvidence.BOOT_RETURNED
    if new.fingerprint != latest.fingerprint and any(
        old.fingerprint == new.fingerprint and new.at - old.at <= ALTERNATION_WINDOW for old in history
    ):
        return CloneEvidence.HARDWARE_ALTERNATES
    return None


def remembered(history: Sequence[Sighting], new: Sighting) -> list[Sighting]:
    """The history with the new session, bounded."""
    return [*history, new][-KEPT:]
