"""Ingest: the same messages through the fleet server and through bare lines, rows a second.

All lines take the messages over mutual TLS from the product's own broker with its own configuration; one process
sends them. The clock runs from the first message to the last commit, for us to the last receipt at the sender.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import statistics
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from bench.figures import CpuMeter
from bench.harness import ROUNDS, Better, Goal, Row, load_note, row, say
from bench.messages import Plan, payloads, save
from bench.site import Site, site
from kit.clock import SystemClock, ulid
from support.hospital import Hospital

CONNECTIONS = 20
BATCHES = 60
ROUND_TIMEOUT_S = 120.0
UNLIMITED = {"FLEET_UPLINK__RECORDS_PER_S": "1000000", "FLEET_UPLINK__BURST_RECORDS": "100000000"}
"""A bench floods; the limiter counts all the same."""
_POSTGRES_TABLE = """
DROP TABLE IF EXISTS bench_sample;
CREATE TABLE bench_sample (
    kiosk_no int NOT NULL, at timestamptz NOT NULL, stream_no int NOT NULL, seq bigint NOT NULL,
    kiosk_at timestamptz NOT NULL, received_at timestamptz NOT NULL, hist boolean NOT NULL, span_s float8,
    component text NOT NULL, sample jsonb NOT NULL
) PARTITION BY RANGE (at);
CREATE INDEX ON bench_sample (kiosk_no, at);
CREATE INDEX ON bench_sample USING brin (at) WITH (pages_per_range = 16, autosummarize = on);
CREATE TABLE bench_sample_all PARTITION OF bench_sample DEFAULT;
"""
_SQLITE_TABLE = """
CREATE TABLE bench_sample (
    kiosk_no INTEGER NOT NULL, at INTEGER NOT NULL, stream_no INTEGER NOT NULL, seq INTEGER NOT NULL,
    kiosk_at INTEGER NOT NULL, received_at INTEGER NOT NULL, hist INTEGER NOT NULL, span_s REAL,
    component TEXT NOT NULL, sample TEXT NOT NULL
);
CREATE INDEX bench_kiosk ON bench_sample (kiosk_no, at);
CREATE INDEX bench_at ON bench_sample (at);
"""


@dataclass(frozen=True, slots=True)
class Line:
    """One measurement."""

    rows_per_s: float
    cpu_us: float


@dataclass(slots=True)
class Bench:
    """The installation, the messages, and what was measured so far."""

    place: Site
    plan: Plan
    plan_file: Path
    measured: dict[str, list[Line]] = field(default_factory=dict)

    @property
    def hospital(self) -> Hospital:
        """The installation."""
        return self.place.hospital

    async def rounds(self, lines: Mapping[str, Callable[[], Awaitable[Line]]]) -> None:
        """All lines in turn, `ROUNDS` times."""
        for number in range(ROUNDS):
            for name, measure in lines.items():
                found = await measure()
                self.measured.setdefault(name, []).append(found)
                say(f"round {number + 1}/{ROUNDS} {name}: {found.rows_per_s:,.0f} rows/s, {found.cpu_us:.1f} µs CPU")

    def rate(self, name: str) -> float:
        """The median of a line."""
        return statistics.median(line.rows_per_s for line in self.measured[name])

    def cpu_us(self, name: str) -> float:
        """The same of the processor time of its process, per row."""
        return statistics.median(line.cpu_us for line in self.measured[name])


async def ingest() -> list[Row]:
    """PostgreSQL beside the limit and beside bare paho and pydantic; SQLite beside bare paho and executemany."""
    async with _bench("postgresql") as on_postgres:
        await on_postgres.rounds(
            {
                "limit": lambda: _bare(on_postgres, "limit"),
                "paho": lambda: _bare(on_postgres, "paho"),
                "ours": lambda: _ours(on_postgres),
            }
        )
    async with _bench("sqlite") as on_sqlite:
        await on_sqlite.rounds(
            {"paho_sqlite": lambda: _bare(on_sqlite, "paho_sqlite"), "ours": lambda: _ours(on_sqlite)}
        )
    return [
        _row("ingest.postgresql_vs_limit", on_postgres, "limit", 0.75),
        _row("ingest.postgresql_vs_paho", on_postgres, "paho", 0.9),
        _row("ingest.sqlite_vs_paho", on_sqlite, "paho_sqlite", 0.7),
    ]


def _row(name: str, found: Bench, baseline: str, bound: float) -> Row:
    note = f"CPU {found.cpu_us('ours'):.1f} and {found.cpu_us(baseline):.1f} µs/row in the process{load_note()}"
    return row(name, "rows/s", found.rate("ours"), found.rate(baseline), Goal(Better.MORE, bound), note)


@asynccontextmanager
async def _bench(store: str) -> AsyncIterator[Bench]:
    async with site(store) as place:
        hospital = place.hospital
        hospital.run(
            "fleet_server", "lab-identities", "--count", str(CONNECTIONS), "--out", str(hospital.identities_dir)
        )
        hospital.run("fleet_server", "worker-cert", "bench")
        folders = sorted(entry for entry in hospital.identities_dir.iterdir() if entry.is_dir())
        made = [payloads(BATCHES, number) for number in range(CONNECTIONS)]
        worker = hospital.fleet_dir / "pki" / "workers" / "fleet-bench"
        plan = Plan(
            host="127.0.0.1",
            port=hospital.broker_port,
            ca_file=str(hospital.identities_dir / "ca.pem"),
            sender_files=[(each.name, str(each / "cert.pem"), str(each / "key.pem")) for each in folders],
            payloads=[batches for batches, _ in made],
            warm_up=made[0][1],
            kiosk_nos=dict(_query(hospital, "SELECT kid, no FROM registry_kiosk")),
            subscriber=("fleet-bench", f"{worker}.pem", f"{worker}.key"),
        )
        file = hospital.folder / "plan.pickle"
        save(file, plan)
        size = sum(len(batch) for batches, _ in made for batch in batches) / plan.records
        say(f"{store}: {plan.records} records of {size:.0f} bytes from {CONNECTIONS} connections")
        yield Bench(place, plan, file)


async def _bare(bench: Bench, side: str) -> Line:
    store = _fresh_table(bench.hospital)
    async with _process("bench.lines", side, str(bench.plan_file), store) as line, _publisher(bench, "acks") as sender:
        sent = await _go(sender)
        done = await _answer(line)
    count = _query(bench.hospital, "SELECT count(*) FROM bench_sample", store)[0][0]
    assert count == bench.plan.records, f"{count} of {bench.plan.records} rows"
    return Line(bench.plan.records / (done["committed_s"] - sent["started_s"]), done["cpu_s"] / count * 1e6)


async def _ours(bench: Bench) -> Line:
    """The ingest process of the fleet server, with everything it does for a record."""
    _query(bench.hospital, _EMPTY[bench.hospital.database_url.partition(":")[0]])
    environ = bench.hospital.environ() | UNLIMITED
    server = bench.hospital.start("fleet_server", "run", "--role", "ingest", name="ingest", environ=environ)
    try:
        async with _publisher(bench, "receipts") as sender:
            meter = CpuMeter((server.pid,))
            sent = await _go(sender)
            cpu_s = meter.used_s
    finally:
        server.terminate(timeout_s=10.0)
    count = _query(bench.hospital, "SELECT count(*) FROM telemetry_sample")[0][0]
    assert count == bench.plan.records + CONNECTIONS, f"{count} of {bench.plan.records} rows"
    return Line(bench.plan.records / (sent["receipt_s"] - sent["started_s"]), cpu_s / count * 1e6)


_EMPTY = {"sqlite+aiosqlite": "DELETE FROM telemetry_sample", "postgresql+psycopg": "TRUNCATE telemetry_sample"}


def _fresh_table(hospital: Hospital) -> str:
    """An empty table of a baseline; where it is."""
    if hospital.database_url.startswith("sqlite"):
        path = hospital.folder / "bare.db"
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        with closing(sqlite3.connect(path)) as link:
            link.executescript(_SQLITE_TABLE)
        return str(path)
    store = hospital.database_url.replace("+psycopg", "")
    with psycopg.connect(store, autocommit=True) as link:
        link.execute(_POSTGRES_TABLE.encode())
    return store


def _query(hospital: Hospital, statement: str, store: str = "") -> Sequence[Any]:
    """Rows of one statement, in the installation's store or another one."""
    if hospital.database_url.startswith("sqlite"):
        with closing(sqlite3.connect(store or hospital.database_url.partition(":///")[2])) as link, link:
            return link.execute(statement).fetchall()
    with psycopg.connect(hospital.database_url.replace("+psycopg", ""), autocommit=True) as server:
        cursor = server.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


@asynccontextmanager
async def _process(*command: str) -> AsyncIterator[Process]:
    """A process of the bench that has said that it is ready."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", *command, stdin=PIPE, stdout=PIPE)
    try:
        assert process.stdout is not None
        async with asyncio.timeout(60.0):
            said = await process.stdout.readline()
        assert said == b"ready\n", f"{command[0]} said {said!r}"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@asynccontextmanager
async def _publisher(bench: Bench, mode: str) -> AsyncIterator[Process]:
    async with _process("bench.publisher", str(bench.plan_file), ulid(SystemClock()), mode) as process:
        yield process


async def _go(sender: Process) -> dict[str, Any]:
    assert sender.stdin is not None
    sender.stdin.write(b"go\n")
    answer = await _answer(sender)
    assert answer["is_complete"]
    return answer


async def _answer(process: Process) -> dict[str, Any]:
    assert process.stdout is not None
    async with asyncio.timeout(ROUND_TIMEOUT_S):
        found: dict[str, Any] = json.loads(await process.stdout.readline())
    return found
