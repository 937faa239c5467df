"""Migrations from code, of a package made for the test, on both dialects."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from kit.store import (
    Database,
    Dialect,
    MigrationError,
    SchemaDrift,
    check,
    downgrade,
    metadata_of,
    migrate,
    new_revision,
    revisions,
)

_PACKAGE = "kit_migrations_under_test"
_ENV = f"""
from kit.store import run_migrations
from {_PACKAGE}.models import METADATA
run_migrations(METADATA)
"""
_MODELS = """
from sqlalchemy import Column, ForeignKey, Integer, MetaData, String, Table
from kit.store import Json, UtcDateTime
from kit.store.types import NAMING

METADATA = MetaData(naming_convention=dict(NAMING))
PLACE = Table("place", METADATA, Column("id", Integer, primary_key=True), Column("name", String(50), nullable=False))
KIOSK = Table(
    "kiosk",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("place_id", ForeignKey("place.id", ondelete="CASCADE"), nullable=False),
    Column("seen_at", UtcDateTime),
    Column("facts", Json),
)
"""
_FIRST = """
import sqlalchemy as sa
from alembic import op
from kit import store

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "place",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=50), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_place")),
    )
    op.create_table(
        "kiosk",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("place_id", sa.Integer(), nullable=False),
        sa.Column("seen_at", store.UtcDateTime(), nullable=True),
        sa.Column("facts", store.Json(), nullable=True),
        sa.ForeignKeyConstraint(["place_id"], ["place.id"], name=op.f("fk_kiosk_place_id_place"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_kiosk")),
    )


def downgrade() -> None:
    op.drop_table("kiosk")
    op.drop_table("place")
"""
_SECOND = """
import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("place") as batch:
        batch.alter_column("name", existing_type=sa.String(length=50), nullable=False)


def downgrade() -> None:
    with op.batch_alter_table("place") as batch:
        batch.alter_column("name", existing_type=sa.String(length=50), nullable=True)
"""
_TEMPLATE = """
\"\"\"${message}\"\"\"
import sqlalchemy as sa
from alembic import op
${imports if imports else ""}

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package with models and two revisions; forgotten after the test."""
    root = tmp_path / "site" / _PACKAGE
    versions = root / "migrations" / "versions"
    versions.mkdir(parents=True)
    (root / "__init__.py").touch()
    (root / "migrations" / "__init__.py").touch()
    for name, body in (("models.py", _MODELS), ("migrations/env.py", _ENV), ("migrations/script.py.mako", _TEMPLATE)):
        (root / name).write_text(dedent(body).lstrip())
    (versions / "0001_first.py").write_text(_FIRST)
    (versions / "0002_second.py").write_text(_SECOND)
    monkeypatch.syspath_prepend(str(root.parent))
    yield root
    for name in [name for name in sys.modules if name.partition(".")[0] == _PACKAGE]:
        del sys.modules[name]


_WHERE = f"{_PACKAGE}:migrations"


async def test_an_empty_database_reaches_the_newest_revision_and_matches_the_models(
    package: Path, database_url: str
) -> None:
    assert await revisions(database_url, _WHERE) == (None, "0002")
    await migrate(database_url, _WHERE)
    assert await revisions(database_url, _WHERE) == ("0002", "0002")
    await migrate(database_url, _WHERE)
    await check(database_url, _WHERE)


async def test_data_survive_a_table_that_is_rebuilt(package: Path, database_url: str) -> None:
    await migrate(database_url, _WHERE)
    await asyncio.to_thread(downgrade, database_url, _WHERE, "0001")
    db = Database(database_url)
    async with db.write() as connection:
        await connection.execute(text("INSERT INTO place (id, name) VALUES (1, '一楼大厅')"))
        await connection.execute(text("INSERT INTO kiosk (id, place_id) VALUES (7, 1)"))
    await migrate(database_url, _WHERE)
    async with db.read() as connection:
        assert (await connection.execute(text("SELECT place_id FROM kiosk WHERE id = 7"))).scalar_one() == 1
    with pytest.raises(DBAPIError):
        async with db.write() as connection:
            await connection.execute(text("INSERT INTO kiosk (id, place_id) VALUES (8, 99)"))
    await db.close()


async def test_two_processes_may_migrate_at_the_same_time(package: Path, database_url: str) -> None:
    script = f"import sys; from kit.store import upgrade; upgrade({database_url!r}, {_WHERE!r})"
    environment = {"PYTHONPATH": str(package.parent), "PATH": "/usr/bin"}
    async with asyncio.TaskGroup() as group:
        runs = [group.create_task(_python(script, environment)) for _ in range(2)]
    assert [run.result() for run in runs] == [(0, ""), (0, "")]
    assert await revisions(database_url, _WHERE) == ("0002", "0002")


async def _python(script: str, environment: dict[str, str]) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, env=environment, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await process.communicate()
    return process.returncode, errors.decode()


async def test_a_failing_migration_changes_nothing(package: Path, database_url: str) -> None:
    await migrate(database_url, _WHERE)
    broken = _SECOND.replace('"0002"', '"0003"').replace('"0001"', '"0002"')
    broken = broken.replace(
        "def upgrade() -> None:\n",
        'def upgrade() -> None:\n    op.drop_table("kiosk")\n    op.execute("SELECT * FROM no_such_table")\n',
    )
    (package / "migrations" / "versions" / "0003_broken.py").write_text(broken)
    with pytest.raises(MigrationError, match="no_such_table"):
        await migrate(database_url, _WHERE)
    assert await revisions(database_url, _WHERE) == ("0002", "0003")
    db = Database(database_url)
    async with db.read() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM kiosk"))).scalar_one() == 0
    await db.close()


async def test_a_database_of_a_newer_release_is_refused(package: Path, database_url: str) -> None:
    await migrate(database_url, _WHERE)
    (package / "migrations" / "versions" / "0002_second.py").unlink()
    with pytest.raises(MigrationError, match="0002"):
        await migrate(database_url, _WHERE)


async def test_a_model_without_migration_is_found(package: Path, database_url: str) -> None:
    models = package / "models.py"
    models.write_text(
        models.read_text().replace('Column("facts", Json)', 'Column("facts", Json), Column("x", Integer)')
    )
    await migrate(database_url, _WHERE)
    with pytest.raises(SchemaDrift, match="'x'"):
        await check(database_url, _WHERE)


async def test_a_changed_type_is_found(package: Path, database_url: str) -> None:
    models = package / "models.py"
    models.write_text(models.read_text().replace('Column("seen_at", UtcDateTime)', 'Column("seen_at", Integer)'))
    await migrate(database_url, _WHERE)
    with pytest.raises(SchemaDrift, match="seen_at"):
        await check(database_url, _WHERE)


async def test_tables_only_the_database_knows_are_left_alone(package: Path, database_url: str) -> None:
    await migrate(database_url, _WHERE)
    db = Database(database_url)
    async with db.write() as connection:
        await connection.execute(text("CREATE TABLE partition_of_something (id INTEGER)"))
    await db.close()
    await check(database_url, _WHERE)


async def test_a_new_revision_is_written_with_our_types(package: Path, database_url: str) -> None:
    models = package / "models.py"
    addition = 'Table("visit", METADATA, Column("id", Integer, primary_key=True), Column("at", UtcDateTime))\n'
    models.write_text(models.read_text() + addition)
    await migrate(database_url, _WHERE)
    await asyncio.to_thread(new_revision, database_url, _WHERE, "visits")
    written = next((package / "migrations" / "versions").glob("*visits.py")).read_text()
    assert "from kit import store" in written
    assert "store.UtcDateTime()" in written
    await migrate(database_url, _WHERE)
    await check(database_url, _WHERE)


async def test_dangling_references_stop_a_migration_on_sqlite(package: Path, database_url: str) -> None:
    db = Database(database_url)
    if db.dialect is Dialect.POSTGRESQL:
        return  # PostgreSQL checks them itself, at once
    await migrate(database_url, _WHERE)
    careless = _SECOND.replace('"0002"', '"0003"').replace('"0001"', '"0002"')
    careless = careless.replace(
        "def upgrade() -> None:\n",
        'def upgrade() -> None:\n    op.execute("INSERT INTO kiosk (id, place_id) VALUES (1, 404)")\n',
    )
    (package / "migrations" / "versions" / "0003_careless.py").write_text(careless)
    with pytest.raises(MigrationError, match="dangling"):
        await migrate(database_url, _WHERE)
    async with db.read() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM kiosk"))).scalar_one() == 0
    await db.close()


async def test_a_database_that_cannot_be_reached_is_named(package: Path, tmp_path: Path) -> None:
    with pytest.raises(MigrationError, match="unable to open database file"):
        await migrate(f"sqlite+aiosqlite:///{tmp_path}/missing/x.db", _WHERE)
    with pytest.raises(MigrationError, match="No such file"):
        await migrate(f"postgresql+psycopg://nobody@/x?host={tmp_path}", _WHERE)


def test_metadata_of_can_be_used_by_two_servers_in_one_process() -> None:
    assert not set(metadata_of("one-server").tables) & set(metadata_of("other-server").tables)
