"""Who is told of an incident."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from kit import store

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    cursor = op.create_table(
        "paging_cursor",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_paging_cursor")),
    )
    op.bulk_insert(cursor, [{"id": 1, "seq": 0}])
    op.create_table(
        "paging_case",
        sa.Column("incident", sa.String(length=26), nullable=False),
        sa.Column("occasion", sa.BigInteger(), nullable=False),
        sa.Column("severity", sa.String(length=16), nullable=False),
        sa.Column("began_at", store.UtcDateTime(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("snoozed_until", store.UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("incident", "occasion", name=op.f("pk_paging_case")),
    )
    op.create_index(op.f("ix_paging_case_state"), "paging_case", ["state"], unique=False)
    op.create_table(
        "paging_delivery",
        sa.Column("incident", sa.String(length=26), nullable=False),
        sa.Column("occasion", sa.BigInteger(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("target", sa.String(length=64), nullable=False),
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("due_at", store.UtcDateTime(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("touched_at", store.UtcDateTime(), nullable=True),
        sa.Column("note", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("incident", "occasion", "step", "turn", "target", name=op.f("pk_paging_delivery")),
        sa.UniqueConstraint("id", name=op.f("uq_paging_delivery_id")),
    )
    op.create_index(op.f("ix_paging_delivery_state"), "paging_delivery", ["state"], unique=False)


def downgrade() -> None:
    for name in ("delivery", "case", "cursor"):
        op.drop_table(f"paging_{name}")
