"""Whatever is done to the audit trail behind the program's back is found, with the number of the row."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import text

from fleet_server.staff.audit import AuditBreak, AuditHead
from fleet_server.staff.ports import AuditEntry
from kit.store import Database
from support.staff import Desk

ROWS = 24
ROUNDS = 20
Row = dict[str, Any]  # Any: columns of any type
COLUMNS = ("no", "at", "actor", "action", "target", "outcome", "source", "fields", "chain")


@pytest.fixture
async def trail(desk: Desk) -> Desk:
    """Give a trail of some rows."""
    for number in range(1, ROWS + 1):
        desk.clock.advance(1)
        fields = {"n": number, "ratio": number / 3, "whole": 1e22, "ok": True, "none": None, "name": "自助机\n=1+1"}
        await desk.trail.record(AuditEntry("chief", "kiosks.revoke", f"k-{number:04d}", "ok", fields, "10.0.0.1"))
    assert await desk.trail.verify() is None
    return desk


class Vandal:
    """Writes to the trail's table like somebody with the database's password."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def run(self, statement: str, **values: Any) -> None:  # noqa: ANN401 - any column
        async with self._database.write() as connection:
            await connection.execute(text(statement), values)

    async def rows(self) -> list[Row]:
        async with self._database.read() as connection:
            found = await connection.execute(text("SELECT * FROM staff_audit ORDER BY no"))
            return [dict(row) for row in found.mappings()]

    async def head(self) -> Row:
        async with self._database.read() as connection:
            return dict((await connection.execute(text("SELECT no, chain FROM staff_audit_head"))).mappings().one())

    async def set_head(self, no: int, chain: str) -> None:
        await self.run("UPDATE staff_audit_head SET no = :no, chain = :chain", no=no, chain=chain)

    async def move(self, old: int, new: int) -> None:
        await self.run("UPDATE staff_audit SET no = :new WHERE no = :old", old=old, new=new)

    async def copy(self, old: int, new: int) -> None:
        columns = ", ".join(COLUMNS[1:])
        await self.run(
            f"INSERT INTO staff_audit (no, {columns}) SELECT :new, {columns} FROM staff_audit WHERE no = :old",  # noqa: S608 - constants
            old=old,
            new=new,
        )


async def edit(vandal: Vandal, rng: random.Random) -> int:
    no = rng.randint(1, ROWS)
    column, value = rng.choice(
        [
            ("actor", "somebody"),
            ("action", "kiosks.release"),
            ("target", "k-9999"),
            ("target", None),
            ("outcome", "refused"),
            ("source", "10.6.6.6"),
            ("chain", "0" * 64),
            ("fields", '{"n": 0}'),
            ("at", "2020-01-01 00:00:00.000000"),
        ]
    )
    kind = {"fields": "CAST(:value AS jsonb)", "at": "CAST(:value AS timestamptz)"}.get(column, ":value")
    if vandal._database.dialect == "sqlite":
        kind = ":value"
    await vandal.run(f"UPDATE staff_audit SET {column} = {kind} WHERE no = :no", value=value, no=no)  # noqa: S608 - constants
    return no


async def delete(vandal: Vandal, rng: random.Random) -> int:
    no = rng.randint(1, ROWS - 1)
    await vandal.run("DELETE FROM staff_audit WHERE no = :no", no=no)
    return no


async def delete_and_close_the_gap(vandal: Vandal, rng: random.Random) -> int:
    no = await delete(vandal, rng)
    for later in range(no + 1, ROWS + 1):
        await vandal.move(later, later - 1)
    last = (await vandal.rows())[-1]
    await vandal.set_head(last["no"], last["chain"])
    return no


async def insert(vandal: Vandal, rng: random.Random) -> int:
    no = rng.randint(2, ROWS)
    for later in range(ROWS, no - 1, -1):
        await vandal.move(later, later + 1)
    await vandal.copy(rng.randint(1, no - 1), no)
    await vandal.set_head(ROWS + 1, (await vandal.head())["chain"])
    return no


async def append(vandal: Vandal, rng: random.Random) -> int:
    await vandal.copy(rng.randint(1, ROWS), ROWS + 1)
    return ROWS + 1


async def reorder(vandal: Vandal, rng: random.Random) -> int:
    first, second = sorted(rng.sample(range(1, ROWS + 1), 2))
    await vandal.move(first, 1_000)
    await vandal.move(second, first)
    await vandal.move(1_000, second)
    return first


async def truncate(vandal: Vandal, rng: random.Random) -> int:
    no = rng.randint(1, ROWS)
    await vandal.run("DELETE FROM staff_audit WHERE no >= :no", no=no)
    return no


async def restore_old(vandal: Vandal, rng: random.Random) -> int:
    no = await truncate(vandal, rng)
    rows = await vandal.rows()
    await vandal.set_head(no - 1, rows[-1]["chain"] if rows else "0" * 64)
    return no


Attack = Callable[[Vandal, random.Random], Awaitable[int]]
ATTACKS: tuple[Attack, ...] = (
    edit, delete, delete_and_close_the_gap, insert, append, reorder, truncate, restore_old,
)  # fmt: skip


async def _put_back(vandal: Vandal, rows: list[Row], head: Row) -> None:
    async with vandal._database.write() as connection:
        await connection.execute(text("DELETE FROM staff_audit"))
        names = ", ".join(COLUMNS)
        await connection.execute(
            text(f"INSERT INTO staff_audit ({names}) SELECT {names} FROM kept_audit"),  # noqa: S608 - constants
        )
    await vandal.set_head(head["no"], head["chain"])


@pytest.mark.parametrize("rounds", [ROUNDS, pytest.param(100, marks=[pytest.mark.slow, pytest.mark.timeout(600)])])
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: str(attack.__name__))
@pytest.mark.timeout(60)
async def test_every_attack_is_found_at_its_row(trail: Desk, fleet_db: Database, attack: Attack, rounds: int) -> None:
    vandal, rng, noted = Vandal(fleet_db), random.Random(attack.__name__), await trail.trail.head()
    rows, head = await vandal.rows(), await vandal.head()
    await vandal.run("CREATE TABLE kept_audit AS SELECT * FROM staff_audit")
    for _ in range(rounds):
        expected = await attack(vandal, rng)
        found = await trail.trail.verify(noted)
        assert found is not None
        assert found.no == expected, found.reason
        await _put_back(vandal, rows, head)
    assert await trail.trail.verify(noted) is None


async def test_a_trail_written_anew_shows_against_a_noted_head(trail: Desk, fleet_db: Database) -> None:
    noted = await trail.trail.head()
    vandal = Vandal(fleet_db)
    await vandal.run("DELETE FROM staff_audit")
    await vandal.set_head(0, "0" * 64)
    for _ in range(ROWS):
        await trail.trail.record(AuditEntry("chief", "nothing.done", None, "ok"))
    assert await trail.trail.verify() is None
    assert await trail.trail.verify(noted) == AuditBreak(ROWS, "the trail is not the one this head was noted of")


async def test_a_row_that_cannot_be_read_is_found(sqlite_desk: Desk, sqlite_fleet_db: Database) -> None:
    for _ in range(5):
        await sqlite_desk.trail.record(AuditEntry("chief", "x", None, "ok"))
    for column in ("at", "fields"):
        await Vandal(sqlite_fleet_db).run(f"UPDATE staff_audit SET {column} = 'garbage' WHERE no = 3")  # noqa: S608 - constants
        found = await sqlite_desk.trail.verify()
        assert found == AuditBreak(3, "the row cannot be read")


async def test_a_trail_without_head_is_broken(trail: Desk, fleet_db: Database) -> None:
    await Vandal(fleet_db).run("DELETE FROM staff_audit_head")
    found = await trail.trail.verify()
    assert found is not None
    assert found.no == ROWS + 1


async def test_writers_at_once_make_one_chain_and_a_verifier_meanwhile_sees_no_break(desk: Desk) -> None:
    verdicts: list[AuditBreak | None] = []
    done = asyncio.Event()

    async def write(writer: int) -> None:
        for number in range(10):
            await desk.trail.record(AuditEntry(f"writer-{writer}", "x", str(number), "ok"))

    async def verify() -> None:
        while not done.is_set():
            verdicts.append(await desk.trail.verify())

    async with asyncio.TaskGroup() as group:
        group.create_task(verify())
        async with asyncio.TaskGroup() as writers:
            for writer in range(6):
                writers.create_task(write(writer))
        done.set()
    assert set(verdicts) == {None}
    head = await desk.trail.head()
    assert head.no == 60
    assert await desk.trail.verify(AuditHead(head.no, head.chain)) is None


async def test_text_no_store_takes_is_kept_in_a_readable_form(desk: Desk) -> None:
    entry = AuditEntry("a\x00b", "x" * 200, "\ud800", "refused", {"path": "/\x00" + "y" * 9_000}, "z" * 100)
    await desk.trail.record(entry)
    (row,) = await desk.audit.rows(after_no=0, limit=10)
    assert (row.actor, len(row.action), row.target, len(row.source or "")) == ("a\ufffdb", 64, "?", 64)
    assert await desk.trail.verify() is None
