"""Both stores for tests: `database_url` runs a test on SQLite and on a private PostgreSQL.

One PostgreSQL server per test session (Debian's binaries, socket only, no fsync, in memory where there is room), one
fresh database per test.
Without the binaries the fixture fails; `KIOSK_ALLOW_NO_POSTGRES=1` turns that into a printed skip.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import psycopg
import pytest

from support.processes import Child, dying_with_parent
from support.waiting import wait_until

__all__ = [
    "STORES",
    "PostgresServer",
    "StoreFactory",
    "database_url",
    "find_postgres",
    "postgres_server",
    "start_postgres",
    "stop_postgres",
    "stores",
]

STORES = ("sqlite", "postgresql")
_ALLOW_NONE = "KIOSK_ALLOW_NO_POSTGRES"
_ACCOUNT = "postgres"
_MEMORY = Path("/dev/shm")
_MEMORY_FREE_BYTES = 2 * 1024**3
_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "max_connections": "200",
    "shared_buffers": "32MB",
    "log_min_messages": "warning",
}

_LEAVES_NOTHING = {"dynamic_shared_memory_type": "mmap"}
"""Otherwise a server that is ended at once leaves its shared memory behind, outside of its directory."""


def _binaries() -> Path | None:
    """The newest installed server, from PATH or from Debian's place."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    return versions[-1].parent if versions else None


def required(binaries: Path | None, environ: Mapping[str, str]) -> Path:
    """Return the binaries; without any, fail the test, or skip it aloud when that was asked for."""
    if binaries is not None:
        return binaries
    reason = "PostgreSQL is missing: apt-get install --no-install-recommends postgresql"
    if environ.get(_ALLOW_NONE) == "1":
        print(f"SKIPPED on PostgreSQL: {reason}")  # noqa: T201 - a skip must be seen
        pytest.skip(reason)
    pytest.fail(reason, pytrace=False)


@dataclass(slots=True)
class PostgresServer:
    """A PostgreSQL of our own, reachable through a socket in its directory."""

    directory: Path
    child: Child
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def url(self, database: str) -> str:
        """The SQLAlchemy URL of one database."""
        return f"postgresql+psycopg://{_ACCOUNT}@/{database}?host={self.directory}"

    def create(self, template: str = "template1") -> str:
        """Make a fresh database, a copy of `template`, and return its name."""
        name = f"test_{next(self._numbers)}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def drop(self, database: str) -> None:
        """Remove a database and cut whoever is still connected."""
        self._execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")

    def is_ready(self) -> bool:
        """Whether it answers."""
        try:
            self._execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def _execute(self, statement: str) -> None:
        with psycopg.connect(
            host=str(self.directory), user=_ACCOUNT, dbname="postgres", autocommit=True, connect_timeout=5
        ) as connection:
            connection.execute(statement.encode())


def find_postgres() -> Path:
    """The binaries, for a bench: nothing replaces them."""
    return required(_binaries(), {})


def in_memory() -> Path | None:
    """Where files lie in memory, with room enough; a fresh database there costs a tenth of one on a disk."""
    try:
        is_roomy = shutil.disk_usage(_MEMORY).free >= _MEMORY_FREE_BYTES
    except OSError:
        return None
    return _MEMORY if is_roomy and os.access(_MEMORY, os.W_OK) else None


def start_postgres(
    binaries: Path, settings: Mapping[str, str] | None = None, *, below: Path | None = None
) -> PostgresServer:
    """Make a cluster below a directory, the system's temporary one by default, and start it.

    Root hands it to user postgres. `settings` are added to those that make tests fast, or replace them.
    """
    directory = Path(tempfile.mkdtemp(prefix="kiosk-pg-", dir=below))
    user = _ACCOUNT if os.getuid() == 0 else None
    if user is not None:
        directory.chmod(0o755)
        shutil.chown(directory, user, pwd.getpwnam(user).pw_gid)
    data = directory / "data"
    initdb = [str(binaries / "initdb"), "-D", str(data), "-A", "trust", "-U", _ACCOUNT, "-E", "UTF8"]
    subprocess.run(
        dying_with_parent([*initdb, "--locale=C.UTF-8", "--no-sync"], user=user),
        check=True,
        capture_output=True,
        cwd=directory,
        timeout=60,
    )
    options = [part for name, value in {**_SETTINGS, **(settings or {})}.items() for part in ("-c", f"{name}={value}")]
    child = Child(
        name="postgres",
        argv=[str(binaries / "postgres"), "-D", str(data), "-k", str(directory), *options],
        log_path=directory.with_suffix(".log"),
        cwd=directory,
        user=user,
        outlives_test=True,
    )
    server = PostgresServer(directory, child.start())
    wait_until(lambda: server.is_ready() or not child.is_running, timeout_s=30.0, what="PostgreSQL to answer")
    if not child.is_running:
        raise child.failed("PostgreSQL did not start")
    return server


def stop_postgres(server: PostgresServer) -> None:
    """End the server at once and remove its files."""
    server.child.send(signal.SIGQUIT)
    wait_until(lambda: not server.child.is_running, timeout_s=10.0, what="PostgreSQL to end")
    server.child.close()
    shutil.rmtree(server.directory, ignore_errors=True)
    server.child.log_path.unlink(missing_ok=True)


class StoreFactory:
    """Makes databases of either kind, empty or copied from one that was prepared (migrated) once per session."""

    def __init__(self, directory: Path, postgres: Callable[[], PostgresServer]) -> None:
        """Ask for PostgreSQL only when the first test needs it."""
        self._directory = directory
        self._postgres = postgres
        self._numbers = count(1)
        self._templates: dict[tuple[str, str], str] = {}

    def empty(self, store: str) -> str:
        """Return the URL of a new, empty database."""
        if store == "sqlite":
            return f"sqlite+aiosqlite:///{self._file()}"
        server = self._postgres()
        return server.url(server.create())

    def prepared(self, store: str, key: str, prepare: Callable[[str], None]) -> str:
        """Return the URL of a copy of a database on which `prepare(url)` ran once; `key` names the preparation."""
        template = self._templates.get((store, key))
        if template is None:
            url = self.empty(store)
            prepare(url)
            template = url.partition("@/")[2].partition("?")[0] if store == "postgresql" else url.partition(":///")[2]
            self._templates[store, key] = template
        if store == "sqlite":
            copy = self._file()
            with closing(sqlite3.connect(template)) as source, closing(sqlite3.connect(copy)) as target:
                source.backup(target)
            return f"sqlite+aiosqlite:///{copy}"
        server = self._postgres()
        return server.url(server.create(template))

    def discard(self, url: str) -> None:
        """Remove a database; nobody may use it any more."""
        if url.startswith("postgresql"):
            self._postgres().drop(url.partition("@/")[2].partition("?")[0])
            return
        file = Path(url.partition(":///")[2])
        for suffix in ("", "-wal", "-shm"):
            file.with_name(file.name + suffix).unlink(missing_ok=True)

    def _file(self) -> Path:
        return self._directory / f"test_{next(self._numbers)}.db"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """Run one PostgreSQL for the whole session."""
    server = start_postgres(required(_binaries(), os.environ), _LEAVES_NOTHING, below=in_memory())
    yield server
    stop_postgres(server)


@pytest.fixture(scope="session")
def stores(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> StoreFactory:
    """Make databases for tests of both stores."""

    def postgres() -> PostgresServer:
        server = request.getfixturevalue("postgres_server")
        assert isinstance(server, PostgresServer)
        return server

    return StoreFactory(tmp_path_factory.mktemp("stores"), postgres)


@pytest.fixture(params=STORES)
def database_url(request: pytest.FixtureRequest, stores: StoreFactory) -> Iterator[str]:
    """Run the test twice: on an empty SQLite file and on an empty PostgreSQL database."""
    url = stores.empty(request.param)
    yield url
    stores.discard(url)
