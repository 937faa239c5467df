"""The duty killed at every durable call between incident and order: no order, event or number is lost or made twice."""

from __future__ import annotations

import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fleet_server.app import MIGRATIONS
from kit.store import upgrade
from support.crash_sweep import Point, Workload, sweep_crashes
from support.order_work import FILE, url

TESTS = Path(__file__).resolve().parents[2]
FILES = (".", FILE, f"{FILE}-wal", f"{FILE}-shm", f"{FILE}-journal")
_QUERIES = {
    "orders": "SELECT number, incident, state, cause, response_by, repair_at, repair_evidence, relapses,"
    " response_level, repair_level FROM orders_order",
    "targets": "SELECT o.number, t.kid, t.component, t.code FROM orders_target t"
    " JOIN orders_order o ON o.id = t.'order'",
    "events": "SELECT o.number, row_number() OVER (PARTITION BY o.number ORDER BY e.seq), e.kind, e.at, e.fields"
    " FROM orders_event e JOIN orders_order o ON o.id = e.'order'",
    "gaps": "SELECT max(seq) - count(*) FROM orders_event",
    "place": "SELECT feed_seq, next_seq FROM orders_cursor",
    "numbers": "SELECT year, value FROM orders_number",
}


def command(state: Path) -> Sequence[str]:
    return [sys.executable, "-m", "support.order_work", str(state)]


def prepare(state: Path) -> None:
    upgrade(url(state), MIGRATIONS)


@dataclass(slots=True)
class Judge:
    """Compares every end with that of the life nobody disturbed."""

    whole: dict[str, Counter[tuple[object, ...]]] = field(default_factory=dict)

    def __call__(self, point: Point) -> Iterator[str]:
        found = {}
        with closing(sqlite3.connect(point.state / FILE)) as link:
            for name, query in _QUERIES.items():
                found[name] = Counter(link.execute(query).fetchall())
        if not self.whole:
            self.whole = found
        for name, rows in self.whole.items():
            for row in (rows - found[name]) + (found[name] - rows):
                yield f"not once of the {name}: {row}"


def workload(judge: Judge) -> Workload:
    env = {"PYTHONPATH": f"{TESTS}:{TESTS.parent}"}
    return Workload(command, FILES, judge, prepare=prepare, env=env, timeout_s=60.0)


def sound(judge: Judge) -> None:
    """The undisturbed life is the one that is meant."""
    states = {row[1]: row[2] for row in judge.whole["orders"]}
    assert states == {"i1": "closed", "i2": "responded"}
    assert judge.whole["place"][4, len(judge.whole["events"]) + 1] == 1


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_orders_duty_killed_here_and_there(tmp_path: Path) -> None:
    judge = Judge()
    sweep_crashes(workload(judge), double_every=0, stride=12, offset=4, directory=tmp_path).require(floor=2)
    sound(judge)


@pytest.mark.slow
@pytest.mark.timeout(5_400)
def test_the_orders_duty_killed_everywhere(tmp_path: Path) -> None:
    judge = Judge()
    sweep_crashes(workload(judge), double_every=25, directory=tmp_path).require(floor=30, double_floor=5)
    sound(judge)
