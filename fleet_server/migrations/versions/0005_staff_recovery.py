"""Accounts keep the one-time token with which their owner gets back in."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from kit import store

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("staff_user", sa.Column("recovery_digest", sa.String(length=64), nullable=True))
    op.add_column("staff_user", sa.Column("recovery_reset", sa.String(length=16), nullable=True))
    op.add_column("staff_user", sa.Column("recovery_expires_at", store.UtcDateTime(), nullable=True))
    op.create_index(op.f("ix_staff_user_recovery_digest"), "staff_user", ["recovery_digest"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_staff_user_recovery_digest"), table_name="staff_user")
    with op.batch_alter_table("staff_user") as table:
        table.drop_column("recovery_expires_at")
        table.drop_column("recovery_reset")
        table.drop_column("recovery_digest")
