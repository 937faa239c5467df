"""Conditions of the machine that are alarms: thresholds with hysteresis and a time to hold, one row each."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from kit.machine import step
from wire.faults import Fault
from wire.uplink import Edge


@dataclass(frozen=True, slots=True)
class Condition:
    """Raised when the metric stays at or above `raise_at` for `hold_s`, cleared at or below `clear_at`.

    `absolute` looks at the size of a signed metric.
    """

    fault: Fault
    metric: str
    raise_at: float
    clear_at: float
    hold_s: float
    absolute: bool = False


# fmt: off
CONDITIONS: Sequence[Condition] = (
    Condition(Fault.DISK_LOW,         "disk_percent",   raise_at=90.0, clear_at=85.0, hold_s=30.0),
    Condition(Fault.DISK_FULL,        "disk_percent",   raise_at=97.0, clear_at=95.0, hold_s=5.0),
    Condition(Fault.MEMORY_LOW,       "memory_percent", raise_at=92.0, clear_at=85.0, hold_s=60.0),
    Condition(Fault.TEMPERATURE_HIGH, "temperature_c",  raise_at=85.0, clear_at=75.0, hold_s=30.0),
    Condition(Fault.CPU_BUSY,         "cpu_percent",    raise_at=95.0, clear_at=80.0, hold_s=300.0),
    Condition(Fault.CLOCK_SKEW,       "clock_offset_s", raise_at=60.0, clear_at=30.0, hold_s=10.0, absolute=True),
)
# fmt: on


class Level(StrEnum):
    """Where a condition stands."""

    CLEAR = "clear"
    PENDING = "pending"
    RAISED = "raised"


class Finding(StrEnum):
    """What a sample says about a condition."""

    HIGH = "high"
    HELD = "held"
    BETWEEN = "between"
    LOW = "low"


TABLE: Mapping[tuple[Level, Finding], Level] = {
    (Level.CLEAR, Finding.HIGH): Level.PENDING,
    (Level.CLEAR, Finding.HELD): Level.RAISED,
    (Level.CLEAR, Finding.BETWEEN): Level.CLEAR,
    (Level.CLEAR, Finding.LOW): Level.CLEAR,
    (Level.PENDING, Finding.HIGH): Level.PENDING,
    (Level.PENDING, Finding.HELD): Level.RAISED,
    (Level.PENDING, Finding.BETWEEN): Level.CLEAR,
    (Level.PENDING, Finding.LOW): Level.CLEAR,
    (Level.RAISED, Finding.HIGH): Level.RAISED,
    (Level.RAISED, Finding.HELD): Level.RAISED,
    (Level.RAISED, Finding.BETWEEN): Level.RAISED,
    (Level.RAISED, Finding.LOW): Level.CLEAR,
}


@dataclass(frozen=True, slots=True)
class Change:
    """A condition crossed an edge at this value."""

    condition: Condition
    edge: Edge
    value: float


@dataclass(slots=True)
class _Watch:
    level: Level = Level.CLEAR
    high_since_s: float | None = None


class ConditionBook:
    """Watches all conditions over successive samples. A metric that is missing changes nothing."""

    def __init__(self, conditions: Sequence[Condition] = CONDITIONS) -> None:
        self._watches = [(condition, _Watch()) for condition in conditions]

    def resume(self, raised: Collection[str]) -> None:
        """Take up where an earlier run ended: these faults are up, by their codes."""
        for condition, watch in self._watches:
            if condition.fault.value in raised:
                watch.level = Level.RAISED

    def look(self, sample: Mapping[str, float], now_s: float) -> Sequence[Change]:
        """The edges this sample crosses; `now_s` is monotonic."""
        changes = []
        for condition, watch in self._watches:
            value = sample.get(condition.metric)
            if value is not None:
                edge = _update(condition, watch, abs(value) if condition.absolute else value, now_s)
                if edge is not None:
                    changes.append(Change(condition, edge, value))
        return changes


def _update(condition: Condition, watch: _Watch, value: float, now_s: float) -> Edge | None:
    if value < condition.raise_at:
        watch.high_since_s = None
    elif watch.high_since_s is None:
        watch.high_since_s = now_s
    before, watch.level = watch.level, step(TABLE, watch.level, _finding(condition, watch, value, now_s))
    if before is not Level.RAISED and watch.level is Level.RAISED:
        return Edge.RAISE
    return Edge.CLEAR if before is Level.RAISED and watch.level is Level.CLEAR else None


def _finding(condition: Condition, watch: _Watch, value: float, now_s: float) -> Finding:
    if watch.high_since_s is not None:
        return Finding.HELD if now_s - watch.high_since_s >= condition.hold_s else Finding.HIGH
    return Finding.LOW if value <= condition.clear_at else Finding.BETWEEN
