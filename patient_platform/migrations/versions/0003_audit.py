"""The audit trail; the database refuses to change what is written."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from kit import store

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None
START = "0" * 64


def upgrade() -> None:
    head = op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("no", sa.BigInteger(), nullable=False),
        sa.Column("chain", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_head")),
    )
    op.bulk_insert(head, [{"id": 1, "no": 0, "chain": START}])
    op.create_table(
        "audit_line",
        sa.Column("no", sa.BigInteger(), nullable=False),
        sa.Column("at", store.UtcDateTime(), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("target", sa.String(length=64), nullable=True),
        sa.Column("outcome", sa.String(length=64), nullable=False),
        sa.Column("fields", store.Json(), nullable=False),
        sa.Column("chain", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("no", name=op.f("pk_audit_line")),
    )
    for name in ("at", "actor", "target"):
        op.create_index(op.f(f"ix_audit_line_{name}"), "audit_line", [name], unique=False)
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    for act in ("UPDATE", "DELETE"):
        refuse = "FOR EACH ROW EXECUTE FUNCTION pay_append_only()"
        if not is_postgresql:
            refuse = "BEGIN SELECT RAISE(ABORT, 'append only'); END"
        op.execute(f"CREATE TRIGGER audit_line_no_{act.lower()} BEFORE {act} ON audit_line {refuse}")


def downgrade() -> None:
    op.drop_table("audit_line")
    op.drop_table("audit_head")
