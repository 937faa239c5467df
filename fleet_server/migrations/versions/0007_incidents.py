"""The log of edges of alarms, and incidents."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from kit import store

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


_SHARED = ("site", "switch", "power_feed")


def upgrade() -> None:
    for name in _SHARED:
        op.add_column("registry_kiosk", sa.Column(name, sa.String(length=64), nullable=False, server_default=""))
    op.create_table(
        "alerts_edge",
        sa.Column("change_seq", sa.BigInteger(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("kid", sa.String(length=40), nullable=False),
        sa.Column("component", sa.String(length=64), nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("edge", sa.String(length=8), nullable=False),
        sa.Column("severity", sa.String(length=16), nullable=False),
        sa.Column("at", store.UtcDateTime(), nullable=False),
        sa.Column("detected_at", store.UtcDateTime(), nullable=False),
        sa.Column("origin", sa.String(length=16), nullable=False),
        sa.Column("is_hist", sa.Boolean(), nullable=False),
        sa.Column("detail", store.Json(), nullable=False),
        sa.PrimaryKeyConstraint("change_seq", "n", name=op.f("pk_alerts_edge")),
    )
    op.create_index(op.f("ix_alerts_edge_at"), "alerts_edge", ["at"], unique=False)
    _incidents()
    op.create_table(
        "incidents_event",
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("incident", sa.String(length=26), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("at", store.UtcDateTime(), nullable=False),
        sa.Column("written_at", store.UtcDateTime(), nullable=False),
        sa.Column("by", sa.String(length=64), nullable=True),
        sa.Column("fields", store.Json(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_incidents_event")),
    )
    op.create_index(op.f("ix_incidents_event_incident"), "incidents_event", ["incident"], unique=False)
    cursor = op.create_table(
        "incidents_cursor",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("change_seq", sa.BigInteger(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("next_number", sa.BigInteger(), nullable=False),
        sa.Column("next_seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incidents_cursor")),
    )
    op.bulk_insert(cursor, [{"id": 1, "change_seq": 0, "n": -1, "next_number": 1, "next_seq": 1}])
    op.create_table(
        "incidents_window",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("scope", sa.String(length=16), nullable=False),
        sa.Column("scope_name", sa.String(length=128), nullable=False),
        sa.Column("starts_at", store.UtcDateTime(), nullable=False),
        sa.Column("ends_at", store.UtcDateTime(), nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.Column("created_by", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incidents_window")),
    )
    op.create_index(op.f("ix_incidents_window_ends_at"), "incidents_window", ["ends_at"], unique=False)


def _incidents() -> None:
    op.create_table(
        "incidents_incident",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("cause", sa.String(length=64), nullable=False),
        sa.Column("scope", sa.String(length=16), nullable=False),
        sa.Column("scope_name", sa.String(length=128), nullable=False),
        sa.Column("severity", sa.String(length=16), nullable=False),
        sa.Column("since", store.UtcDateTime(), nullable=False),
        sa.Column("detected_at", store.UtcDateTime(), nullable=False),
        *(
            sa.Column(name, store.UtcDateTime(), nullable=True)
            for name in ("gathers_until", "opened_at", "acknowledged_at")
        ),
        sa.Column("acknowledged_by", sa.String(length=64), nullable=True),
        sa.Column("recovered_at", store.UtcDateTime(), nullable=True),
        sa.Column("closed_at", store.UtcDateTime(), nullable=True),
        sa.Column("flaps", sa.Integer(), nullable=False),
        sa.Column("snoozed_until", store.UtcDateTime(), nullable=True),
        sa.Column("window", sa.String(length=26), nullable=True),
        sa.Column("is_hist", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("change_seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incidents_incident")),
    )
    for name in ("number", "state", "since", "change_seq"):
        op.create_index(op.f(f"ix_incidents_incident_{name}"), "incidents_incident", [name], unique=False)
    op.create_table(
        "incidents_member",
        sa.Column("incident", sa.String(length=26), nullable=False),
        sa.Column("kid", sa.String(length=40), nullable=False),
        sa.Column("component", sa.String(length=64), nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("part", sa.String(length=8), nullable=False),
        sa.Column("severity", sa.String(length=16), nullable=False),
        sa.Column("since", store.UtcDateTime(), nullable=False),
        sa.Column("cleared_at", store.UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("incident", "kid", "component", "code", name=op.f("pk_incidents_member")),
    )
    op.create_index(op.f("ix_incidents_member_kid"), "incidents_member", ["kid"], unique=False)


def downgrade() -> None:
    for name in ("window", "cursor", "event", "member", "incident"):
        op.drop_table(f"incidents_{name}")
    op.drop_table("alerts_edge")
    with op.batch_alter_table("registry_kiosk") as table:
        for name in _SHARED:
            table.drop_column(name)
