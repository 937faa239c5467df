"""Column types: what goes in comes out, on both dialects, and what cannot is refused with a reason."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, insert, select, text
from sqlalchemy.exc import StatementError

from kit.store import Database, Dialect, Json, UtcDateTime, metadata_of
from kit.store.types import NAMING, dump_json

_METADATA = MetaData()
_MOMENT = Table(
    "moment",
    _METADATA,
    Column("id", Integer, primary_key=True),
    Column("at", UtcDateTime),
    Column("document", Json),
)
_BEIJING = timezone(timedelta(hours=8))


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    async with database.write() as connection:
        await connection.run_sync(_METADATA.create_all)
    yield database
    await database.close()


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 11, 23, 2, 0, 0, 1, tzinfo=UTC),
        datetime(2026, 11, 23, 2, 0, 0, 999_999, tzinfo=UTC),
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(2026, 11, 23, 10, 0, 0, 123_456, tzinfo=_BEIJING),
    ],
)
async def test_moments_are_exact_and_come_back_in_utc(db: Database, moment: datetime) -> None:
    async with db.write() as connection:
        await connection.execute(insert(_MOMENT).values(id=1, at=moment))
    async with db.read() as connection:
        found = (await connection.execute(select(_MOMENT.c.at).where(_MOMENT.c.at == moment))).scalar_one()
    assert found == moment
    assert found.tzinfo is UTC
    assert found.microsecond == moment.microsecond


async def test_moments_sort_and_compare_across_zones(db: Database) -> None:
    early = datetime(2026, 11, 23, 9, 59, 59, tzinfo=_BEIJING)
    late = datetime(2026, 11, 23, 2, 0, 0, tzinfo=UTC)
    async with db.write() as connection:
        await connection.execute(insert(_MOMENT), [{"id": 1, "at": late}, {"id": 2, "at": early}])
    async with db.read() as connection:
        ordered = (await connection.execute(select(_MOMENT.c.id).order_by(_MOMENT.c.at))).scalars().all()
        before = (await connection.execute(select(_MOMENT.c.id).where(_MOMENT.c.at < late))).scalars().all()
    assert list(ordered) == [2, 1]
    assert list(before) == [2]


async def test_a_time_without_a_zone_is_refused_and_nothing_is_stored(db: Database) -> None:
    with pytest.raises(StatementError, match="without a zone"):
        async with db.write() as connection:
            await connection.execute(insert(_MOMENT).values(id=1, at=datetime(2026, 11, 23)))  # noqa: DTZ001 - the point
    async with db.read() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM moment"))).scalar_one() == 0


@pytest.mark.parametrize("document", [{"名": "打印机", "n": [1, 2.5, None, True]}, [], "text", 0, "back\\u0000slash"])
async def test_documents_come_back_equal(db: Database, document: object) -> None:
    async with db.write() as connection:
        await connection.execute(insert(_MOMENT).values(id=1, document=document))
    async with db.read() as connection:
        assert (await connection.execute(select(_MOMENT.c.document))).scalar_one() == document


async def test_no_document_is_null(db: Database) -> None:
    async with db.write() as connection:
        await connection.execute(insert(_MOMENT).values(id=1, document=None))
    async with db.read() as connection:
        assert (await connection.execute(text("SELECT document IS NULL FROM moment"))).scalar_one()


async def test_documents_can_be_asked_by_part(db: Database) -> None:
    async with db.write() as connection:
        await connection.execute(insert(_MOMENT), [{"id": n, "document": {"paper": n}} for n in range(3)])
    asked = select(_MOMENT.c.id).where(_MOMENT.c.document["paper"].as_integer() == 2)
    async with db.read() as connection:
        assert (await connection.execute(asked)).scalars().all() == [2]


async def test_documents_are_jsonb_on_postgresql(db: Database) -> None:
    if db.dialect is Dialect.SQLITE:
        return
    async with db.read() as connection:
        kind = await connection.execute(
            text("SELECT data_type FROM information_schema.columns WHERE column_name = 'document'")
        )
        assert kind.scalar_one() == "jsonb"


@pytest.mark.parametrize("document", [float("nan"), float("inf"), {"a": "x\x00y"}, "\\\x00"])
async def test_documents_postgresql_cannot_hold_are_refused_on_both(db: Database, document: object) -> None:
    with pytest.raises((StatementError, ValueError)):
        async with db.write() as connection:
            await connection.execute(insert(_MOMENT).values(id=1, document=document))


def test_serialised_text_is_compact_and_readable() -> None:
    assert dump_json({"名": [1, 2]}) == '{"名":[1,2]}'


def test_metadata_are_one_per_schema_and_name_their_constraints() -> None:
    assert metadata_of("a-test") is metadata_of("a-test")
    assert metadata_of("a-test") is not metadata_of("b-test")
    assert metadata_of("a-test").naming_convention == NAMING
