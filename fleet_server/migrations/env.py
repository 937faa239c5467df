"""Alembic's entry: imports every feature's store, so that its tables are in the metadata."""

from fleet_server.alerts import store as alerts_store
from fleet_server.capabilities import store as capabilities_store
from fleet_server.incidents import store as incidents_store
from fleet_server.orders import store as orders_store
from fleet_server.paging import store as paging_store
from fleet_server.presence import store as presence_store
from fleet_server.registry import store as registry_store
from fleet_server.sla import store as sla_store
from fleet_server.staff import store as staff_store
from fleet_server.telemetry import store as telemetry_store
from fleet_server.uplink import store as uplink_store
from kit.store import lease_table, run_migrations

lease_table(registry_store.METADATA)
STORES = (
    registry_store,
    staff_store,
    alerts_store,
    incidents_store,
    orders_store,
    paging_store,
    uplink_store,
    telemetry_store,
    presence_store,
    capabilities_store,
    sla_store,
)
run_migrations(registry_store.METADATA)
