"""Alembic's entry: imports every feature's store, so that its tables are in the metadata."""

from kit.store import run_migrations
from patient_platform.audit import store as audit_store
from patient_platform.identity import store as identity_store
from patient_platform.payment import store as payment_store
from patient_platform.reconciliation import store as reconciliation_store
from patient_platform.registration import store as registration_store

STORES = (payment_store, identity_store, registration_store, reconciliation_store, audit_store)
run_migrations(payment_store.METADATA)
