"""The agent's outbox beside bare sqlite3: events of class P1, one commit per 100, synchronous NORMAL on both sides.

The reference line is a table of sixteen columns with the record's JSON as text, from rows that are ready. The other
one makes its records within the measured time, as we do: the wire model checks and encodes them.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from time import process_time

from agent.settings import OutboxSettings
from agent.uplink.outbox import Outbox, RunIdentity
from agent.uplink.rows import Stamp, body, draft
from agent.uplink.salvage import Fresh, open_spool
from bench.harness import Better, Goal, Row, interleave, load_note, row
from kit.clock import ServerTime, SystemClock, ulid
from wire.envelope import Scalar, encode
from wire.uplink import EventRecord, RecordClass

Rows = Callable[[int], Sequence[tuple[object, ...]]]

RECORDS = 20_000
BATCH = 100
LAPS = 7
NAME = "session.ended"
FIELDS: dict[str, Scalar] = {"duration_s": 61.5, "result": "paid", "department": "outpatient", "steps": 7}
_FIELDS_OF_ONE = {"component": "host", "name": NAME, "fields": FIELDS}
_TABLE = "CREATE TABLE record (seq INTEGER PRIMARY KEY, class INTEGER, kept_ms INTEGER, body BLOB)"
_REALS, _NUMBERS, _WORDS = (1.25, 17.3, 48.9, 61.02, 0.37, 99.4), (1_024, 7_340_032, 86_400), ("host", "idle", "B1-07")
_SIXTEEN = (
    "CREATE TABLE record (seq INTEGER PRIMARY KEY, ts REAL, device INTEGER, "
    + ", ".join(f"real_{number} REAL" for number in range(len(_REALS)))
    + ", number_0 INTEGER, number_1 INTEGER, number_2 INTEGER, word_0 TEXT, word_1 TEXT, word_2 TEXT, raw TEXT)"
)


async def outbox() -> list[Row]:
    """Records per second, from the fields of an event to the commit."""
    cases = {"ours": _ours, "checked": _checked, "store": _store, "sixteen": _sixteen}
    figures = await interleave(cases, LAPS)
    goal = Goal(Better.MORE, 0.7)
    stored = f"encoded records of both, one commit per {BATCH}; bare: 16 columns, the same JSON among them{load_note()}"
    checked = f"bare lets the wire model check and encode{load_note()}"
    return [
        row("outbox.store", "records/s", figures["store"], figures["sixteen"], goal, stored),
        row("outbox.append", "records/s", figures["ours"], figures["checked"], goal, checked),
    ]


async def _ours() -> float:
    clock = SystemClock()
    folder = Path(tempfile.mkdtemp(prefix="kiosk-bench-"))
    try:
        settings = OutboxSettings(ballast_bytes=0, group_rows=BATCH)
        ours = Outbox(settings, folder / "outbox", RunIdentity(ulid(clock), "host"), clock, ServerTime(clock))
        await ours.open()
        started_s = process_time()
        for _ in range(RECORDS):
            await ours.append(RecordClass.P1, "event", _FIELDS_OF_ONE)
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
    drafts = [draft(RecordClass.P1, "event", _FIELDS_OF_ONE, stamp, kept_ms=1) for _ in range(RECORDS)]
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


async def _sixteen() -> float:
    """The reference line: six reals, three integers, three words and the raw JSON, as long as ours."""
    clock = SystemClock()
    tail = draft(RecordClass.P1, "event", _FIELDS_OF_ONE, Stamp(clock.utc(), ulid(clock), 1, None), kept_ms=1).tail
    text = body(RECORDS, tail).decode()
    rest = (clock.utc().timestamp(), 1, *_REALS, *_NUMBERS, *_WORDS, text)
    return _written(lambda first: [(seq, *rest) for seq in range(first, first + BATCH)], _SIXTEEN)


async def _checked() -> float:
    clock = SystemClock()
    boot = ulid(clock)

    def made(seq: int) -> tuple[int, int, int, bytes]:
        now_ms = int(clock.monotonic() * 1_000)
        record = EventRecord(
            seq=seq,
            record_class=RecordClass.P1,
            at=clock.utc(),
            boot=boot,
            mono_ms=now_ms,
            component="host",
            name=NAME,
            fields=FIELDS,
        )
        return seq, 1, now_ms, encode(record)

    return _written(lambda first: [made(seq) for seq in range(first, first + BATCH)])


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
