"""The duty killed at every durable call: no incident, member or event is lost, and none is there twice."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fleet_server.app import MIGRATIONS
from kit.store import Database, upgrade
from support.crash_sweep import Point, Workload, sweep_crashes
from support.incident_work import FILE, fill, url

TESTS = Path(__file__).resolve().parents[2]
FILES = (".", FILE, f"{FILE}-wal", f"{FILE}-shm", f"{FILE}-journal")
_QUERIES = {
    "incidents": "SELECT number, state, cause, scope, scope_name, since, recovered_at, flaps FROM incidents_incident "
    "WHERE number > 0",
    "members": "SELECT i.number, m.kid, m.component, m.code, m.part, m.cleared_at FROM incidents_member m "
    "JOIN incidents_incident i ON i.id = m.incident WHERE i.number > 0",
    "events": "SELECT i.number, e.kind, e.at, e.fields FROM incidents_event e JOIN incidents_incident i "
    "ON i.id = e.incident",
    "place": "SELECT change_seq, n FROM incidents_cursor",
    "numbers": "SELECT count(*) - count(DISTINCT number) FROM incidents_incident WHERE number > 0",
}


def command(state: Path) -> Sequence[str]:
    return [sys.executable, "-m", "support.incident_work", str(state)]


def prepare(state: Path) -> None:
    """A migrated store with the log of edges; nothing of it is worked off."""
    upgrade(url(state), MIGRATIONS)

    async def write() -> None:
        database = Database(url(state))
        await fill(database)
        await database.close()

    asyncio.run(write())


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
            for row in rows - found[name]:
                yield f"lost of the {name}: {row}"
            for row in found[name] - rows:
                yield f"too much of the {name}: {row}"


def workload(judge: Judge) -> Workload:
    env = {"PYTHONPATH": f"{TESTS}:{TESTS.parent}"}
    return Workload(command, FILES, judge, prepare=prepare, env=env, timeout_s=60.0)


def sound(judge: Judge) -> None:
    """The undisturbed life is the one that is meant: what was compared is not empty."""
    causes = Counter((row[2], row[3]) for row in judge.whole["incidents"].elements())
    assert causes["kiosk_offline", "switch"] == 1
    assert causes["paper_out", "component"] == 1
    assert judge.whole["numbers"] == Counter([(0,)])
    assert len(judge.whole["events"]) >= 9


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_duty_killed_here_and_there(tmp_path: Path) -> None:
    judge = Judge()
    sweep_crashes(workload(judge), double_every=0, stride=60, offset=20, directory=tmp_path).require(floor=1)
    sound(judge)


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_the_duty_killed_everywhere(tmp_path: Path) -> None:
    judge = Judge()
    sweep_crashes(workload(judge), double_every=25, directory=tmp_path).require(floor=60, double_floor=10)
    sound(judge)
