"""The journal on disk: every job, its state before its effect, and its content for as short as possible.

A job's content names a patient. It is deleted (and overwritten: `secure_delete`) as soon as the job is printed or
cancelled, and some minutes after it failed or stayed unknown, because then a person may ask for a reprint.

Blocking: runs in one `DeviceThread`. Every call is one transaction with synchronous=FULL.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agent.errors import AgentError
from agent.printing.machine import OPEN, TABLE, JobEvent, JobState
from agent.printing.model import CONTENT_LIMIT, KEY_LIMIT, Draft, Job, JobKind
from kit.machine import can_step, step
from wire.faults import Fault

DATABASE: Final = "print.db"
SCHEMA_VERSION: Final = 1
QUEUE_LIMIT: Final = 20
"""Jobs of one printer that are not over."""
KEPT_JOBS: Final = 10_000
_SCHEMA = """
CREATE TABLE job (
    no INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, component TEXT NOT NULL, kind TEXT NOT NULL,
    digest TEXT NOT NULL, state TEXT NOT NULL, made_at_ms INTEGER NOT NULL, expires_s REAL NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0, reprint_of INTEGER, copy_no INTEGER NOT NULL DEFAULT 0, fault TEXT,
    ended_at_ms INTEGER, host_boot TEXT NOT NULL
) STRICT;
CREATE INDEX job_state ON job (state) WHERE state IN ('queued', 'printing');
CREATE TABLE content (no INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
"""
_PRAGMAS: Final = (
    "locking_mode = EXCLUSIVE",
    "journal_mode = WAL",
    "synchronous = FULL",
    "secure_delete = ON",
    "journal_size_limit = 0",
)
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT})
_COLUMNS: Final = (
    "job.no, key, component, kind, digest, state, made_at_ms, expires_s, attempts, reprint_of, copy_no, fault,"
    " ended_at_ms, content.no IS NOT NULL"
)
_SELECT: Final = f"SELECT {_COLUMNS} FROM job LEFT JOIN content ON content.no = job.no"  # noqa: S608 - names of ours


class JournalError(AgentError):
    """The journal cannot be read or written; nothing may be printed that it does not know."""


class PrintRefused(AgentError):
    """A job that is not taken; the text says why and names no content."""


@dataclass(frozen=True, slots=True)
class Moment:
    """When something happened: the kiosk's wall clock in milliseconds, and which boot of the machine it was."""

    wall_ms: int
    host_boot: str


class PrintJournal:
    """One file; a second process cannot open it."""

    def __init__(self, directory: Path) -> None:
        """Keep `print.db` there; nothing is opened yet."""
        self._directory = directory
        self._open: sqlite3.Connection | None = None
        self.quarantined: Path | None = None
        """Where a file that was damaged was put; a new one took its place."""

    def open(self, now: Moment) -> list[Job]:
        """Open or make the file and settle what a crash left behind; those jobs, as they are now.

        A job that was being printed is unknown. One that waited still waits after a restart of the agent; after
        one of the machine its patient is gone, so it failed.

        Raises:
            JournalError: the file cannot be used.
        """
        with _translated():
            if self._open is None:
                self._open = self._sound_connection(now)
            with self._transaction() as connection:
                left = [job for job, _ in self._jobs(connection, "state = 'printing'")]
                gone = [job for job, boot in self._jobs(connection, "state = 'queued'") if boot != now.host_boot]
                settled = [self._move(connection, job, JobEvent.LOST, now, Fault.PRINT_UNKNOWN) for job in left]
                settled += [self._move(connection, job, JobEvent.EXPIRED, now) for job in gone]
        return settled

    def close(self) -> None:
        """Close the file; closing twice is harmless."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def add(self, draft: Draft, now: Moment) -> tuple[Job, bool]:
        """Take a job, or find the one that has its key; whether it is new.

        Raises:
            PrintRefused: the key names another content, the content is too large, or too much is waiting.
            JournalError: it could not be written; nothing was taken.
        """
        if not 1 <= len(draft.key) <= KEY_LIMIT or not draft.key.isprintable():
            raise PrintRefused(f"the key must have 1 to {KEY_LIMIT} printable characters")
        if not 1 <= len(draft.content) <= CONTENT_LIMIT:
            raise PrintRefused(f"the content must have 1 to {CONTENT_LIMIT} bytes")
        digest = hashlib.sha256(draft.content).hexdigest()
        with _translated(), self._transaction() as connection:
            found = self._find(connection, "key = ?", draft.key)
            if found is not None:
                if (found.digest, found.component, found.kind) != (digest, draft.component, draft.kind):
                    raise PrintRefused("the key names another job")
                return found, False
            self._need_room(connection, draft.component)
            no = self._insert(connection, draft, digest, now, None)
            return self._get(connection, no), True

    def reprint(self, no: int, key: str, now: Moment) -> Job:
        """Take a copy of a job that is over, marked 补打 when paper of an earlier attempt may be in somebody's hands.

        Raises:
            PrintRefused: it is not over, its content is gone, or too much is waiting.
            JournalError: it could not be written; nothing was taken.
        """
        with _translated(), self._transaction() as connection:
            again = self._find(connection, "key = ?", key)
            if again is not None:
                if again.reprint_of != no:
                    raise PrintRefused("the key names another job")
                return again
            job = self._find(connection, "job.no = ?", no)
            if job is None or job.state in OPEN:
                raise PrintRefused("only a job that is over can be printed again")
            body = self._content(connection, no)
            if body is None:
                raise PrintRefused("the content is no longer here: ask its source for it")
            self._need_room(connection, job.component)
            draft = Draft(key, job.component, job.kind, body, job.expires_s)
            fresh = self._insert(connection, draft, job.digest, now, job)
            return self._get(connection, fresh)

    def begin(self, no: int, now: Moment) -> tuple[Job, bytes]:
        """Note that a job is about to be sent; only then may its first byte leave.

        Raises:
            PrintRefused: it is not waiting any more.
            JournalError: not noted, so nothing may be sent.
        """
        with _translated(), self._transaction() as connection:
            job = self._movable(connection, no, JobEvent.BEGIN)
            connection.execute("UPDATE job SET attempts = attempts + 1 WHERE no = ?", (no,))
            body = self._content(connection, no)
            assert body is not None  # noqa: S101 - an open job has its content
            return self._move(connection, job, JobEvent.BEGIN, now), body

    def move(self, no: int, event: JobEvent, now: Moment, fault: Fault | None = None) -> Job:
        """Note what happened to a job.

        Raises:
            PrintRefused: that cannot happen to it any more.
            JournalError: not noted.
        """
        with _translated(), self._transaction() as connection:
            return self._move(connection, self._movable(connection, no, event), event, now, fault)

    def waiting(self) -> list[Job]:
        """Jobs that are queued, oldest first."""
        with _translated():
            return [job for job, _ in self._jobs(self._connection, "state = 'queued'")]

    def job(self, no: int) -> Job | None:
        """One job."""
        with _translated():
            return self._find(self._connection, "job.no = ?", no)

    def by_key(self, key: str) -> Job | None:
        """The job of that key."""
        with _translated():
            return self._find(self._connection, "key = ?", key)

    def recent(self, limit: int = 100) -> list[Job]:
        """The newest jobs, newest first."""
        with _translated():
            rows = self._connection.execute(f"{_SELECT} ORDER BY job.no DESC LIMIT ?", (limit,))
            return [_job(row) for row in rows]

    def wipe(self, ended_before_ms: int) -> int:
        """Delete the contents of jobs that ended before, and jobs beyond the newest `KEPT_JOBS`; how many contents."""
        with _translated(), self._transaction() as connection:
            over = "SELECT no FROM job WHERE ended_at_ms < ?"
            wiped = connection.execute(f"DELETE FROM content WHERE no IN ({over})", (ended_before_ms,)).rowcount  # noqa: S608 - text of ours
            connection.execute(
                "DELETE FROM job WHERE ended_at_ms IS NOT NULL AND no NOT IN (SELECT no FROM content)"
                " AND no <= (SELECT max(no) FROM job) - ?",
                (KEPT_JOBS,),
            )
            return int(wiped)

    # -- inside ----------------------------------------------------------------------------------------------

    @property
    def _connection(self) -> sqlite3.Connection:
        if self._open is None:
            raise JournalError("the print journal is closed")
        return self._open

    def _sound_connection(self, now: Moment) -> sqlite3.Connection:
        """The file, or a new one in place of one that is damaged: patients wait for paper, not for us."""
        try:
            return self._connect()
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode & 0xFF not in _DAMAGED:
                raise
        aside = self._directory / f"{DATABASE}.damaged-{now.wall_ms}"
        (self._directory / DATABASE).replace(aside)
        for suffix in ("-wal", "-shm"):
            (self._directory / f"{DATABASE}{suffix}").unlink(missing_ok=True)
        self.quarantined = aside
        return self._connect()

    def _connect(self) -> sqlite3.Connection:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        connection = sqlite3.connect(
            self._directory / DATABASE, timeout=0.2, isolation_level=None, check_same_thread=False
        )
        try:
            for pragma in _PRAGMAS:
                connection.execute(f"PRAGMA {pragma}").fetchall()
            connection.execute("BEGIN IMMEDIATE")
            self._settle_schema(connection)
            connection.execute("COMMIT")
            _sync(self._directory)
        except BaseException:
            connection.close()
            raise
        return connection

    def _settle_schema(self, connection: sqlite3.Connection) -> None:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise JournalError(f"the print journal is of version {version}, this program knows {SCHEMA_VERSION}")
        if version == 0:
            for statement in _SCHEMA.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        elif (found := connection.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            damaged = sqlite3.DatabaseError(found)
            damaged.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise damaged

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _insert(self, connection: sqlite3.Connection, draft: Draft, digest: str, now: Moment, first: Job | None) -> int:
        copy_no, origin = 0, None
        if first is not None:
            origin = first.no
            copies = connection.execute("SELECT count(*) FROM job WHERE reprint_of = ?", (origin,)).fetchone()[0]
            copy_no = copies + 1 if first.attempts or first.copy_no else 0
        found = connection.execute(
            "INSERT INTO job (key, component, kind, digest, state, made_at_ms, expires_s, reprint_of, copy_no,"
            " host_boot) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING no",
            (
                draft.key,
                draft.component,
                draft.kind.value,
                digest,
                JobState.QUEUED.value,
                now.wall_ms,
                draft.expires_s,
                origin,
                copy_no,
                now.host_boot,
            ),
        ).fetchone()
        connection.execute("INSERT INTO content VALUES (?, ?)", (found[0], draft.content))
        return int(found[0])

    def _move(
        self, connection: sqlite3.Connection, job: Job, event: JobEvent, now: Moment, fault: Fault | None = None
    ) -> Job:
        state = step(TABLE, job.state, event)
        ended_ms = None if state in OPEN else now.wall_ms
        connection.execute(
            "UPDATE job SET state = ?, fault = ?, ended_at_ms = ? WHERE no = ?",
            (state.value, None if fault is None else fault.value, ended_ms, job.no),
        )
        if state in {JobState.PRINTED, JobState.CANCELLED}:
            connection.execute("DELETE FROM content WHERE no = ?", (job.no,))
        return self._get(connection, job.no)

    def _movable(self, connection: sqlite3.Connection, no: int, event: JobEvent) -> Job:
        job = self._find(connection, "job.no = ?", no)
        if job is None:
            raise PrintRefused(f"there is no job {no}")
        if not can_step(TABLE, job.state, event):
            raise PrintRefused(f"job {no} is {job.state.value}")
        return job

    def _need_room(self, connection: sqlite3.Connection, component: str) -> None:
        statement = "SELECT count(*) FROM job WHERE component = ? AND state IN ('queued', 'printing')"
        if connection.execute(statement, (component,)).fetchone()[0] >= QUEUE_LIMIT:
            raise PrintRefused(f"{QUEUE_LIMIT} jobs are waiting for this printer")

    def _jobs(self, connection: sqlite3.Connection, where: str) -> list[tuple[Job, str]]:
        statement = f"{_SELECT.replace(' FROM', ', host_boot FROM', 1)} WHERE {where} ORDER BY job.no"
        return [(_job(row[:-1]), row[-1]) for row in connection.execute(statement).fetchall()]

    def _find(self, connection: sqlite3.Connection, where: str, value: object) -> Job | None:
        row = connection.execute(f"{_SELECT} WHERE {where}", (value,)).fetchone()
        return None if row is None else _job(row)

    def _get(self, connection: sqlite3.Connection, no: int) -> Job:
        job = self._find(connection, "job.no = ?", no)
        if job is None:
            raise JournalError(f"there is no job {no}")
        return job

    def _content(self, connection: sqlite3.Connection, no: int) -> bytes | None:
        row = connection.execute("SELECT body FROM content WHERE no = ?", (no,)).fetchone()
        return None if row is None else bytes(row[0])


def _job(row: Sequence[Any]) -> Job:  # Any: columns of the table above
    no, key, component, kind, digest, state, made_ms, expires_s, attempts, origin, copy_no, fault, ended_ms, kept = row
    return Job(
        no=no,
        key=key,
        component=component,
        kind=JobKind(kind),
        digest=digest,
        state=JobState(state),
        made_at_ms=made_ms,
        expires_s=expires_s,
        attempts=attempts,
        reprint_of=origin,
        copy_no=copy_no,
        fault=None if fault is None else Fault(fault),
        ended_at_ms=ended_ms,
        has_content=bool(kept),
    )


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise JournalError(f"the print journal: {type(error).__name__}: {error}") from error


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
