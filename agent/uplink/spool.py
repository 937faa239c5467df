"""The outbox's SQLite file: append, read, settle. Synchronous; one thread owns it.

- WAL with an exclusive lock: no shared-memory file that could be swapped, and no second agent beside us.
- Sequence numbers are promised in blocks: the end of a block is on disk before a number of it is used, and
  after anything but a clean close numbering goes on behind it. So a number is never used twice, even when a
  power cut took back commits that were not synced. The skipped numbers become a void range.
- `guard` is a second file with epoch and promise: an older copy of the database put back in place is noticed.
- Every row has a checksum seeded by the epoch; counts are kept in `meta`, so a row that vanished is noticed too.

After an error of the disk nothing of the connection is trusted: the owner opens the file again (see `resume`).
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from agent.uplink.rows import Draft, Row, body, chained, checksum
from agent.uplink.spool_file import P0, SpoolCorrupt, SpoolFull, State, make, meta_row, translated, write_guard

_Stored = tuple[int, int, int, int, bytes, int]

BLOCK = 10_000
VOID_LIMIT = 200
_LOG_PAGES, _SHORT_PAGES = 1_000, 16
_SHRINK_PAGES, _COPIED_PAGES = 2_048, 8_192
_TOGETHER = 50
_INSERT = "INSERT INTO record (seq, class, kept_ms, crc, body, tier) VALUES "
_PLACES = "(?, ?, ?, ?, ?, ?)"
_INSERT_ONE, _INSERT_MANY = _INSERT + _PLACES, _INSERT + ", ".join([_PLACES] * _TOGETHER)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows and void ranges of the sequence numbers up to `end`."""

    rows: tuple[Row, ...]
    void: tuple[tuple[int, int], ...]
    end: int

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to send."""
        return not self.rows and not self.void


@dataclass(frozen=True, slots=True)
class AlarmEdge:
    """The new standing of a condition, stored in the same commit as its record."""

    component: str
    code: str
    is_up: bool
    body: str


class Spool:
    """One open file, or one in memory while the disk takes nothing (`directory` None)."""

    def __init__(self, connection: sqlite3.Connection, state: State, directory: Path | None) -> None:
        self._db = connection
        self._directory = directory
        self._seed = state.seed
        self._synchronous = ""
        self.state = state
        self.oldest_kept_ms: int | None = None
        self._find_oldest()

    @property
    def db(self) -> sqlite3.Connection:
        """For retention, checks and salvage, which run in the same thread."""
        return self._db

    @property
    def seed(self) -> int:
        """What the checksums of this epoch start from."""
        return self._seed

    def append(self, drafts: Sequence[Draft], *, durable: bool, alarm: AlarmEdge | None = None) -> int:
        """Store records in one commit and return the last sequence number.

        Args:
            drafts: valid records, in the order in which they happened.
            durable: on disk when this returns; otherwise at the next checkpoint.
            alarm: the standing of a condition that changes with these records.

        Raises:
            SpoolError: nothing was stored.
        """
        state = self.state
        promised = state.promised_seq
        if state.last_seq + len(drafts) > promised:
            promised = state.last_seq + len(drafts) + BLOCK
        table, after = self._number(drafts)
        after = replace(after, promised_seq=promised)
        with self._commit(after, durable=durable or promised != state.promised_seq):
            self._insert(table)
            if alarm is not None:
                self._keep_alarm(alarm)
        if self.oldest_kept_ms is None and drafts:
            self.oldest_kept_ms = drafts[0].kept_ms
        if promised != state.promised_seq:
            self._write_guard(after)
        return after.last_seq

    def read(self, after: int, through: int, *, limit: int, max_bytes: int) -> Chunk:
        """The next rows in (after, through] with the void ranges between them, checksums verified.

        Raises:
            SpoolCorrupt: a row is not what was written.
            SpoolError: it could not be read.
        """
        with translated():
            found = self._db.execute(
                "SELECT seq, class, kept_ms, crc, body FROM record WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?",
                (after, through, limit),
            ).fetchall()
            rows: list[Row] = []
            size = 0
            for seq, class_no, kept_ms, crc, content in found:
                size += len(content)
                if rows and size > max_bytes:
                    break
                if checksum(self._seed, seq, class_no, kept_ms, content) != crc:
                    raise SpoolCorrupt(f"checksum of row {seq}")
                rows.append(Row(seq, class_no, kept_ms, content))
            is_cut = len(rows) < len(found) or len(found) == limit
            end = rows[-1].seq if is_cut else through
            void = self._db.execute(
                "SELECT max(first, ?), min(last, ?) FROM void WHERE last > ? AND first <= ? ORDER BY first LIMIT ?",
                (after + 1, end, after, end, VOID_LIMIT),
            ).fetchall()
        if len(void) == VOID_LIMIT:
            end = void[-1][1]
            rows = [row for row in rows if row.seq <= end]
        return Chunk(tuple(rows), tuple((first, last) for first, last in void), end)

    def last_before(self, kept_ms: int) -> int:
        """The highest sequence number that was stored before `kept_ms` of the outbox's own age clock.

        Raises:
            SpoolError: it could not be read.
        """
        with translated():
            newest_first = self._db.execute("SELECT seq, kept_ms FROM record ORDER BY seq DESC")
            for seq, kept in newest_first:
                if kept < kept_ms:
                    return int(seq)
        return 0

    def settle(self, ranges: Sequence[tuple[int, int]]) -> int:
        """Delete what the server has, rows and void ranges alike; the number of rows deleted.

        Raises:
            SpoolError: nothing was deleted.
        """
        deleted, after = self._count_away(ranges)
        with self._commit(after, durable=False):
            for first, last in ranges:
                self._db.execute("DELETE FROM record WHERE seq BETWEEN ? AND ?", (first, last))
                self._clip_void(first, last)
        self._find_oldest()
        return deleted

    def tick(self, kept_ms: int, wall_ms: int, unstored: Sequence[int] = (0, 0, 0)) -> None:
        """Save the age clock, so that a restart does not make records young again; count what was not even stored.

        Raises:
            SpoolError: not saved.
        """
        counts = [sum(pair) for pair in zip(self.state.dropped, unstored, strict=True)]
        after = replace(self.state, kept_ms=kept_ms, saved_wall_ms=wall_ms, dropped=(counts[0], counts[1], counts[2]))
        with self._commit(after, durable=False):
            pass

    def alarms(self) -> list[tuple[str, str, bool, str]]:
        """The stored standing of every condition.

        Raises:
            SpoolCorrupt: one is not what was written.
            SpoolError: it could not be read.
        """
        with translated():
            found = self._db.execute("SELECT component, code, is_up, body, crc FROM alarm").fetchall()
        for component, code, is_up, text, crc in found:
            if alarm_crc(self._seed, AlarmEdge(component, code, bool(is_up), text)) != crc:
                raise SpoolCorrupt("checksum of an alarm")
        return [(component, code, bool(is_up), text) for component, code, is_up, text, _ in found]

    def keep_alarms(self, alarms: Sequence[AlarmEdge]) -> None:
        """Take over the standing of conditions from another epoch.

        Raises:
            SpoolError: nothing was stored.
        """
        with self._commit(self.state, durable=True):
            for alarm in alarms:
                self._keep_alarm(alarm)

    def mark_void(self, first: int, last: int) -> None:
        """Remember that these numbers will never come, joined with neighbours; inside a commit."""
        near = self._db.execute(
            "SELECT first, last FROM void WHERE last >= ? AND first <= ?", (first - 1, last + 1)
        ).fetchall()
        low = min([first, *(item[0] for item in near)])
        high = max([last, *(item[1] for item in near)])
        self._db.executemany("DELETE FROM void WHERE first = ?", [(item[0],) for item in near])
        self._db.execute("INSERT INTO void VALUES (?, ?)", (low, high))

    def replace_rows(self, gone: Sequence[int], drafts: Sequence[tuple[Draft, int]] = ()) -> None:
        """Take rows out and put others (with their tier) in their place, in one commit; the gap becomes void.

        Rows taken out count as dropped.

        Raises:
            SpoolError: nothing changed.
        """
        ranges = as_ranges(gone)
        _, away = self._count_away(ranges)
        lost = [sum(item) for item in zip(away.dropped, self.state.rows, [-left for left in away.rows], strict=True)]
        away = replace(away, dropped=(lost[0], lost[1], lost[2]))
        promised = max(self.state.promised_seq, away.last_seq + len(drafts))
        table, after = self._number([item for item, _ in drafts], away)
        is_promise = promised != self.state.promised_seq
        if is_promise:
            promised += BLOCK
        with self._commit(replace(after, promised_seq=promised), durable=is_promise):
            for first, last in ranges:
                self._db.execute("DELETE FROM record WHERE seq BETWEEN ? AND ?", (first, last))
                self.mark_void(first, last)
            self._insert([(*row[:-1], tier) for row, (_, tier) in zip(table, drafts, strict=True)])
        if is_promise:
            self._write_guard(self.state)
        self._find_oldest()

    def skip(self, through: int) -> None:
        """Never use the numbers up to `through`.

        Raises:
            SpoolError: nothing changed.
        """
        first = self.state.last_seq + 1
        with self._commit(replace(self.state, last_seq=through), durable=True):
            self.mark_void(first, through)

    def used_bytes(self) -> int:
        """The part of the file that holds something.

        Raises:
            SpoolError: it could not be read.
        """
        with translated():
            (pages,) = self._db.execute("PRAGMA page_count").fetchone()
            (free,) = self._db.execute("PRAGMA freelist_count").fetchone()
            (size,) = self._db.execute("PRAGMA page_size").fetchone()
        return int((pages - free) * size)

    def checkpoint(self) -> None:
        """Move what is in the log file into the database, synced, and empty the log.

        Raises:
            SpoolError: not done; nothing is lost.
        """
        with translated():
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def save_space(self, *, is_short: bool) -> None:
        """Keep the log file small while space is short: what it holds needs its space a second time in the database.

        Raises:
            SpoolError: not changed.
        """
        with translated():
            self._db.execute(f"PRAGMA wal_autocheckpoint = {_SHORT_PAGES if is_short else _LOG_PAGES}").fetchall()

    def shrink(self) -> None:
        """Give the space of a backlog that is gone back to the file system, when copying the rest is cheap.

        Raises:
            SpoolError: it could not be tried; without room for the copy nothing happens.
        """
        with translated():
            (pages,) = self._db.execute("PRAGMA page_count").fetchone()
            (free,) = self._db.execute("PRAGMA freelist_count").fetchone()
        if free < _SHRINK_PAGES or pages - free > _COPIED_PAGES or 2 * free < pages:
            return
        with suppress(SpoolFull), translated():
            self._db.execute("VACUUM").fetchall()
        self.checkpoint()

    def close(self, *, is_clean: bool) -> None:
        """Let go of the file; a clean close gives back the promised numbers that were not used.

        Raises:
            SpoolError: closed, but not clean.
        """
        try:
            if is_clean:
                after = replace(self.state, promised_seq=self.state.last_seq)
                if self._write_guard(after):  # first: a guard that promises more than the file means an older copy
                    with self._commit(after, durable=True):
                        pass
        finally:
            with suppress(sqlite3.Error):
                self._db.close()

    def resume(self, known: State) -> None:
        """After an unclean end of our own connection: keep `known`, undo commits whose outcome was not known.

        The checkpoint rewrites what was only in the log, so it is synced anew.

        Raises:
            SpoolError: the file is not usable.
        """
        self.checkpoint()
        if known.epoch != self.state.epoch or self.state.last_seq < known.last_seq:
            raise SpoolCorrupt("the file is older than what was committed")
        surplus = [(known.last_seq + 1, self.state.last_seq)] if self.state.last_seq > known.last_seq else []
        _, after = self._count_away(surplus)
        after = replace(after, chain_n=known.chain_n, chain_head=known.chain_head)
        with self._commit(after, durable=True):
            for first, last in surplus:
                self._db.execute("DELETE FROM record WHERE seq BETWEEN ? AND ?", (first, last))
                self.mark_void(first, last)

    def _number(self, drafts: Sequence[Draft], state: State | None = None) -> tuple[list[_Stored], State]:
        """Rows of the table for `drafts`, of tier 0, and the state once they are in."""
        start = self.state if state is None else state
        seq, chain_n, head, size = start.last_seq, start.chain_n, start.chain_head, start.bytes
        counts, seed = list(start.rows), self._seed
        table: list[_Stored] = []
        for item in drafts:
            seq += 1
            content = body(seq, item.tail)
            if item.class_no == P0:
                chain_n += 1
                content, head = chained(item.kind, content, chain_n, head)
            counts[item.class_no] += 1
            size += len(content)
            crc = checksum(seed, seq, item.class_no, item.kept_ms, content)
            table.append((seq, item.class_no, item.kept_ms, crc, content, 0))
        after = replace(
            start, last_seq=seq, chain_n=chain_n, chain_head=head, rows=(counts[0], counts[1], counts[2]), bytes=size
        )
        return table, after

    def _insert(self, table: Sequence[_Stored]) -> None:
        """Many rows in one statement cost two thirds of as many statements."""
        rest = len(table) % _TOGETHER
        whole = len(table) - rest
        for first in range(0, whole, _TOGETHER):
            values = list(chain.from_iterable(table[first : first + _TOGETHER]))
            self._db.execute(_INSERT_MANY, values)
        self._db.executemany(_INSERT_ONE, table[whole:])

    def _count_away(self, ranges: Sequence[tuple[int, int]]) -> tuple[int, State]:
        """How many rows lie in `ranges`, and the state without them."""
        counts, size, total = list(self.state.rows), self.state.bytes, 0
        with translated():
            for first, last in ranges:
                for class_no, number, length in self._db.execute(
                    "SELECT class, count(*), sum(length(body)) FROM record WHERE seq BETWEEN ? AND ? GROUP BY class",
                    (first, last),
                ):
                    counts[class_no] -= number
                    size -= length
                    total += number
        if size < 0 or min(counts) < 0:
            raise SpoolCorrupt("more rows than were counted")
        return total, replace(self.state, rows=(counts[0], counts[1], counts[2]), bytes=size)

    def _clip_void(self, first: int, last: int) -> None:
        """Forget the parts of void ranges the server knows."""
        for low, high in self._db.execute(
            "SELECT first, last FROM void WHERE last >= ? AND first <= ?", (first, last)
        ).fetchall():
            self._db.execute("DELETE FROM void WHERE first = ?", (low,))
            if low < first:
                self._db.execute("INSERT INTO void VALUES (?, ?)", (low, first - 1))
            if high > last:
                self._db.execute("INSERT INTO void VALUES (?, ?)", (last + 1, high))

    def _keep_alarm(self, alarm: AlarmEdge) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO alarm VALUES (?, ?, ?, ?, ?)",
            (alarm.component, alarm.code, int(alarm.is_up), alarm.body, alarm_crc(self._seed, alarm)),
        )

    @contextmanager
    def _commit(self, after: State, *, durable: bool) -> Iterator[None]:
        """One transaction that ends with `meta` saying `after`."""
        with translated():
            level = "FULL" if durable else "NORMAL"
            if level != self._synchronous:
                self._db.execute(f"PRAGMA synchronous = {level}")
                self._synchronous = level
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("INSERT OR REPLACE INTO meta VALUES (1, ?, ?)", meta_row(after))
                self._db.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise
        self.state = after

    def _find_oldest(self) -> None:
        with translated():
            found = self._db.execute("SELECT kept_ms FROM record ORDER BY seq LIMIT 1").fetchone()
        self.oldest_kept_ms = None if found is None else int(found[0])

    def _write_guard(self, state: State) -> bool:
        """Repeat a promise beside the database; without it an old copy is noticed less surely. Whether it is there."""
        if self._directory is None:
            return True
        try:
            write_guard(self._directory, state)
        except OSError:
            return False
        return True


def alarm_crc(seed: int, alarm: AlarmEdge) -> int:
    """Guard a stored alarm against bit rot."""
    return zlib.crc32(f"{alarm.component} {alarm.code} {alarm.is_up:d} {alarm.body}".encode(), seed)


def as_ranges(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Ascending numbers as ranges, both ends included."""
    ranges: list[tuple[int, int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    return ranges


def create(directory: Path | None, state: State) -> Spool:
    """A new empty file under a new epoch, or one in memory.

    Raises:
        SpoolError: it could not be made.
    """
    return Spool(make(directory, state), state, directory)
