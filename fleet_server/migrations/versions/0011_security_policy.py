"""The security policy, spare codes, and the name an account has at the single sign-on."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from kit import store

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "staff_policy",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("document", store.Json(), nullable=False),
        sa.Column("changed_at", store.UtcDateTime(), nullable=False),
        sa.Column("changed_by", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_staff_policy")),
    )
    with op.batch_alter_table("staff_user") as table:
        table.add_column(sa.Column("spare_codes", store.Json(), nullable=True))
        table.add_column(sa.Column("sso_name", sa.String(length=128), nullable=True))
        table.create_unique_constraint(op.f("uq_staff_user_sso_name"), ["sso_name"])


def downgrade() -> None:
    with op.batch_alter_table("staff_user") as table:
        table.drop_constraint(op.f("uq_staff_user_sso_name"), type_="unique")
        table.drop_column("sso_name")
        table.drop_column("spare_codes")
    op.drop_table("staff_policy")
