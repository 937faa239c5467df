"""The agent's outbox beside bare sqlite3: events of class P1, one commit per 100."""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from time import process_time

from agent.settings import OutboxSettings
from agent.uplink.outbox import Outbox, RunIdentity
from agent.uplink.rows import Stamp, draft
from agent.uplink.salvage import Fresh, open_spool
from bench.harness import Better, Goal, Row, interleave, load_note, row
from kit.clock import ServerTime, SystemClock, ulid
from wire.uplink import RecordClass

Rows = Callable[[int], Sequence[tuple[object, ...]]]

RECORDS = 20_000
BATCH = 100
NAME = "session.ended"
FIELDS = {"duration_s": 61.5, "result": "paid", "department": "outpatient", "steps": 7}
_TABLE = "CREATE TABLE record (seq INTEGER PRIMARY KEY, class INTEGER, kept_ms INTEGER, body BLOB)"
_SIXTEEN = ", ".join(f"value_{number} REAL" for number in range(13))


async def outbox() -> list[Row]:
    """Records per second, from the fields of an event to the commit."""
    figures = await interleave(
        {"ours": _ours, "bare": _bare, "bare_encoded": _bare_encoded, "store": _store, "bare_16": _bare_16}
    )
    goal = Goal(Better.MORE, 0.7)
    note = f"both encode JSON{load_note()}"
    ready = f"bare rows are ready-made{load_note()}"
    stored = f"encoded rows of both, one commit per {BATCH}; bare has 16 columns{load_note()}"
    return [
        row("outbox.store", "records/s", figures["store"], figures["bare_16"], goal, stored),
        row("outbox.append", "records/s", figures["ours"], figures["bare"], goal, note),
        row("outbox.append_vs_ready_rows", "records/s", figures["ours"], figures["bare_encoded"], goal, ready),
    ]


async def _ours() -> float:
    clock = SystemClock()
    folder = Path(tempfile.mkdtemp(prefix="kiosk-bench-"))
    try:
        settings = OutboxSettings(ballast_bytes=0, group_rows=BATCH)
        ours = Outbox(settings, folder / "outbox", RunIdentity(ulid(clock), "host"), clock, ServerTime(clock))
        await ours.open()
        fields = {"component": "host", "name": NAME, "fields": FIELDS}
        started_s = process_time()
        for _ in range(RECORDS):
            await ours.append(RecordClass.P1, "event", fields)
        await ours.flush()
        seconds = process_time() - started_s
        assert ours.depth().p1 == RECORDS
        await ours.close()
    finally:
        shutil.rmtree(folder)
    return RECORDS / seconds


async def _store() -> float:
    """The spool alone: records that are valid and encoded, to the commit; checksums and counters included."""
    clock = SystemClock()
    stamp = Stamp(clock.utc(), ulid(clock), 1, None)
    fields = {"component": "host", "name": NAME, "fields": FIELDS}
    drafts = [draft(RecordClass.P1, "event", fields, stamp, kept_ms=1) for _ in range(RECORDS)]
    folder = Path(tempfile.mkdtemp(prefix="kiosk-bench-"))
    try:
        spool, _ = open_spool(folder / "outbox", Fresh(ulid(clock), "host", 0, "bench"))
        started_s = process_time()
        for first in range(0, RECORDS, BATCH):
            spool.append(drafts[first : first + BATCH], durable=False)
        seconds = process_time() - started_s
        spool.close(is_clean=True)
    finally:
        shutil.rmtree(folder)
    return RECORDS / seconds


async def _bare_16() -> float:
    """The reference line: 16 columns, among them the raw JSON."""
    body = json.dumps({"kind": "event", "boot": "x" * 26, "name": NAME, "fields": FIELDS, "mono_ms": 1})
    numbers = tuple(float(number) for number in range(13))
    table = f"CREATE TABLE record (seq INTEGER PRIMARY KEY, device INTEGER, raw TEXT, {_SIXTEEN})"
    return _written(lambda first: [(seq, 1, body, *numbers) for seq in range(first, first + BATCH)], table)


async def _bare() -> float:
    clock = SystemClock()
    boot = ulid(clock)

    def made(seq: int) -> tuple[int, int, int, bytes]:
        now_ms = int(clock.monotonic() * 1_000)
        record = {
            "seq": seq,
            "record_class": "p1",
            "at": clock.utc().isoformat(),
            "boot": boot,
            "mono_ms": now_ms,
            "kind": "event",
            "component": "host",
            "name": NAME,
            "fields": FIELDS,
        }
        return seq, 1, now_ms, json.dumps(record).encode()

    return _written(lambda first: [made(seq) for seq in range(first, first + BATCH)])


async def _bare_encoded() -> float:
    body = json.dumps({"kind": "event", "boot": "x" * 26, "name": NAME, "fields": FIELDS, "mono_ms": 1}).encode()
    return _written(lambda first: [(seq, 1, 1, body) for seq in range(first, first + BATCH)])


def _written(rows_of: Rows, table: str = _TABLE) -> float:
    folder = Path(tempfile.mkdtemp(prefix="kiosk-bench-"))
    try:
        with closing(sqlite3.connect(folder / "bare.db", isolation_level=None)) as link:
            link.execute("PRAGMA journal_mode = WAL").fetchone()
            link.execute("PRAGMA synchronous = NORMAL")
            link.execute(table)
            insert = f"INSERT INTO record VALUES ({', '.join('?' * len(rows_of(1)[0]))})"  # noqa: S608 - question marks
            started_s = process_time()
            for first in range(1, RECORDS, BATCH):
                link.execute("BEGIN IMMEDIATE")
                link.executemany(insert, rows_of(first))
                link.execute("COMMIT")
            return RECORDS / (process_time() - started_s)
    finally:
        shutil.rmtree(folder)
