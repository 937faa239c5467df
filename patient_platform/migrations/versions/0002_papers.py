"""Which kiosk prints the paper of an order, and since when."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from kit import store

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("pay_order", schema=None) as batch_op:
        batch_op.add_column(sa.Column("paper_kiosk", sa.String(length=40), nullable=True))
        batch_op.add_column(sa.Column("paper_at", store.UtcDateTime(), nullable=True))
