"""The registry: kiosks, certificates, enrolments, sessions for clone detection; and the table of leases."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from kit import store

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "lease",
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("holder", sa.String(length=200), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", store.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_lease")),
    )
    op.create_table(
        "registry_change",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_registry_change")),
    )
    op.create_table(
        "registry_enrolment",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("csr", sa.Text(), nullable=False),
        sa.Column("key_digest", sa.String(length=64), nullable=False),
        sa.Column("serial", sa.String(length=64), nullable=False),
        sa.Column("model", sa.String(length=64), nullable=True),
        sa.Column("hostname", sa.String(length=64), nullable=True),
        sa.Column("agent_version", sa.String(length=64), nullable=True),
        sa.Column("nonce", sa.String(length=32), nullable=False),
        sa.Column("poll_token_digest", sa.String(length=64), nullable=False),
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.Column("created_at", store.UtcDateTime(), nullable=False),
        sa.Column("expires_at", store.UtcDateTime(), nullable=False),
        sa.Column("wrong_tries", sa.Integer(), nullable=False),
        sa.Column("kid", sa.String(length=40), nullable=True),
        sa.Column("decided_at", store.UtcDateTime(), nullable=True),
        sa.Column("decided_by", sa.String(length=64), nullable=True),
        sa.Column("reason", sa.String(length=200), nullable=True),
        sa.Column("fingerprint", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_registry_enrolment")),
    )
    op.create_index(op.f("ix_registry_enrolment_key_digest"), "registry_enrolment", ["key_digest"], unique=False)
    op.create_index(op.f("ix_registry_enrolment_state"), "registry_enrolment", ["state"], unique=False)
    op.create_table(
        "registry_kiosk",
        sa.Column("no", sa.Integer(), nullable=False),
        sa.Column("kid", sa.String(length=40), nullable=False),
        sa.Column("asset_no", sa.String(length=40), nullable=False),
        sa.Column("serial", sa.String(length=64), nullable=True),
        sa.Column("place", sa.String(length=64), nullable=False),
        sa.Column("area", sa.String(length=64), nullable=False),
        sa.Column("floor", sa.String(length=16), nullable=False),
        sa.Column("x", sa.Float(), nullable=True),
        sa.Column("y", sa.Float(), nullable=True),
        sa.Column("profile", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("state_since", store.UtcDateTime(), nullable=False),
        sa.Column("state_reason", sa.String(length=200), nullable=True),
        sa.Column("quarantine", sa.String(length=16), nullable=True),
        sa.Column("change_seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("no", name=op.f("pk_registry_kiosk")),
        sa.UniqueConstraint("asset_no", name=op.f("uq_registry_kiosk_asset_no")),
        sa.UniqueConstraint("kid", name=op.f("uq_registry_kiosk_kid")),
        sa.UniqueConstraint("serial", name=op.f("uq_registry_kiosk_serial")),
    )
    op.create_index(op.f("ix_registry_kiosk_change_seq"), "registry_kiosk", ["change_seq"], unique=False)
    op.create_table(
        "registry_sighting",
        sa.Column("kid", sa.String(length=40), nullable=False),
        sa.Column("sightings", store.Json(), nullable=False),
        sa.Column("updated_at", store.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("kid", name=op.f("pk_registry_sighting")),
    )
    op.create_table(
        "registry_certificate",
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("kiosk_no", sa.Integer(), nullable=False),
        sa.Column("kid", sa.String(length=40), nullable=False),
        sa.Column("serial", sa.String(length=40), nullable=False),
        sa.Column("key_digest", sa.String(length=64), nullable=False),
        sa.Column("pem", sa.Text(), nullable=False),
        sa.Column("not_before", store.UtcDateTime(), nullable=False),
        sa.Column("not_after", store.UtcDateTime(), nullable=False),
        sa.Column("issued_at", store.UtcDateTime(), nullable=False),
        sa.Column("issued_by", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("revoked_at", store.UtcDateTime(), nullable=True),
        sa.Column("revoke_reason", sa.String(length=200), nullable=True),
        sa.Column("cut", sa.Boolean(), nullable=False),
        sa.Column("enforced_at", store.UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["kiosk_no"], ["registry_kiosk.no"], name=op.f("fk_registry_certificate_kiosk_no_registry_kiosk")
        ),
        sa.PrimaryKeyConstraint("fingerprint", name=op.f("pk_registry_certificate")),
        sa.UniqueConstraint("serial", name=op.f("uq_registry_certificate_serial")),
    )
    op.create_index(op.f("ix_registry_certificate_kiosk_no"), "registry_certificate", ["kiosk_no"], unique=False)
    op.bulk_insert(sa.table("registry_change", sa.column("id"), sa.column("value")), [{"id": 1, "value": 0}])


def downgrade() -> None:
    op.drop_index(op.f("ix_registry_certificate_kiosk_no"), "registry_certificate")
    op.drop_table("registry_certificate")
    op.drop_table("registry_sighting")
    op.drop_index(op.f("ix_registry_kiosk_change_seq"), "registry_kiosk")
    op.drop_table("registry_kiosk")
    op.drop_index(op.f("ix_registry_enrolment_state"), "registry_enrolment")
    op.drop_index(op.f("ix_registry_enrolment_key_digest"), "registry_enrolment")
    op.drop_table("registry_enrolment")
    op.drop_table("registry_change")
    op.drop_table("lease")
