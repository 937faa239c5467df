"""The store: SQLite or PostgreSQL through one interface, with migrations and leases.

    db = Database(settings.database_url)
    await migrate(settings.database_url, "shop.server:migrations")
    async with db.write() as connection:
        await connection.execute(...)

SQLModel and SQLAlchemy are imported here and in `store.py` modules only.
"""

from kit.store.database import (
    Database,
    Dialect,
    StoreBusy,
    StoreError,
    StoreOptions,
    StoreUrlError,
    Synchronous,
    parse_url,
)
from kit.store.lease import Lease, LeaseLost, Leases, lease_table
from kit.store.migrate import (
    MigrationError,
    SchemaDrift,
    check,
    downgrade,
    migrate,
    new_revision,
    revisions,
    run_migrations,
    upgrade,
)
from kit.store.types import Json, UtcDateTime, metadata_of

__all__ = [
    "Database",
    "Dialect",
    "Json",
    "Lease",
    "LeaseLost",
    "Leases",
    "MigrationError",
    "SchemaDrift",
    "StoreBusy",
    "StoreError",
    "StoreOptions",
    "StoreUrlError",
    "Synchronous",
    "UtcDateTime",
    "check",
    "downgrade",
    "lease_table",
    "metadata_of",
    "migrate",
    "new_revision",
    "parse_url",
    "revisions",
    "run_migrations",
    "upgrade",
]
