"""One database, SQLite or PostgreSQL, behind the same five doors.

SQLite has one writer at a time, so writers share one connection and begin with BEGIN IMMEDIATE (a transaction that
reads first and writes later can otherwise fail with "locked" at once, whatever the busy timeout); readers have
their own connections on which writing is off. PostgreSQL readers run read only transactions.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import time
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import sqlalchemy.exc
from sqlalchemy import URL, event, make_url, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

from kit.store.sqlite import connect
from kit.store.types import dump_json, load_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    import psycopg
    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
    from sqlalchemy.pool import ConnectionPoolEntry

T = TypeVar("T")

_DRIVERS: Final = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+psycopg"}
_SQLITE_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_PRIMARY_CODE: Final = 0xFF
_WAL_ATTEMPTS: Final = 500
_WAL_PAUSE_S: Final = 0.02
_RETRYABLE_STATES: Final = frozenset({"40001", "40P01"})
"""PostgreSQL: serialization_failure, deadlock_detected."""


class StoreError(Exception):
    """The store could not do it."""


class StoreUrlError(StoreError):
    """The database URL is not one we can use."""


class StoreBusy(StoreError):
    """Others held the store too long; the transaction had no effect and may be tried again."""


class Dialect(StrEnum):
    """The databases we run on."""

    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"


class Synchronous(StrEnum):
    """When SQLite waits for the disk: FULL loses nothing on power loss, NORMAL may lose the last commits."""

    NORMAL = "NORMAL"
    FULL = "FULL"


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """Sizes and deadlines of a database; the defaults fit a server."""

    synchronous: Synchronous = Synchronous.NORMAL
    connections: int = 8
    busy_timeout_s: float = 10.0
    statement_timeout_s: float = 30.0
    connect_timeout_s: float = 5.0
    echo: bool = False


def parse_url(url: str) -> tuple[URL, Dialect]:
    """Return the URL with our async driver.

    Raises:
        StoreUrlError: it is malformed, another database, or SQLite without a file.

    """
    try:
        parsed = make_url(url)
    except sqlalchemy.exc.ArgumentError as error:
        raise StoreUrlError(
            "the database URL is malformed, expected sqlite:///file or postgresql://user@host/name"
        ) from error
    name = parsed.get_backend_name()
    if name not in _DRIVERS:
        raise StoreUrlError(f"the database must be sqlite or postgresql, not {name}")
    if name == Dialect.SQLITE and parsed.database in {None, "", ":memory:"}:
        raise StoreUrlError("SQLite needs a file: several connections share the database")
    return parsed.set(drivername=_DRIVERS[name]), Dialect(name)


class Database:
    """The engines of one database."""

    def __init__(self, url: str, options: StoreOptions | None = None) -> None:
        """Prepare the engines; nothing connects yet. Raises: StoreUrlError."""
        self.url, self.dialect = parse_url(url)
        self.options = options or StoreOptions()
        if self.dialect is Dialect.SQLITE:
            self._writer = self._sqlite_engine(connections=1, is_writer=True)
            self._reader = self._sqlite_engine(connections=self.options.connections, is_writer=False)
        else:
            self._writer = self._postgresql_engine()
            self._reader = self._writer.execution_options(postgresql_readonly=True)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Open a read only transaction; writing in it is an error. Raises: StoreBusy."""
        with _busy_named():
            async with self._reader.connect() as connection:
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction that commits when the block ends and rolls back when it raises. Raises: StoreBusy.

        Never open a second one inside: on SQLite there is one writer.
        """
        with _busy_named():
            async with self._writer.begin() as connection:
                yield connection

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """Open an ORM session in a write transaction that commits when the block ends. Raises: StoreBusy."""
        with _busy_named():
            async with AsyncSession(self._writer, expire_on_commit=False) as session, session.begin():
                yield session

    @asynccontextmanager
    async def read_session(self) -> AsyncIterator[AsyncSession]:
        """Open an ORM session that cannot write. Raises: StoreBusy."""
        with _busy_named():
            async with AsyncSession(self._reader, expire_on_commit=False) as session:
                yield session

    async def transact(self, work: Callable[[AsyncConnection], Awaitable[T]], *, attempts: int = 5) -> T:
        """Run `work` in a write transaction, again when the store was busy or two transactions collided.

        `work` must have no effect outside the transaction, because it may run several times.

        Raises:
            StoreBusy: every attempt failed.

        """
        for attempt in range(1, attempts + 1):
            try:
                async with self.write() as connection:
                    return await work(connection)
            except StoreBusy:
                if attempt == attempts:
                    raise
                await asyncio.sleep(random.uniform(0.0, 0.02 * 2**attempt))  # noqa: S311 - jitter
        raise AssertionError("attempts must be at least 1")

    @asynccontextmanager
    async def copy_connection(self) -> AsyncIterator[psycopg.AsyncConnection[tuple[Any, ...]]]:  # Any: rows
        """Open a psycopg connection of its own, for COPY and LISTEN; commits when the block ends.

        Raises:
            StoreError: the database is not PostgreSQL.

        """
        self._need_postgresql()
        import psycopg  # noqa: PLC0415 - not installed where only SQLite is used

        conninfo = self.url.set(drivername="postgresql").render_as_string(hide_password=False)
        timeout_s = int(self.options.connect_timeout_s)
        async with await psycopg.AsyncConnection.connect(conninfo, connect_timeout=timeout_s) as connection:
            yield connection

    async def driver_connection(
        self, connection: AsyncConnection
    ) -> psycopg.AsyncConnection[tuple[Any, ...]]:  # Any: rows
        """Return the psycopg connection under `connection`, for a COPY inside its transaction.

        Raises:
            StoreError: the database is not PostgreSQL.

        """
        self._need_postgresql()
        raw = await connection.get_raw_connection()
        driver: psycopg.AsyncConnection[tuple[Any, ...]] | None = raw.driver_connection
        assert driver is not None  # noqa: S101 - a checked-out connection has one
        return driver

    async def ping(self) -> None:
        """Prove that the database answers. Raises: StoreBusy, sqlalchemy.exc.DBAPIError."""
        async with self.read() as connection:
            await connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Close every connection."""
        await self._writer.dispose()
        if self._reader.sync_engine.pool is not self._writer.sync_engine.pool:
            await self._reader.dispose()

    def _need_postgresql(self) -> None:
        if self.dialect is not Dialect.POSTGRESQL:
            raise StoreError(f"this needs PostgreSQL, the database is {self.dialect}")

    def _sqlite_engine(self, *, connections: int, is_writer: bool) -> AsyncEngine:
        path = self.url.database
        assert path is not None  # noqa: S101 - `parse_url` refuses a URL without a file
        options = {"isolation_level": None, "timeout": self.options.busy_timeout_s, "check_same_thread": False}
        engine = create_async_engine(
            self.url,
            echo=self.options.echo,
            hide_parameters=True,
            json_serializer=dump_json,
            json_deserializer=load_json,
            pool_size=connections,
            max_overflow=0,
            pool_timeout=self.options.busy_timeout_s,
            async_creator=partial(connect, path, **options),
        )
        prepare_sqlite(engine.sync_engine, self.options.synchronous, is_writer=is_writer)
        return engine

    def _postgresql_engine(self) -> AsyncEngine:
        milliseconds = int(self.options.statement_timeout_s * 1000)
        settings = f"-c timezone=UTC -c statement_timeout={milliseconds} -c idle_in_transaction_session_timeout=60000"
        engine = create_async_engine(
            self.url,
            echo=self.options.echo,
            hide_parameters=True,
            json_serializer=dump_json,
            json_deserializer=load_json,
            pool_size=self.options.connections,
            max_overflow=0,
            pool_timeout=self.options.busy_timeout_s,
            pool_pre_ping=True,
            connect_args={"options": settings, "connect_timeout": int(self.options.connect_timeout_s)},
        )
        event.listen(engine.sync_engine, "checkin", _drop_busy)
        return engine


def _drop_busy(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
    """Close a connection that comes back in the middle of a statement: whoever got it next could do nothing with it.

    A task that is cancelled twice, or on a machine too busy to tell the server in time, leaves one behind.
    """
    driver = getattr(connection, "driver_connection", None)
    if driver is not None and driver.info.transaction_status.name != "IDLE":
        record.invalidate()


def prepare_sqlite(engine: Engine, synchronous: Synchronous, *, is_writer: bool, foreign_keys: bool = True) -> None:
    """Set what SQLite forgets with every connection, and how its transactions begin."""
    pragmas = [
        f"synchronous={synchronous}",
        f"foreign_keys={'ON' if foreign_keys else 'OFF'}",
        "journal_size_limit=67108864",
        *(() if is_writer else ("query_only=ON",)),
    ]
    begin = "BEGIN IMMEDIATE" if is_writer else "BEGIN"

    @event.listens_for(engine, "connect")
    def connected(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        _enter_wal(cursor, may_wait=isinstance(connection, sqlite3.Connection))
        for pragma in pragmas:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        connection.exec_driver_sql(begin)


def _enter_wal(cursor: DBAPICursor, *, may_wait: bool) -> None:
    """Switch the file to WAL, once for all time.

    While another process does the same SQLite says "locked" at once, without asking its busy handler. Migrations
    open a new file first and may wait in their own thread; later connections find it switched.
    """
    for attempt in range(_WAL_ATTEMPTS, 0, -1):
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if not may_wait or attempt == 1:
                raise
            time.sleep(_WAL_PAUSE_S)
        else:
            return


@contextmanager
def _busy_named() -> Iterator[None]:
    try:
        yield
    except sqlalchemy.exc.TimeoutError as error:
        raise StoreBusy("no connection became free in time") from error
    except sqlalchemy.exc.DBAPIError as error:
        if not _is_busy(error.orig):
            raise
        raise StoreBusy("the store is busy, the transaction had no effect") from error


def _is_busy(error: BaseException | None) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None:
        return code & _PRIMARY_CODE in _SQLITE_BUSY
    return getattr(error, "sqlstate", None) in _RETRYABLE_STATES
