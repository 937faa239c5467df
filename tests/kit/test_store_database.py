"""Transactions of both databases: who may write, what is undone, what is tried again."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlmodel
from sqlalchemy import Column, ForeignKey, Integer, String, Table, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import Field, SQLModel

from kit.store import Database, Dialect, StoreBusy, StoreError, StoreOptions, StoreUrlError, Synchronous, metadata_of

_METADATA = metadata_of("store-tests")
_PLACE = Table("place", _METADATA, Column("id", Integer, primary_key=True), Column("name", String(50)))
_KIOSK = Table(
    "kiosk",
    _METADATA,
    Column("id", Integer, primary_key=True),
    Column("place_id", ForeignKey("place.id")),
    Column("visits", Integer, nullable=False, default=0),
)


class _NoteRow(SQLModel, table=True):
    __tablename__ = "note"
    metadata = _METADATA

    id: int | None = Field(default=None, primary_key=True)
    body: str


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, StoreOptions(busy_timeout_s=0.3))
    async with database.write() as connection:
        await connection.run_sync(_METADATA.create_all)
    yield database
    await database.close()


async def _count(db: Database, table: Table = _PLACE) -> int:
    async with db.read() as connection:
        return (await connection.execute(select(func.count()).select_from(table))).scalar_one()


async def _insert_place(connection: AsyncConnection, number: int = 1) -> None:
    await connection.execute(insert(_PLACE).values(id=number, name="门诊大厅"))


async def test_a_write_is_there_when_the_block_has_ended(db: Database) -> None:
    async with db.write() as connection:
        await _insert_place(connection)
    assert await _count(db) == 1


async def test_a_write_that_raises_is_undone(db: Database) -> None:
    async def broken() -> None:
        async with db.write() as connection:
            await _insert_place(connection)
            raise LookupError

    with pytest.raises(LookupError):
        await broken()
    assert await _count(db) == 0


async def test_a_cancelled_write_is_undone_and_the_next_one_works(db: Database) -> None:
    inside = asyncio.Event()

    async def endless() -> None:
        async with db.write() as connection:
            await _insert_place(connection)
            inside.set()
            await asyncio.Event().wait()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(endless())
        await inside.wait()
        task.cancel()
    assert await _count(db) == 0
    async with db.write() as connection:
        await _insert_place(connection)
    assert await _count(db) == 1


async def test_a_write_cancelled_in_its_statement_holds_nothing(db: Database) -> None:
    rows = [{"name": "x" * 40} for _ in range(2_000)]

    async def work() -> None:
        async with db.write() as connection:
            for _ in range(50):
                await connection.execute(insert(_PLACE), rows)

    cancelled = []
    for number in range(8):
        task = asyncio.get_running_loop().create_task(work(), name="cancelled")
        await asyncio.sleep(0.002 * (number + 1))  # into the middle of a statement; nothing to wait for tells where
        task.cancel()
        await asyncio.wait([task])
        cancelled.append(task)  # keeps the traceback, and with it the cursor of the statement
        async with db.write() as connection:
            await connection.execute(insert(_PLACE).values(name="next"))
    assert all(task.cancelled() for task in cancelled)
    assert await _count(db) == len(cancelled)


async def test_writing_in_a_read_is_an_error(db: Database) -> None:
    async def sneak() -> None:
        async with db.read() as connection:
            await _insert_place(connection)

    async def sneak_by_session() -> None:
        async with db.read_session() as session:
            session.add(_NoteRow(body="x"))
            await session.flush()

    for attempt in (sneak, sneak_by_session):
        with pytest.raises(DBAPIError, match=r"read.?only"):
            await attempt()
    async with db.write() as connection:
        await _insert_place(connection)
    assert await _count(db) == 1


async def test_a_reader_is_not_stopped_by_a_writer_and_does_not_see_its_work(db: Database) -> None:
    async with db.write() as connection:
        await _insert_place(connection)
        assert await _count(db) == 0
    assert await _count(db) == 1


async def test_references_are_enforced(db: Database) -> None:
    async def dangling() -> None:
        async with db.write() as connection:
            await connection.execute(insert(_KIOSK).values(id=1, place_id=404, visits=0))

    with pytest.raises(IntegrityError):
        await dangling()


async def test_a_session_commits_its_rows_and_gives_them_back(db: Database) -> None:
    async with db.session() as session:
        row = _NoteRow(body="纸已用完")
        session.add(row)
    assert row.body == "纸已用完", "usable after the commit"
    async with db.read_session() as session:
        assert (await session.exec(sqlmodel.select(_NoteRow.body))).all() == ["纸已用完"]


async def test_no_parameter_appears_in_an_error(db: Database) -> None:
    canary = "110101199003078515"
    with pytest.raises(IntegrityError) as caught:
        async with db.write() as connection:
            await connection.execute(insert(_PLACE), [{"id": 1, "name": canary}, {"id": 1, "name": canary}])
    assert canary not in str(caught.value)


async def test_many_increments_at_once_lose_nothing(db: Database, database_url: str) -> None:
    other = Database(database_url)
    async with db.write() as connection:
        await connection.execute(insert(_KIOSK).values(id=1, visits=0))

    async def visit(connection: AsyncConnection) -> None:
        seen = (
            await connection.execute(select(_KIOSK.c.visits).where(_KIOSK.c.id == 1).with_for_update())
        ).scalar_one()
        await connection.execute(update(_KIOSK).where(_KIOSK.c.id == 1).values(visits=seen + 1))

    async with asyncio.TaskGroup() as group:
        for number in range(40):
            group.create_task((db, other)[number % 2].transact(visit))
    async with db.read() as connection:
        assert (await connection.execute(select(_KIOSK.c.visits))).scalar_one() == 40
    await other.close()


async def test_a_serialisation_failure_is_tried_again(db: Database) -> None:
    if db.dialect is Dialect.SQLITE:
        return  # one writer: there is nothing to collide with
    async with db.write() as connection:
        await connection.execute(insert(_KIOSK).values(id=1, visits=0))
    both_have_read = asyncio.Barrier(2)
    runs: list[int] = []

    async def visit(connection: AsyncConnection) -> None:
        runs.append(1)
        await connection.execute(text("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"))
        seen = (await connection.execute(select(_KIOSK.c.visits))).scalar_one()
        if len(runs) <= 2:
            await both_have_read.wait()
        await connection.execute(update(_KIOSK).values(visits=seen + 1))

    async with asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(db.transact(visit))
    assert len(runs) > 2
    async with db.read() as connection:
        assert (await connection.execute(select(_KIOSK.c.visits))).scalar_one() == 2


async def test_a_deadlock_is_tried_again(db: Database) -> None:
    if db.dialect is Dialect.SQLITE:
        return  # one writer: there is nothing to wait for crosswise
    async with db.write() as connection:
        await connection.execute(insert(_KIOSK), [{"id": 1, "visits": 0}, {"id": 2, "visits": 0}])
    both_hold_one = asyncio.Barrier(2)
    runs: list[tuple[int, int]] = []

    async def cross(connection: AsyncConnection, order: tuple[int, int]) -> None:
        runs.append(order)
        await connection.execute(text("SET LOCAL deadlock_timeout = '50ms'"))
        bump = update(_KIOSK).values(visits=_KIOSK.c.visits + 1)
        await connection.execute(bump.where(_KIOSK.c.id == order[0]))
        if len(runs) <= 2:
            await both_hold_one.wait()
        await connection.execute(bump.where(_KIOSK.c.id == order[1]))

    async with asyncio.TaskGroup() as group:
        group.create_task(db.transact(lambda connection: cross(connection, (1, 2))))
        group.create_task(db.transact(lambda connection: cross(connection, (2, 1))))
    assert len(runs) == 3
    async with db.read() as connection:
        assert (await connection.execute(select(_KIOSK.c.visits))).scalars().all() == [2, 2]


async def _begin(db: Database) -> None:
    async with db.write():
        pass


async def test_a_writer_that_waits_too_long_is_told_so(db: Database, database_url: str) -> None:
    if db.dialect is Dialect.POSTGRESQL:
        return  # two writers of different rows do not wait for each other
    other = Database(database_url, StoreOptions(busy_timeout_s=0.1))
    async with db.write() as connection:
        await _insert_place(connection)
        with pytest.raises(StoreBusy) as from_another_process:
            await _begin(other)
        with pytest.raises(StoreBusy) as from_the_same:
            await _begin(db)
    assert "no effect" in str(from_another_process.value)
    assert "connection" in str(from_the_same.value)
    await other.close()


async def test_work_that_stays_busy_gives_up(db: Database) -> None:
    attempts: list[int] = []

    async def busy(_connection: AsyncConnection) -> None:
        attempts.append(1)
        raise StoreBusy("always")

    with pytest.raises(StoreBusy, match="always"):
        await db.transact(busy, attempts=3)
    assert len(attempts) == 3


async def test_work_that_fails_for_another_reason_is_not_repeated(db: Database) -> None:
    attempts: list[int] = []

    async def wrong(connection: AsyncConnection) -> None:
        attempts.append(1)
        await _insert_place(connection)
        await _insert_place(connection)

    with pytest.raises(IntegrityError):
        await db.transact(wrong)
    assert len(attempts) == 1
    assert await _count(db) == 0


async def test_copy_is_part_of_the_transaction(db: Database) -> None:
    if db.dialect is Dialect.SQLITE:
        async with db.write() as connection:
            with pytest.raises(StoreError, match="PostgreSQL"):
                await db.driver_connection(connection)
        return

    async def load(*, fails: bool) -> None:
        async with db.write() as connection:
            driver = await db.driver_connection(connection)
            async with driver.cursor() as cursor, cursor.copy("COPY place (id, name) FROM STDIN") as copy:
                for number in range(100):
                    await copy.write_row((number, f"place {number}"))
            await connection.execute(insert(_KIOSK).values(id=1, place_id=99, visits=0))
            if fails:
                raise LookupError

    with pytest.raises(LookupError):
        await load(fails=True)
    assert await _count(db) == 0
    await load(fails=False)
    assert (await _count(db), await _count(db, _KIOSK)) == (100, 1)


async def test_a_copy_connection_commits_on_its_own(db: Database) -> None:
    if db.dialect is Dialect.SQLITE:
        copying = db.copy_connection()
        with pytest.raises(StoreError, match="PostgreSQL"):
            await copying.__aenter__()
        return
    async with db.copy_connection() as connection:
        await connection.execute("INSERT INTO place (id, name) VALUES (1, 'x')")
    assert await _count(db) == 1


async def test_every_sqlite_connection_is_set_up(database_url: str) -> None:
    if not database_url.startswith("sqlite"):
        return
    database = Database(database_url, StoreOptions(synchronous=Synchronous.FULL, connections=3))

    async def settings(connection: AsyncConnection) -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys", "query_only", "busy_timeout")
        return [(await connection.exec_driver_sql(f"PRAGMA {name}")).scalar_one() for name in names]

    async with database.write() as connection:
        assert await settings(connection) == ["wal", 2, 1, 0, 10_000]
    async with database.read() as first, database.read() as second, database.read() as third:
        for connection in (first, second, third):
            assert await settings(connection) == ["wal", 2, 1, 1, 10_000]
    await database.close()


async def test_a_postgresql_session_is_in_utc_and_bounded(database_url: str) -> None:
    if database_url.startswith("sqlite"):
        return
    database = Database(database_url, StoreOptions(statement_timeout_s=0.2))
    async with database.read() as connection:
        assert (await connection.execute(text("SHOW timezone"))).scalar_one() == "UTC"
    with pytest.raises(DBAPIError, match="statement timeout"):
        async with database.read() as connection:
            await connection.execute(text("SELECT pg_sleep(5)"))
    await database.close()


async def test_a_connection_the_server_cut_is_replaced(db: Database, database_url: str) -> None:
    if db.dialect is Dialect.SQLITE:
        return
    async with db.read() as connection:
        pid = (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one()
    other = Database(database_url)
    async with other.write() as connection:
        await connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
    await db.ping()
    await other.close()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("mysql://a@b/c", "must be sqlite or postgresql"),
        ("nonsense", "malformed"),
        ("sqlite://", "needs a file"),
        ("sqlite:///:memory:", "needs a file"),
    ],
)
def test_a_wrong_url_is_refused_without_repeating_it(url: str, reason: str) -> None:
    with pytest.raises(StoreUrlError, match=reason) as caught:
        Database(url)
    assert "a@b" not in str(caught.value)


@pytest.mark.parametrize("url", ["sqlite:///{}", "sqlite+aiosqlite:///{}", "sqlite+pysqlite:///{}"])
async def test_the_driver_in_the_url_does_not_matter(url: str, tmp_path: Path) -> None:
    database = Database(url.format(tmp_path / "x.db"))
    await database.ping()
    await database.close()
    with sqlite3.connect(tmp_path / "x.db") as plain:
        assert plain.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    plain.close()
