"""Alembic's entry: imports every feature's store, so that its tables are in the metadata."""

from fleet_server.registry import store as registry_store
from kit.store import lease_table, run_migrations

lease_table(registry_store.METADATA)
run_migrations(registry_store.METADATA)
