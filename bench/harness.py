"""Rows, rounds and the table."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

ROUNDS = 3
Measure = Callable[[], Awaitable[float]]


class Better(StrEnum):
    """Which way a figure should go."""

    MORE = "more"
    LESS = "less"


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound on the ratio ours / baseline, or on our figure itself when there is no baseline."""

    better: Better
    bound: float
    absolute: bool = False

    def text(self, unit: str) -> str:
        """How the table shows it."""
        sign = "≥" if self.better is Better.MORE else "≤"
        return f"{sign} {self.bound:g}{f' {unit}' if self.absolute else '×'}"

    def holds(self, ours: float, ratio: float | None) -> bool:
        """Whether the figure meets the bound."""
        figure = ours if self.absolute or ratio is None else ratio
        return figure >= self.bound if self.better is Better.MORE else figure <= self.bound


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the results; `ratio` is ours / baseline."""

    name: str
    unit: str
    ours: float
    baseline: float | None
    ratio: float | None
    goal: str
    holds: bool
    note: str = ""


def say(text: str) -> None:
    """Show progress, with the load of the machine."""
    print(f"  {text} (load {os.getloadavg()[0]:.1f})", flush=True)


def load_note() -> str:
    """The load at the end of a measurement, for a row's note."""
    return f", load {os.getloadavg()[0]:.1f}"


def row(name: str, unit: str, ours: float, baseline: float | None, goal: Goal, note: str = "") -> Row:
    """Judge one pair of figures."""
    ratio = ours / baseline if baseline else None
    return Row(
        name,
        unit,
        round(ours, 4),
        None if baseline is None else round(baseline, 4),
        None if ratio is None else round(ratio, 3),
        goal.text(unit),
        goal.holds(ours, ratio),
        note,
    )


async def interleave(cases: Mapping[str, Measure], rounds: int = ROUNDS) -> Mapping[str, float]:
    """Run all cases in turn, `rounds` times, and return each one's median."""
    figures: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(rounds):
        for name, measure in cases.items():
            figure = await measure()
            figures[name].append(figure)
            say(f"round {number + 1}/{rounds} {name}: {figure:,.3f}")
    return {name: statistics.median(values) for name, values in figures.items()}


def show(rows: Sequence[Row]) -> str:
    """The table as text."""
    lines = [f"{'name':<44} {'ours':>14} {'baseline':>14} {'ratio':>7}  {'goal':<12} holds"]
    for item in rows:
        baseline = "-" if item.baseline is None else f"{item.baseline:,.2f}"
        ratio = "-" if item.ratio is None else f"{item.ratio:.2f}"
        lines.append(
            f"{item.name:<44} {item.ours:>14,.2f} {baseline:>14} {ratio:>7}  {item.goal:<12} "
            f"{'yes' if item.holds else 'NO'}  [{item.unit}] {item.note}"
        )
    return "\n".join(lines)


def merge(path: Path, rows: Sequence[Row]) -> None:
    """Write the rows, keeping those of earlier runs under other names."""
    kept = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    fresh = {item.name for item in rows}
    document = [item for item in kept if item["name"] not in fresh] + [asdict(item) for item in rows]
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
