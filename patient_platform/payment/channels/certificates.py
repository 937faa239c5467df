"""When certificates run out, of the channels and of the kiosks' API: a figure, and a line in the log at 30 and 7 days.

A merchant certificate that has run out ends every payment of its channel at once, and a new one takes days to get.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final

from cryptography import x509

from kit.clock import Clock
from kit.logs import get_logger

SOON: Final = timedelta(days=30)
URGENT: Final = timedelta(days=7)
LOOK_EVERY_S: Final = 3_600.0
log = get_logger(__name__)


class Urgency(StrEnum):
    """How much time is left, the worst last."""

    FINE = "fine"
    SOON = "soon"
    URGENT = "urgent"
    OVER = "over"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Term:
    """How long one certificate is good for."""

    name: str
    left: timedelta | None
    """None when the file cannot be read."""

    @property
    def urgency(self) -> Urgency:
        """What that means."""
        if self.left is None:
            return Urgency.UNREADABLE
        if self.left <= timedelta(0):
            return Urgency.OVER
        if self.left <= URGENT:
            return Urgency.URGENT
        return Urgency.SOON if self.left <= SOON else Urgency.FINE

    @property
    def left_days(self) -> float | None:
        """In days; less than none when it is over."""
        return None if self.left is None else self.left.total_seconds() / 86_400


class CertificateWatch:
    """Looks at files that people replace while we run."""

    name = "certificates"

    def __init__(self, files: Mapping[str, Path], clock: Clock) -> None:
        """`files` may hold plain keys too: they never run out and are left out."""
        self._files = files
        self._clock = clock
        self._known: dict[str, Urgency] = {}
        self.terms: tuple[Term, ...] = ()

    async def run(self) -> None:
        """Look now and then until cancelled."""
        while True:
            await asyncio.to_thread(self.look)
            await asyncio.sleep(LOOK_EVERY_S)

    def look(self) -> tuple[Term, ...]:
        """Read them all; what became worse or better is logged once."""
        now = self._clock.utc()
        self.terms = tuple(term for name, file in self._files.items() if (term := _term(name, file, now)) is not None)
        for term in self.terms:
            self._tell(term)
        return self.terms

    def _tell(self, term: Term) -> None:
        before = self._known.get(term.name, Urgency.FINE)
        self._known[term.name] = term.urgency
        if term.urgency is before:
            return
        days = None if term.left_days is None else round(term.left_days, 1)
        match term.urgency:
            case Urgency.FINE:
                log.info("certificate.renewed", certificate=term.name, left_days=days)
            case Urgency.SOON:
                log.warning("certificate.expiring", certificate=term.name, left_days=days)
            case _:
                log.error("certificate.expiring", certificate=term.name, left_days=days, urgency=term.urgency.value)


def _term(name: str, file: Path, now: datetime) -> Term | None:
    try:
        content = file.read_bytes()
        if b"BEGIN PUBLIC KEY" in content:
            return None
        return Term(name, x509.load_pem_x509_certificate(content).not_valid_after_utc - now)
    except (OSError, ValueError):
        return Term(name, None)
