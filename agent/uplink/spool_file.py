"""The outbox's SQLite file as a file: schema, errors by what has to happen next, and how it is opened.

Two statements are about trust: `locking_mode = EXCLUSIVE` keeps a second agent out and does without a shared-memory
file, and `guard` beside the database tells an older copy of it from the newest.
"""

from __future__ import annotations

import errno
import json
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agent.uplink.files import sync_directory, write_whole
from wire.uplink import CHAIN_START

SCHEMA_VERSION = 1
DATABASE = "outbox.db"
GUARD = "guard"
P0, P1, P2 = range(3)
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_DISK = frozenset(
    {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_NOMEM}
)

_SCHEMA = """
CREATE TABLE meta (id INTEGER PRIMARY KEY CHECK (id = 1), body TEXT NOT NULL, crc INTEGER NOT NULL) STRICT;
CREATE TABLE record (
    seq INTEGER PRIMARY KEY, class INTEGER NOT NULL, tier INTEGER NOT NULL, kept_ms INTEGER NOT NULL,
    crc INTEGER NOT NULL, body BLOB NOT NULL
) STRICT;
CREATE TABLE void (first INTEGER PRIMARY KEY, last INTEGER NOT NULL) STRICT;
CREATE TABLE alarm (
    component TEXT NOT NULL, code TEXT NOT NULL, is_up INTEGER NOT NULL, body TEXT NOT NULL, crc INTEGER NOT NULL,
    PRIMARY KEY (component, code)
) STRICT, WITHOUT ROWID;
"""


class SpoolError(Exception):
    """The file did not do what was asked; nothing changed as far as we can know."""


class SpoolFull(SpoolError):
    """No space left, even to delete."""


class SpoolUnusable(SpoolError):
    """The disk failed (I/O error, read-only, gone): the connection is not to be used again."""


class SpoolCorrupt(SpoolError):
    """The content is not what was written."""


class SpoolBusy(SpoolError):
    """Another process holds the file."""


@dataclass(frozen=True, slots=True)
class State:
    """What `meta` says; replaced only after a commit."""

    epoch: str
    last_seq: int = 0
    promised_seq: int = 0
    chain_n: int = 0
    chain_head: str = CHAIN_START
    rows: tuple[int, int, int] = (0, 0, 0)
    bytes: int = 0
    dropped: tuple[int, int, int] = (0, 0, 0)
    kept_ms: int = 0
    saved_wall_ms: int = 0
    host_boot: str = ""
    is_rebuilt: bool = False

    @property
    def row_count(self) -> int:
        """Rows of all classes."""
        return sum(self.rows)

    @property
    def seed(self) -> int:
        """What the checksums of this epoch start from."""
        return zlib.crc32(self.epoch.encode())

    @classmethod
    def parse(cls, text: str, crc: int) -> State:
        """The state a `meta` row says.

        Raises:
            SpoolCorrupt: not what was written.
        """
        if zlib.crc32(text.encode()) != crc:
            raise SpoolCorrupt("checksum of meta")
        try:
            document = json.loads(text)
            return cls(**{**document, "rows": tuple(document["rows"]), "dropped": tuple(document["dropped"])})
        except (ValueError, TypeError, KeyError) as error:
            raise SpoolCorrupt("meta is not a state") from error


def meta_row(state: State) -> tuple[str, int]:
    """How `meta` keeps a state."""
    text = json.dumps({name: getattr(state, name) for name in State.__slots__})
    return text, zlib.crc32(text.encode())


def write_guard(directory: Path, state: State) -> None:
    """Note epoch and promise beside the database.

    Raises:
        OSError: not written.
    """
    write_whole(directory / GUARD, json.dumps({"epoch": state.epoch, "promised_seq": state.promised_seq}).encode())


def make(directory: Path | None, state: State) -> sqlite3.Connection:
    """A new empty file under a new epoch, or one in memory.

    Raises:
        SpoolError: it could not be made.
    """
    with translated():
        connection = connect(directory)
        try:
            connection.execute("BEGIN IMMEDIATE")
            for statement in _SCHEMA.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            connection.execute("INSERT INTO meta VALUES (1, ?, ?)", meta_row(state))
            connection.execute("COMMIT")
            if directory is not None:
                sync_directory(directory)
                write_guard(directory, state)
        except (sqlite3.Error, OSError):
            connection.close()
            raise
    return connection


def connect(directory: Path | None) -> sqlite3.Connection:
    """A connection that holds the file alone.

    Raises:
        sqlite3.Error: it cannot be opened.
        UnicodeDecodeError: its schema is damaged.
    """
    name = ":memory:" if directory is None else str(directory / DATABASE)
    connection = sqlite3.connect(name, timeout=0.2, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = WAL").fetchone()
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA cell_size_check = ON")
        connection.execute("PRAGMA cache_size = -1024")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("PRAGMA journal_size_limit = 4194304")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("COMMIT")
    except (sqlite3.Error, UnicodeDecodeError):
        connection.close()
        raise
    return connection


@contextmanager
def translated() -> Iterator[None]:
    """Turn the library's errors into ours, by what has to happen next.

    Raises:
        SpoolError: as described by its subclasses.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise _kind(error) from error
    except UnicodeDecodeError as error:  # SQLite quotes the damaged text of a schema in its message
        raise SpoolCorrupt("a name in the schema is no text") from error
    except OSError as error:
        raise (SpoolFull if error.errno in _FULL else SpoolUnusable)(str(error)) from error


def _kind(error: sqlite3.Error) -> SpoolError:
    primary = getattr(error, "sqlite_errorcode", 0) & 0xFF
    text = f"{getattr(error, 'sqlite_errorname', 'SQLITE_ERROR')}: {error}"
    if primary == sqlite3.SQLITE_FULL:
        return SpoolFull(text)
    if primary in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return SpoolBusy(text)
    if primary in _DISK:
        return SpoolUnusable(text)
    return SpoolCorrupt(text)
