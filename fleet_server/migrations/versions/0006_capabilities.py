"""What patients can do at each kiosk, and what is left of its consumables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from kit import store

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "capabilities_change",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_capabilities_change")),
    )
    op.create_table(
        "capabilities_entry",
        sa.Column("kid", sa.String(length=40), nullable=False),
        sa.Column("component", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("epoch", sa.String(length=64), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("at", store.UtcDateTime(), nullable=False),
        sa.Column("body", store.Json(), nullable=False),
        sa.Column("change_seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("kid", "component", "subject", name=op.f("pk_capabilities_entry")),
    )
    op.create_index(op.f("ix_capabilities_entry_change_seq"), "capabilities_entry", ["change_seq"], unique=False)
    op.bulk_insert(sa.table("capabilities_change", sa.column("id"), sa.column("value")), [{"id": 1, "value": 0}])


def downgrade() -> None:
    op.drop_index(op.f("ix_capabilities_entry_change_seq"), table_name="capabilities_entry")
    op.drop_table("capabilities_entry")
    op.drop_table("capabilities_change")
