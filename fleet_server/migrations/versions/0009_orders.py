"""Work orders."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from kit import store

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_TABLES = (
    "orders_order",
    "orders_target",
    "orders_pause",
    "orders_event",
    "orders_part",
    "orders_photo",
    "orders_checkin",
    "orders_number",
    "orders_cursor",
)


def upgrade() -> None:
    _orders()
    _beside()
    _counters()


def _orders() -> None:
    op.create_table(
        "orders_order",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("number", sa.String(length=20), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("cause", sa.String(length=64), nullable=False),
        sa.Column("place", sa.String(length=128), nullable=False),
        sa.Column("severity", sa.String(length=16), nullable=False),
        sa.Column("incident", sa.String(length=26), nullable=True),
        sa.Column("since", store.UtcDateTime(), nullable=False),
        sa.Column("opened_at", store.UtcDateTime(), nullable=False),
        sa.Column("text", sa.String(length=512), nullable=False),
        sa.Column("assignee", sa.String(length=64), nullable=True),
        sa.Column("response_at", store.UtcDateTime(), nullable=True),
        sa.Column("response_by", sa.String(length=64), nullable=True),
        sa.Column("response_evidence", sa.String(length=192), nullable=True),
        sa.Column("on_site_at", store.UtcDateTime(), nullable=True),
        sa.Column("on_site_by", sa.String(length=64), nullable=True),
        sa.Column("on_site_evidence", sa.String(length=192), nullable=True),
        sa.Column("claimed_at", store.UtcDateTime(), nullable=True),
        sa.Column("claimed_by", sa.String(length=64), nullable=True),
        sa.Column("repair_at", store.UtcDateTime(), nullable=True),
        sa.Column("repair_by", sa.String(length=64), nullable=True),
        sa.Column("repair_evidence", sa.String(length=192), nullable=True),
        sa.Column("waiver_by", sa.String(length=64), nullable=True),
        sa.Column("waiver_reason", sa.String(length=512), nullable=True),
        sa.Column("probation_until", store.UtcDateTime(), nullable=True),
        sa.Column("fault_at", store.UtcDateTime(), nullable=True),
        sa.Column("closed_at", store.UtcDateTime(), nullable=True),
        sa.Column("relapses", sa.Integer(), nullable=False),
        sa.Column("response_level", sa.Integer(), nullable=False),
        sa.Column("repair_level", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_orders_order")),
        sa.UniqueConstraint("number", name=op.f("uq_orders_order_number")),
    )
    op.create_index(op.f("ix_orders_order_state"), "orders_order", ["state"], unique=False)
    op.create_index(op.f("ix_orders_order_place"), "orders_order", ["place"], unique=False)
    op.create_index(op.f("ix_orders_order_incident"), "orders_order", ["incident"], unique=False)
    op.create_table(
        "orders_target",
        sa.Column("order", sa.String(length=26), nullable=False),
        sa.Column("kid", sa.String(length=40), nullable=False),
        sa.Column("component", sa.String(length=64), nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("since", store.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("order", "kid", "component", "code", name=op.f("pk_orders_target")),
    )
    op.create_table(
        "orders_pause",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("order", sa.String(length=26), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=False),
        sa.Column("evidence_kind", sa.String(length=16), nullable=False),
        sa.Column("evidence", sa.String(length=192), nullable=False),
        sa.Column("since", store.UtcDateTime(), nullable=False),
        sa.Column("until", store.UtcDateTime(), nullable=True),
        sa.Column("by", sa.String(length=64), nullable=False),
        sa.Column("approved_by", sa.String(length=64), nullable=True),
        sa.Column("counts", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_orders_pause")),
    )
    op.create_index(op.f("ix_orders_pause_order"), "orders_pause", ["order"], unique=False)


def _beside() -> None:
    op.create_table(
        "orders_event",
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("order", sa.String(length=26), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("at", store.UtcDateTime(), nullable=False),
        sa.Column("written_at", store.UtcDateTime(), nullable=False),
        sa.Column("by", sa.String(length=64), nullable=True),
        sa.Column("fields", store.Json(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_orders_event")),
    )
    op.create_index(op.f("ix_orders_event_order"), "orders_event", ["order"], unique=False)
    op.create_table(
        "orders_part",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("order", sa.String(length=26), nullable=False),
        sa.Column("kid", sa.String(length=40), nullable=False),
        sa.Column("component", sa.String(length=64), nullable=False),
        sa.Column("part", sa.String(length=64), nullable=False),
        sa.Column("serial_out", sa.String(length=64), nullable=False),
        sa.Column("serial_in", sa.String(length=64), nullable=False),
        sa.Column("at", store.UtcDateTime(), nullable=False),
        sa.Column("by", sa.String(length=64), nullable=False),
        sa.Column("warranty_until", store.UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_orders_part")),
    )
    op.create_index(op.f("ix_orders_part_order"), "orders_part", ["order"], unique=False)
    op.create_table(
        "orders_photo",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("order", sa.String(length=26), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("media_type", sa.String(length=32), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("at", store.UtcDateTime(), nullable=False),
        sa.Column("by", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_orders_photo")),
    )
    op.create_index(op.f("ix_orders_photo_order"), "orders_photo", ["order"], unique=False)
    op.create_table(
        "orders_checkin",
        sa.Column("nonce", sa.String(length=64), nullable=False),
        sa.Column("order", sa.String(length=26), nullable=False),
        sa.Column("kid", sa.String(length=40), nullable=False),
        sa.Column("at", store.UtcDateTime(), nullable=False),
        sa.Column("by", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("nonce", name=op.f("pk_orders_checkin")),
    )


def _counters() -> None:
    op.create_table(
        "orders_number",
        sa.Column("year", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("value", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("year", name=op.f("pk_orders_number")),
    )
    op.create_table(
        "orders_cursor",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("feed_seq", sa.BigInteger(), nullable=False),
        sa.Column("next_seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_orders_cursor")),
    )
    row = sa.table("orders_cursor", sa.column("id"), sa.column("feed_seq"), sa.column("next_seq"))
    op.bulk_insert(row, [{"id": 1, "feed_seq": 0, "next_seq": 1}])


def downgrade() -> None:
    for name in reversed(_TABLES):
        op.drop_table(name)
