"""What clients did and saw, written down as it happened and judged afterwards.

The method is Jepsen's (reference on reliability, section 3.2, recipe 4): every client appends an `invoke` line
before it acts and an `ok`, `fail` or `info` line when it knows the outcome; faults happen meanwhile; after
healing and a full drain the checkers read the file and say what was lost, doubled or made up. A history is
evidence and is kept.

`ok` means acknowledged, `fail` means it certainly did not happen, `info` or no second line means nobody knows:
an unknown thing may come out or not, both are right.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Self

Value = str | int
Item = tuple[str, Value]
"""A thing that must come out: (key, value), for example (kiosk id, sequence number)."""

Span = tuple[int, int]
"""First and last of a range, both included."""

_EXAMPLES = 10


class Outcome(StrEnum):
    """Kind of a line."""

    INVOKE = "invoke"
    OK = "ok"
    FAIL = "fail"
    INFO = "info"


class Promise(StrEnum):
    """What a queue promised its users."""

    EXACTLY_ONCE = "exactly once"
    AT_LEAST_ONCE = "at least once"
    AT_MOST_ONCE = "at most once"


@dataclass(frozen=True, slots=True)
class Event:
    """One line: who did what to which value of which key, and how it ended."""

    process: str
    outcome: Outcome
    op: str
    key: str
    value: Value
    at_ns: int = 0
    note: str = ""

    @property
    def item(self) -> Item:
        """The thing this line is about."""
        return (self.key, self.value)


class HistoryWriter:
    """Appends lines; safe for many writers in many processes, and for a writer killed at any point.

    A line is one `write` on a file opened with O_APPEND, so lines never mix and an invoke line is in the kernel
    before the act begins. It does not survive a power cut, and need not.
    """

    def __init__(
        self, path: Path, process: str | None = None, *, monotonic_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self.path = path
        self.process = process or f"p{os.getpid()}"
        self._monotonic_ns = monotonic_ns
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def write(self, outcome: Outcome, op: str, value: Value, *, key: str = "", note: str = "") -> None:
        """Append one line.

        Raises:
            OSError: the line was not written whole.
        """
        row = {"p": self.process, "o": outcome, "f": op, "k": key, "v": value, "t": self._monotonic_ns()}
        if note:
            row["n"] = note
        line = json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        if os.write(self._file, line) != len(line):
            raise OSError(f"short write to history {self.path}")

    def invoke(self, op: str, value: Value, *, key: str = "", note: str = "") -> None:
        """Write that something is about to be tried."""
        self.write(Outcome.INVOKE, op, value, key=key, note=note)

    def ok(self, op: str, value: Value, *, key: str = "", note: str = "") -> None:
        """Write that it was acknowledged, or that it came out."""
        self.write(Outcome.OK, op, value, key=key, note=note)

    def fail(self, op: str, value: Value, *, key: str = "", note: str = "") -> None:
        """Write that it certainly did not happen."""
        self.write(Outcome.FAIL, op, value, key=key, note=note)

    def info(self, op: str, value: Value, *, key: str = "", note: str = "") -> None:
        """Write that nobody knows whether it happened."""
        self.write(Outcome.INFO, op, value, key=key, note=note)

    def close(self) -> None:
        """Close the file; the history stays."""
        os.close(self._file)

    def __enter__(self) -> Self:
        """Nothing to do: the file is open."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()


class BrokenHistoryError(AssertionError):
    """A line in the middle of a history cannot be read: the evidence itself is damaged."""


@dataclass(frozen=True, slots=True)
class History:
    """Events in the order of the file; `torn_lines` counts last lines cut by a kill."""

    events: Sequence[Event]
    torn_lines: int = 0

    def of(self, op: str, *outcomes: Outcome) -> Iterator[Event]:
        """Events of one operation, of these outcomes or of all."""
        return (event for event in self.events if event.op == op and (not outcomes or event.outcome in outcomes))


def _parse(line: bytes) -> Event:
    row = json.loads(line)
    return Event(row["p"], Outcome(row["o"]), row["f"], row["k"], row["v"], row["t"], row.get("n", ""))


def read_history(*paths: Path) -> History:
    """Read one or more history files, one after the other.

    Raises:
        BrokenHistoryError: a line that is not the last of its file is unreadable.
    """
    events: list[Event] = []
    torn = 0
    for path in paths:
        lines = path.read_bytes().split(b"\n")
        torn += bool(lines.pop())
        for number, line in enumerate(lines, 1):
            try:
                events.append(_parse(line))
            except (ValueError, KeyError, TypeError) as bad:
                raise BrokenHistoryError(f"{path}:{number} is not a history line: {line[:80]!r}") from bad
    return History(events, torn)


def spans(numbers: Iterable[int]) -> list[Span]:
    """Numbers as few ranges, in order."""
    found: list[Span] = []
    for number in sorted(set(numbers)):
        if found and number == found[-1][1] + 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


def _show(items: Iterable[Item]) -> str:
    """Examples a person can look for: `k1: 3-7, 9; k2: a, b; …`."""
    by_key: dict[str, list[Value]] = {}
    for key, value in items:
        by_key.setdefault(key, []).append(value)
    parts: list[str] = []
    for key, values in sorted(by_key.items()):
        numbers = [value for value in values if isinstance(value, int)]
        texts = [f"{low}-{high}" if low != high else f"{low}" for low, high in spans(numbers)]
        texts += sorted(value for value in values if isinstance(value, str))
        more = f", … {len(texts) - _EXAMPLES} more" if len(texts) > _EXAMPLES else ""
        parts.append(f"{key + ': ' if key else ''}{', '.join(texts[:_EXAMPLES])}{more}")
    more = f"; … {len(parts) - _EXAMPLES} more keys" if len(parts) > _EXAMPLES else ""
    return "; ".join(parts[:_EXAMPLES]) + more


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule and everything that broke it."""

    rule: str
    items: tuple[Item, ...]

    def __str__(self) -> str:
        """One line for a person."""
        return f"{self.rule}: {len(self.items)} ({_show(self.items)})"


@dataclass(frozen=True, slots=True)
class Report:
    """What a checker found; prints as a short table."""

    checker: str
    counts: Mapping[str, int]
    violations: tuple[Violation, ...] = ()
    remarks: tuple[Violation, ...] = ()

    @property
    def is_ok(self) -> bool:
        """Whether nothing was broken."""
        return not self.violations

    def items(self, rule: str) -> tuple[Item, ...]:
        """What broke `rule`, empty when nothing did."""
        return tuple(item for each in (*self.violations, *self.remarks) if each.rule == rule for item in each.items)

    def __str__(self) -> str:
        """Verdict, counts, then one line per broken rule and per remark."""
        figures = ", ".join(f"{name} {count}" for name, count in self.counts.items())
        lines = [f"{self.checker}: {'holds' if self.is_ok else 'VIOLATED'} ({figures})"]
        lines += [f"  ! {violation}" for violation in self.violations]
        lines += [f"  . {remark}" for remark in self.remarks]
        return "\n".join(lines)

    def require(self, **floors: int) -> Self:
        """Return the report itself when it holds and every named count reached its floor.

        Raises:
            AssertionError: with the whole report.
        """
        assert self.is_ok, str(self)
        for name, floor in floors.items():
            count = self.counts[name]
            assert count >= floor, f"only {count} {name}, at least {floor} are needed\n{self}"
        return self


def _order(item: Item) -> tuple[str, int, str]:
    key, value = item
    return (key, value, "") if isinstance(value, int) else (key, 0, value)


def _listed(rule: str, items: Iterable[Item]) -> tuple[Violation, ...]:
    """A violation when there is something to say; in order, so that two runs print the same."""
    found = tuple(sorted(items, key=_order))
    return (Violation(rule, found),) if found else ()


@dataclass(frozen=True, slots=True)
class Voids:
    """Ranges of numbers a producer declared as given up, per key: reported, not counted as lost."""

    ranges: Mapping[str, Sequence[Span]] = field(default_factory=dict)

    def covers(self, item: Item) -> bool:
        """Whether this item was declared void."""
        key, value = item
        return isinstance(value, int) and any(low <= value <= high for low, high in self.ranges.get(key, ()))


_NO_VOIDS = Voids()


def total_queue(
    history: History,
    *,
    put: str = "put",
    take: str = "take",
    promise: Promise = Promise.EXACTLY_ONCE,
    voids: Voids = _NO_VOIDS,
) -> Report:
    """Check that what went in came out: call it only after a full drain.

    Broken rules: `lost` (acknowledged and never out; not for at most once), `duplicated` (out more than once; not
    for at least once), `never put` (out, but nobody tried), `failed but taken` (reported as not done, yet out).
    Remarks: `void` (declared as given up), `recovered` (unknown and out), `doubled` under at least once.
    """
    outcomes: dict[Item, set[Outcome]] = {}
    for event in history.of(put):
        outcomes.setdefault(event.item, set()).add(event.outcome)
    taken = Counter(event.item for event in history.of(take, Outcome.OK))
    acknowledged = {item for item, seen in outcomes.items() if Outcome.OK in seen}
    failed = {
        item for item, seen in outcomes.items() if Outcome.FAIL in seen and seen <= {Outcome.INVOKE, Outcome.FAIL}
    }
    unknown = outcomes.keys() - acknowledged - failed
    missing = [item for item in acknowledged if item not in taken]
    void = [item for item in missing if voids.covers(item)]
    lost = [item for item in missing if not voids.covers(item)] if promise is not Promise.AT_MOST_ONCE else []
    doubled = [item for item, count in taken.items() if count > 1]
    may_double = promise is Promise.AT_LEAST_ONCE
    return Report(
        checker=f"total queue, {promise}",
        counts={
            "attempted": len(outcomes),
            "acknowledged": len(acknowledged),
            "failed": len(failed),
            "unknown": len(unknown),
            "taken": len(taken),
            "takes": taken.total(),
            "void": len(void),
            "torn lines": history.torn_lines,
        },
        violations=(
            *_listed("lost", lost),
            *_listed("duplicated", () if may_double else doubled),
            *_listed("never put", (item for item in taken if item not in outcomes)),
            *_listed("failed but taken", (item for item in taken if item in failed)),
        ),
        remarks=(
            *_listed("void", void),
            *_listed("recovered", (item for item in taken if item in unknown)),
            *_listed("doubled", doubled if may_double else ()),
        ),
    )


def unique_values(history: History, op: str) -> Report:
    """Check that no value of a key was given out twice."""
    given = Counter(event.item for event in history.of(op, Outcome.OK))
    return Report(
        checker=f"unique {op}",
        counts={"given": given.total(), "keys": len({key for key, _ in given})},
        violations=_listed("given twice", (item for item, count in given.items() if count > 1)),
    )


def monotone(history: History, op: str, *, strict: bool = False) -> Report:
    """Check that the numbers each reader saw of a key never went back (with `strict`: always went up)."""
    last: dict[tuple[str, str], int] = {}
    back: list[Item] = []
    seen = 0
    for event in history.of(op, Outcome.OK):
        if not isinstance(event.value, int):
            raise BrokenHistoryError(f"{op} of {event.key} is {event.value!r}: only numbers have an order")
        reader = (event.process, event.key)
        before = last.get(reader)
        if before is not None and (event.value < before or (strict and event.value == before)):
            back.append(event.item)
        last[reader] = event.value
        seen += 1
    name = "strictly rising" if strict else "never falling"
    return Report(f"{name} {op}", {"seen": seen, "readers": len(last)}, _listed("went back", back))


def gaps(
    received: Mapping[str, Iterable[int]], *, first: int = 1, through: Mapping[str, int], voids: Voids = _NO_VOIDS
) -> Report:
    """Check that of each key every number from `first` through its last one is there or was declared void.

    A key that is absent in `received` has received nothing.
    """
    missing: list[Item] = []
    void: list[Item] = []
    beyond: list[Item] = []
    count = 0
    for key, last in through.items():
        have = set(received.get(key, ()))
        count += len(have)
        beyond += [(key, number) for number in have if number > last or number < first]
        for number in range(first, last + 1):
            if number not in have:
                (void if voids.covers((key, number)) else missing).append((key, number))
    stray = [(key, number) for key, numbers in received.items() if key not in through for number in numbers]
    return Report(
        checker="gaps",
        counts={"keys": len(through), "received": count, "missing": len(missing), "void": len(void)},
        violations=(
            *_listed("missing", missing),
            *_listed("outside the range", beyond),
            *_listed("unknown key", stray),
        ),
        remarks=_listed("void", void),
    )


def paired(history: History, op: str, proof: str) -> Report:
    """Check that every acknowledged `op` has exactly one acknowledged `proof`, for example its audit row."""
    done = Counter(event.item for event in history.of(op, Outcome.OK))
    attempted = {event.item for event in history.of(op)}
    proofs = Counter(event.item for event in history.of(proof, Outcome.OK))
    return Report(
        checker=f"{op} has one {proof}",
        counts={"done": len(done), "proofs": proofs.total()},
        violations=(
            *_listed("without proof", (item for item in done if item not in proofs)),
            *_listed("proved twice", (item for item, count in proofs.items() if count > 1)),
            *_listed("proof of nothing", (item for item in proofs if item not in attempted)),
        ),
    )
