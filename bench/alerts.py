"""From an edge on a device to the notification, and bursts of edges that the store has to take."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic

from bench.figures import percentile, rss_mib
from bench.harness import Better, Goal, Row, load_note, row, say
from bench.site import folder, site
from fleet_server.alerts.model import AlarmEdge, AlarmOrigin
from fleet_server.alerts.store import AlarmStore
from fleet_server.app import MIGRATIONS
from kit.store import Database, migrate
from support.fleet_desk import Phone, paging_environ, phone
from support.waiting import wait_for
from wire.faults import FACTS, Fault
from wire.uplink import Edge

KIOSKS = 100
EVERY_S = 0.5
BURST = 10_000
BURSTS = 10
GROUP = 225
"""Edges of one transaction, as ingest commits them."""
START = datetime(2026, 11, 24, tzinfo=UTC)
FAULTS = (Fault.PAPER_OUT, Fault.PAPER_JAM, Fault.CUTTER_ERROR, Fault.DEVICE_ERROR, Fault.UNPLUGGED)


async def alerts() -> list[Row]:
    """All rows."""
    return [await _to_the_phone(), *await _bursts()]


async def _to_the_phone() -> Row:
    say(f"paper runs out at {KIOSKS} kiosks, one after the other")
    async with phone() as called, site() as place:
        os.environ.update(paging_environ(place.hospital.folder / "paging", called))
        await place.start_server()
        crowd = await place.start_crowd(KIOSKS)
        sent: dict[str, float] = {}
        for number in range(1, KIOSKS + 1):
            kid = f"sim-{number:04d}"
            sent[kid] = datetime.now(UTC).timestamp()
            await crowd.post(f"/kiosks/{kid}/alarms", {"code": "paper_out", "component": "receipt_printer"})
            await asyncio.sleep(EVERY_S)
        await wait_for(lambda: len(_waits(called, sent)) == KIOSKS, timeout_s=60.0, what="every notification")
        found = _waits(called, sent)
        note = f"p50 {percentile(found, 0.5):.2f} s; {KIOSKS} kiosks, a signed webhook{load_note()}"
    return row(
        "alerts.edge_to_notification_p99",
        "s",
        percentile(found, 0.99),
        None,
        Goal(Better.LESS, 5.0, absolute=True),
        note,
    )


def _waits(called: Phone, sent: dict[str, float]) -> list[float]:
    """Seconds of the first notification of each kiosk."""
    first: dict[str, float] = {}
    for at, said in called.rang:
        kid = next((kid for kid in sent if kid in said["where"]), None)
        if kid is not None:
            first.setdefault(kid, at.timestamp() - sent[kid])
    return list(first.values())


async def _bursts() -> list[Row]:
    """Ten bursts of ten thousand edges into SQLite, beside plain inserts of as many rows in as many transactions."""
    say(f"{BURSTS} bursts of {BURST:,} edges")
    async with folder() as place:
        url = f"sqlite+aiosqlite:///{place / 'fleet.db'}"
        await migrate(url, MIGRATIONS)
        database = Database(url)
        store = AlarmStore(database)
        await _burst(store, 0)
        before = rss_mib(os.getpid())
        ours = [await _burst(store, number) for number in range(1, BURSTS + 1)]
        grown = rss_mib(os.getpid()) - before
        await database.close()
        bare = [await asyncio.to_thread(_bare, place / f"bare-{number}.db") for number in range(3)]
    little = Goal(Better.LESS, 16.0, absolute=True)
    note = f"{BURST:,} edges of {KIOSKS} kiosks, {GROUP} a transaction, the worst of {BURSTS}{load_note()}"
    return [
        row("alerts.burst_10000", "s", max(ours), min(bare), Goal(Better.LESS, 1.0, absolute=True), note),
        row("alerts.burst_memory", "MiB", grown, None, little, f"after {BURSTS} bursts"),
    ]


def _edges(burst: int) -> list[AlarmEdge]:
    """Every alarm of a small fleet up and down in turn."""
    found = []
    for number in range(BURST):
        fault = FAULTS[number % len(FAULTS)]
        kid = f"k-{(number // len(FAULTS)) % KIOSKS:04d}"
        turn = burst * BURST + number // (len(FAULTS) * KIOSKS)
        edge = Edge.RAISE if turn % 2 == 0 else Edge.CLEAR
        at = START + timedelta(seconds=burst * BURST + number)
        found.append(AlarmEdge(kid, "printer", fault.value, edge, FACTS[fault].severity, at, AlarmOrigin.KIOSK))
    return found


async def _burst(store: AlarmStore, number: int) -> float:
    edges = _edges(number)
    started_s = monotonic()
    for start in range(0, BURST, GROUP):
        group = edges[start : start + GROUP]
        await store.apply(group, group[-1].at)
    return monotonic() - started_s


def _bare(file: Path) -> float:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE edge (kid TEXT, component TEXT, code TEXT, edge TEXT, severity TEXT, at TEXT)")
        rows = [(one.kid, one.component, one.code, one.edge, one.severity, one.at.isoformat()) for one in _edges(0)]
        started_s = monotonic()
        for start in range(0, BURST, GROUP):
            with connection:
                connection.executemany("INSERT INTO edge VALUES (?,?,?,?,?,?)", rows[start : start + GROUP])
        return monotonic() - started_s
