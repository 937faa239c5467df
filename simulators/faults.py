"""Scripted faults of outside systems: what goes wrong next, at which operation, how often.

`drop_before` closes the connection before anything happened; `drop_after` commits and then closes it without an
answer. A script is taken in order, one step per call, so that a test or a tester can say "the second query fails".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

FAULTS_MAX: Final = 1_000

Argument = str | int | float | bool


class Fault(StrEnum):
    """What can go wrong with one call."""

    DROP_BEFORE = "drop_before"
    DROP_AFTER = "drop_after"
    DELAY = "delay"
    HTTP_500 = "http_500"
    MALFORMED = "malformed"
    BAD_SIGNATURE = "bad_signature"
    DUPLICATE = "duplicate"
    REORDER = "reorder"
    WRONG_AMOUNT = "wrong_amount"
    LATE_SUCCESS = "late_success"
    CLOCK_SKEW = "clock_skew"


@dataclass(slots=True)
class ScriptedFault:
    """One line of the script."""

    operation: str
    fault: Fault
    times: int = 1
    """How many calls it still strikes."""
    after: int = 0
    """How many calls of the operation it still lets pass first."""
    args: Mapping[str, Argument] = field(default_factory=dict)

    def number(self, name: str, default: float) -> float:
        """A number among the arguments."""
        return float(self.args.get(name, default))

    def text(self, name: str, default: str) -> str:
        """A text among the arguments."""
        return str(self.args.get(name, default))


class FaultScript:
    """What goes wrong next."""

    def __init__(self) -> None:
        self._lines: list[ScriptedFault] = []

    def add(self, operation: str, fault: Fault, times: int = 1, after: int = 0, **args: Argument) -> None:
        """Let the operation fail `times` calls, once `after` calls have passed.

        Raises:
            ValueError: no operation, a count that makes no sense, or too many lines.
        """
        if not operation or times < 1 or after < 0:
            raise ValueError("a fault needs an operation, times >= 1 and after >= 0")
        if len(self._lines) >= FAULTS_MAX:
            raise ValueError("the script is full")
        self._lines.append(ScriptedFault(operation, Fault(fault), times, after, args))

    def take(self, operation: str) -> ScriptedFault | None:
        """Count one call of the operation; what strikes it, or None."""
        for line in self._lines:
            if line.operation != operation:
                continue
            if line.after > 0:
                line.after -= 1
                return None
            line.times -= 1
            if line.times == 0:
                self._lines.remove(line)
            return line
        return None

    def view(self) -> list[dict[str, object]]:
        """The lines still to come."""
        return [
            {"operation": one.operation, "fault": one.fault.value, "times": one.times, "after": one.after, **one.args}
            for one in self._lines
        ]

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        self._lines.clear()
