"""Opening the outbox's file, checking it, and what happens when it is not what was written.

A file that fails is moved to `quarantine/` for people to look at; a new epoch starts, and every row
that still has a valid checksum is taken over under a new number, marked with where it came from.
"""

from __future__ import annotations

import json
import sqlite3
from collections import deque
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agent.uplink.files import sync_directory, write_whole
from agent.uplink.rows import CLASSES, MODELS, Draft, checksum, digest
from agent.uplink.spool import AlarmEdge, Spool, alarm_crc, create
from agent.uplink.spool_file import (
    DATABASE,
    GUARD,
    P0,
    SCHEMA_VERSION,
    SpoolCorrupt,
    SpoolError,
    State,
    connect,
    translated,
)
from wire.uplink import chain_next

MARKER = "rebuilding"
INLINE_CHECK_BYTES = 16 * 1_048_576
_SALVAGED_ROWS = (None, 50_000, 20_000)
_SALVAGE_SPAN = 10_000_000
_GROUP = 500
_SUFFIXES = ("", "-wal", "-shm", "-journal")


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What was done about a bad file."""

    reason: str
    quarantined: str
    salvaged: int


@dataclass(frozen=True, slots=True)
class Fresh:
    """What a new epoch starts from."""

    epoch: str
    host_boot: str
    wall_ms: int
    timestamp: str


def open_spool(directory: Path, fresh: Fresh) -> tuple[Spool, Rebuilt | None]:
    """Open the file in `directory`, make it when there is none, rebuild it when it is bad.

    Raises:
        SpoolBusy: another process holds it.
        SpoolError: the disk does not let us.
    """
    with translated():
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    unfinished = _read_json(directory / MARKER)
    if unfinished is not None:
        return _finish(directory, fresh, str(unfinished.get("reason")), str(unfinished.get("place")))
    guard = _read_json(directory / GUARD)
    if not (directory / DATABASE).exists():
        if guard is None:
            return create(directory, _first_state(fresh)), None
        return rebuild(directory, fresh, "missing")
    try:
        return _open_checked(directory, guard), None
    except _Unborn:
        _remove(directory)
        return create(directory, _first_state(fresh)), None
    except SpoolCorrupt as error:
        return rebuild(directory, fresh, _short(error))


def rebuild(directory: Path, fresh: Fresh, reason: str) -> tuple[Spool, Rebuilt]:
    """Put the file aside and start a new epoch with what is still readable; nobody may have it open.

    Raises:
        SpoolError: the disk does not let us.
    """
    return _finish(directory, fresh, reason, condemn(directory, fresh, reason))


def condemn(directory: Path, fresh: Fresh, reason: str) -> str:
    """Decide that the file is bad; the next `open_spool` carries it out, also after a crash.

    Until the marker is gone no number of the new epoch has left this machine.

    Raises:
        SpoolError: the disk does not let us.
    """
    place = f"outbox-{fresh.timestamp}"
    with translated():
        write_whole(directory / MARKER, json.dumps({"reason": reason, "place": place}).encode())
    return place


def unsent(spool: Spool, after: int) -> list[Draft]:
    """The rows behind `after`, ready to be numbered anew.

    Raises:
        SpoolError: they could not be read.
    """
    chunk = spool.read(after, spool.state.last_seq, limit=-1, max_bytes=2**31)
    return [_renumbered(row.class_no, row.kept_ms, row.body, None) for row in chunk.rows]


def _finish(directory: Path, fresh: Fresh, reason: str, name: str) -> tuple[Spool, Rebuilt]:
    place = directory.parent / "quarantine" / name
    _put_aside(directory, place)
    old = _read_state(place) or _guess_state(place, _read_json(directory / GUARD))
    first = replace(_first_state(fresh), is_rebuilt=True)
    if old is not None:
        first = replace(
            first, kept_ms=old.kept_ms, dropped=old.dropped, saved_wall_ms=old.saved_wall_ms, host_boot=old.host_boot
        )
    spool = create(directory, first)
    try:
        count = _take_over(spool, place, old)
        with translated():
            (directory / MARKER).unlink()
            sync_directory(directory)
    except SpoolError:
        spool.close(is_clean=False)
        raise
    return spool, Rebuilt(reason, place.name, count)


def _put_aside(directory: Path, place: Path) -> None:
    """Move the bad files; the database goes last, so where it is tells whether all were moved."""
    with translated():
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        if (place / DATABASE).exists():
            _remove(directory)
        for suffix in reversed(_SUFFIXES):
            with suppress(FileNotFoundError):
                (directory / f"{DATABASE}{suffix}").rename(place / f"{DATABASE}{suffix}")
        sync_directory(place)
        sync_directory(directory)


def prune_quarantine(directory: Path, keep: int) -> int:
    """Remove all but the newest `keep` bad files; how many are left.

    Raises:
        SpoolError: the disk does not let us.
    """
    parent = directory.parent / "quarantine"
    with translated():
        found = sorted(parent.glob("outbox-*")) if parent.is_dir() else []
        for place in found[:-keep]:
            for file in place.iterdir():
                file.unlink()
            place.rmdir()
    return min(len(found), keep)


def check_rows(spool: Spool, after: int, limit: int) -> int | None:
    """Verify the checksums and the chain of the next rows; the last one looked at, None at the end.

    Raises:
        SpoolCorrupt: a row is not what was written.
    """
    with translated():
        rows = spool.db.execute(
            "SELECT seq, class, kept_ms, crc, body FROM record WHERE seq > ? ORDER BY seq LIMIT ?", (after, limit)
        ).fetchall()
    links = _Links(spool.state)
    for seq, class_no, kept_ms, crc, content in rows:
        if checksum(spool.seed, seq, class_no, kept_ms, content) != crc:
            raise SpoolCorrupt(f"checksum of row {seq}")
        if class_no == P0:
            try:
                links.follow(content)
            except (ValueError, LookupError, TypeError) as error:
                raise SpoolCorrupt(f"row {seq} is not a chained record") from error
    return int(rows[-1][0]) if rows else None


def check_counts(spool: Spool) -> None:
    """Verify that no row vanished and the newest was promised.

    Raises:
        SpoolCorrupt: counts or numbers disagree.
    """
    with translated():
        found = spool.db.execute("SELECT class, count(*) FROM record GROUP BY class").fetchall()
        (newest,) = spool.db.execute("SELECT coalesce(max(seq), 0) FROM record").fetchone()
    counts = [0, 0, 0]
    for class_no, number in found:
        if class_no not in range(3):
            raise SpoolCorrupt("a row of no class")
        counts[class_no] = number
    if tuple(counts) != spool.state.rows or newest > spool.state.last_seq:
        raise SpoolCorrupt("rows are missing or surplus")


class _Unborn(Exception):
    """The file was being made when the power went; nothing was ever in it."""


class _Links:
    """Follows the chain over the P0 rows that are still here; earlier ones may be settled."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._number = -1
        self._head = ""

    def follow(self, content: bytes) -> None:
        record = json.loads(content)
        number, head = record["chain_n"], record["chain"]
        if number == self._number + 1 and chain_next(self._head, digest(record["kind"], content)) != head:
            raise SpoolCorrupt(f"chain at row {record['seq']}")
        if number > self._state.chain_n or (number == self._state.chain_n and head != self._state.chain_head):
            raise SpoolCorrupt("chain head")
        self._number, self._head = number, head


def _open_checked(directory: Path, guard: dict[str, object] | None) -> Spool:
    with translated():
        connection = connect(directory)
    try:
        with translated():
            state = _load_state(connection, is_guarded=guard is not None)
            _check_guard(state, guard)
            is_small = (directory / DATABASE).stat().st_size <= INLINE_CHECK_BYTES
            if is_small and connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
                raise SpoolCorrupt("quick_check")
            spool = Spool(connection, state, directory)
            spool.alarms()
        if is_small:
            check_counts(spool)
            after: int | None = 0
            while after is not None:
                after = check_rows(spool, after, _GROUP)
    except (SpoolError, _Unborn):
        connection.close()
        raise
    _skip_promised(spool)
    return spool


def _load_state(connection: sqlite3.Connection, *, is_guarded: bool) -> State:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == 0 and not is_guarded and connection.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,):
        raise _Unborn
    if version != SCHEMA_VERSION:
        raise SpoolCorrupt(f"schema version {version}")
    found = connection.execute("SELECT body, crc FROM meta WHERE id = 1").fetchone()
    if found is None:
        raise SpoolCorrupt("no meta row")
    return State.parse(*found)


def _check_guard(state: State, guard: dict[str, object] | None) -> None:
    if guard is None:
        return
    promised = guard.get("promised_seq")
    if guard.get("epoch") != state.epoch:
        raise SpoolCorrupt("guard names another epoch")
    if isinstance(promised, int) and promised > state.promised_seq:
        raise SpoolCorrupt("older copy of the file")


def _skip_promised(spool: Spool) -> None:
    """Go on behind the promised numbers; they may have been used by commits that a power cut took back."""
    state = spool.state
    if state.promised_seq > state.last_seq:
        spool.skip(state.promised_seq)


def _read_json(file: Path) -> dict[str, object] | None:
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _first_state(fresh: Fresh) -> State:
    return State(epoch=fresh.epoch, saved_wall_ms=fresh.wall_ms, host_boot=fresh.host_boot)


def _remove(directory: Path) -> None:
    with translated():
        for suffix in _SUFFIXES:
            (directory / f"{DATABASE}{suffix}").unlink(missing_ok=True)


def _read_state(place: Path) -> State | None:
    try:
        with translated(), closing(connect(place)) as old:
            return _load_state(old, is_guarded=True)
    except SpoolError:
        return None


def _guess_state(place: Path, guard: dict[str, object] | None) -> State | None:
    """Enough to check rows by when only `meta` was hit: the epoch is in the guard, the age in the rows."""
    epoch, promised = (guard or {}).get("epoch"), (guard or {}).get("promised_seq")
    if not isinstance(epoch, str) or not isinstance(promised, int):
        return None
    try:
        with translated(), closing(connect(place)) as old:
            (kept_ms,) = old.execute("SELECT coalesce(max(kept_ms), 0) FROM record").fetchone()
    except SpoolError:
        kept_ms = 0
    return State(epoch=epoch, promised_seq=promised, kept_ms=kept_ms)


def _take_over(spool: Spool, place: Path, old: State | None) -> int:
    """Copy the rows whose checksum holds, dear ones first, and the standing of alarms."""
    if old is None:
        return 0
    count = 0
    try:
        with translated(), closing(connect(place)) as source:
            for class_no, limit in enumerate(_SALVAGED_ROWS):
                count += _take_class(spool, source, old, class_no, limit)
            _take_alarms(spool, source, old)
    except SpoolCorrupt:
        return count
    return count


def _take_class(spool: Spool, source: sqlite3.Connection, old: State, class_no: int, limit: int | None) -> int:
    count = 0
    group: list[Draft] = []
    for item in _readable(source, old, class_no, limit):
        group.append(item)
        if len(group) == _GROUP:
            spool.append(group, durable=False)
            count, group = count + len(group), []
    if group or class_no == P0:
        spool.append(group, durable=class_no == P0)
    return count + len(group)


def _readable(source: sqlite3.Connection, old: State, class_no: int, limit: int | None) -> Iterator[Draft]:
    """The newest `limit` rows of a class that can still be read, oldest first."""
    for seq in deque(_numbers(source, old, class_no), maxlen=limit):
        row = _row(source, seq)
        if row is not None and row[0] == class_no:
            _, kept_ms, crc, content = row
            with suppress(ValueError, TypeError, LookupError):
                if checksum(old.seed, seq, class_no, kept_ms, content) == crc:
                    yield _renumbered(class_no, kept_ms, content, f"{old.epoch}:{seq}")


def _numbers(source: sqlite3.Connection, old: State, class_no: int) -> Iterator[int]:
    """Sequence numbers of a class, group by group; where a group cannot be read, number by number."""
    last = old.promised_seq
    after = max(0, last - _SALVAGE_SPAN)
    while after < last:
        end = min(after + _GROUP, last)
        try:
            found = source.execute(
                "SELECT seq FROM record WHERE seq > ? AND seq <= ? AND class = ? ORDER BY seq", (after, end, class_no)
            ).fetchall()
        except sqlite3.Error:
            found = [(seq,) for seq in range(after + 1, end + 1) if (_row(source, seq) or (None,))[0] == class_no]
        yield from (seq for (seq,) in found)
        after = end


def _row(source: sqlite3.Connection, seq: int) -> tuple[Any, ...] | None:
    try:
        found = source.execute("SELECT class, kept_ms, crc, body FROM record WHERE seq = ?", (seq,)).fetchone()
    except sqlite3.Error:
        return None
    return tuple(found) if found is not None else None


def _renumbered(class_no: int, kept_ms: int, content: bytes, origin: str | None) -> Draft:
    record = json.loads(content)
    kind = record["kind"]
    if kind not in MODELS or CLASSES[class_no] != record["record_class"]:
        raise ValueError("not a record of ours")
    for key in ("seq", "chain_n", "chain", "hist"):
        record.pop(key, None)
    if origin is not None:
        record["salvaged_from"] = origin
    tail = json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode()[1:]
    return Draft(class_no, kind, tail, kept_ms)


def _take_alarms(spool: Spool, source: sqlite3.Connection, old: State) -> None:
    seed = old.seed
    found = source.execute("SELECT component, code, is_up, body, crc FROM alarm").fetchall()
    edges = [(AlarmEdge(component, code, bool(is_up), text), crc) for component, code, is_up, text, crc in found]
    spool.keep_alarms([edge for edge, crc in edges if alarm_crc(seed, edge) == crc])


def _short(error: SpoolError) -> str:
    return str(error)[:64]
