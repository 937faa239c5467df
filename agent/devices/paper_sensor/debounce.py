"""Levels that are believed only after they held for a while."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agent.devices.paper_sensor.types import InputRole


@dataclass(frozen=True, slots=True)
class Edge:
    """A level that changed; the first known level is no change."""

    role: InputRole
    is_on: bool


class Debouncer:
    """Takes what was read and when; a level counts once it was the same in reads at least `hold_s` apart."""

    def __init__(self, roles: Sequence[InputRole], *, hold_s: float) -> None:
        self._hold_s = hold_s
        self._levels: dict[InputRole, bool | None] = dict.fromkeys(roles)
        self._seen: dict[InputRole, tuple[bool, float]] = {}

    @property
    def levels(self) -> Mapping[InputRole, bool | None]:
        """What is believed."""
        return self._levels

    @property
    def is_settled(self) -> bool:
        """Whether the last read was believed already."""
        return all(self._seen.get(role, (None, 0.0))[0] == level for role, level in self._levels.items())

    def feed(self, read: Mapping[InputRole, bool], now_s: float) -> list[Edge]:
        """Take one read of all inputs; what changed by it."""
        edges = []
        for role, is_on in read.items():
            seen = self._seen.get(role)
            if seen is None or seen[0] is not is_on:
                self._seen[role] = seen = (is_on, now_s)
            before = self._levels[role]
            if before is not is_on and now_s - seen[1] >= self._hold_s:
                self._levels[role] = is_on
                if before is not None:
                    edges.append(Edge(role, is_on))
        return edges

    def forget(self) -> None:
        """Nothing is known any more."""
        self._levels = dict.fromkeys(self._levels)
        self._seen.clear()
