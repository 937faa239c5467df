"""Inactivity clocks: every component has its own, so a mute part is noticed while the machine lives.

A component without evidence yet is `unknown`, never ok.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kit.clock import Clock
from wire.device_api import ComponentHealth, ComponentView
from wire.uplink import Edge


@dataclass(slots=True)
class _Part:
    kind: str
    silent_after_s: float
    registered_s: float
    last_evidence_s: float | None = None
    health: ComponentHealth = ComponentHealth.UNKNOWN
    detail: str | None = None
    is_silent: bool | None = None
    """None: not settled since the start; an earlier run may have left an alarm up."""


class ComponentBook:
    """The parts of this kiosk and when each last gave a sign of life."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._parts: dict[str, _Part] = {}

    def register(self, name: str, kind: str, *, silent_after_s: float) -> None:
        """Expect a sign of life of this part at least every `silent_after_s` from now on."""
        self._parts[name] = _Part(kind, silent_after_s, self._clock.monotonic())

    def evidence(self, name: str, health: ComponentHealth, detail: str | None = None) -> None:
        """A part gave a sign of life.

        Raises:
            KeyError: the part was never registered, which is a bug.
        """
        part = self._parts[name]
        part.last_evidence_s = self._clock.monotonic()
        part.health, part.detail = health, detail

    def edges(self) -> Sequence[tuple[str, Edge]]:
        """Parts that fell silent, came back, or gave their first sign of life since the last call."""
        now_s = self._clock.monotonic()
        changed = []
        for name, part in self._parts.items():
            since_s = part.registered_s if part.last_evidence_s is None else part.last_evidence_s
            is_silent = now_s - since_s > part.silent_after_s
            is_settled = is_silent or part.last_evidence_s is not None
            if is_settled and is_silent is not part.is_silent:
                part.is_silent = is_silent
                changed.append((name, Edge.RAISE if is_silent else Edge.CLEAR))
        return changed

    def views(self) -> list[ComponentView]:
        """All parts as the local API shows them."""
        now_s = self._clock.monotonic()
        return [
            ComponentView(
                name=name,
                kind=part.kind,
                health=ComponentHealth.SILENT if part.is_silent else part.health,
                last_evidence_age_s=None if part.last_evidence_s is None else round(now_s - part.last_evidence_s, 1),
                detail=part.detail,
            )
            for name, part in self._parts.items()
        ]
