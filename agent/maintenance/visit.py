"""One engineer's stay: how long it lasts, what was tried, and the statement that is signed at its end."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from agent.maintenance.selftest import Finding, Outcome
from agent.maintenance.wizard import INITIAL, Step
from wire.envelope import Scalar, canonical_digest

IDLE_S: Final = 600.0
LONGEST_S: Final = 3_600.0
RESULTS_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class Result:
    """One test and how it ended."""

    no: int
    component: str
    test: str
    at: datetime
    took_s: float
    finding: Finding

    def fields(self, visit: str) -> dict[str, Scalar]:
        """The fields of its audit record; the statement at the end is made of these very ones."""
        found: dict[str, Scalar] = {
            "visit": visit,
            "no": self.no,
            "component": self.component,
            "test": self.test,
            "at": self.at.isoformat(),
            "took_s": self.took_s,
            "outcome": self.finding.outcome.value,
        }
        if self.finding.fault is not None:
            found["fault"] = self.finding.fault.value
        if self.finding.why:
            found["why"] = self.finding.why
        return {**found, **{f"value_{name}": value for name, value in list(self.finding.values.items())[:16]}}


@dataclass(frozen=True, slots=True)
class PaperChange:
    """How far a change of paper is."""

    component: str
    step: Step = INITIAL
    is_met: bool | None = None
    """What the sensor says about the step; None when it cannot tell."""
    why: str = ""
    """Why the wizard went back."""
    result_no: int | None = None
    """The test print that the engineer looks at."""


@dataclass(slots=True)
class Visit:
    """An open stay. `pass_word` is known to the page that opened it, and to nobody else."""

    number: str
    engineer: str
    opened_at: datetime
    opened_s: float
    until_s: float
    pass_word: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    results: list[Result] = field(default_factory=list)
    change: PaperChange | None = None
    is_busy: bool = False

    def touch(self, now_s: float) -> None:
        """Somebody is there."""
        self.until_s = min(now_s + IDLE_S, self.opened_s + LONGEST_S)

    def add(self, result: Result) -> Result:
        """Keep a result; with the limit reached the statement covers the newest."""
        self.results.append(result)
        del self.results[:-RESULTS_MAX]
        return result

    def settle(self, no: int, *, is_good: bool, why: str = "engineer_saw") -> Result | None:
        """What the engineer saw of a test that asked; None when it asks nothing."""
        for place, result in enumerate(self.results):
            if result.no == no and result.finding.outcome is Outcome.ASKED:
                outcome = Outcome.PASSED if is_good else Outcome.FAILED
                finding = replace(result.finding, outcome=outcome, why="" if is_good else why)
                self.results[place] = replace(result, finding=finding)
                return self.results[place]
        return None

    @property
    def next_no(self) -> int:
        """The number of the next result."""
        return self.results[-1].no + 1 if self.results else 1

    def statement(self, kiosk: str, closed_at: datetime) -> Mapping[str, Any]:  # Any: a JSON document
        """What is signed."""
        return {
            "kiosk": kiosk,
            "visit": self.number,
            "engineer": self.engineer,
            "opened_at": self.opened_at.isoformat(),
            "closed_at": closed_at.isoformat(),
            "results": [result.fields(self.number) for result in self.results],
        }


def digest(statement: Mapping[str, Any]) -> str:  # Any: a JSON document
    """The SHA-256 of a statement's canonical JSON, whose hexadecimal text is what the kiosk's key signs."""
    return canonical_digest(dict(statement))
