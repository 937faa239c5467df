"""Alarms remember their newest raise, so that edges may arrive in any order."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from kit import store

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("alerts_alarm", sa.Column("last_raised_at", store.UtcDateTime(), nullable=True))
    op.execute("UPDATE alerts_alarm SET last_raised_at = raised_at")


def downgrade() -> None:
    with op.batch_alter_table("alerts_alarm") as table:
        table.drop_column("last_raised_at")
