"""The contract, and what proves it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import sqlite

from kit import store

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sqlite.INTEGER(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "sla_evidence",
        sa.Column("no", sa.BigInteger(), nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("chain", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("no", name=op.f("pk_sla_evidence")),
    )
    op.create_table(
        "sla_seal",
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("head", sa.String(length=64), nullable=False),
        sa.Column("previous", sa.String(length=64), nullable=False),
        sa.Column("sealed_us", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("signature", sa.String(length=128), nullable=False),
        sa.PrimaryKeyConstraint("day", name=op.f("pk_sla_seal")),
    )
    op.create_table(
        "sla_cursor",
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("source", name=op.f("pk_sla_cursor")),
    )
    op.create_table(
        "sla_watch",
        sa.Column("no", _NUMBER, nullable=False),
        sa.Column("since", store.UtcDateTime(), nullable=False),
        sa.Column("until", store.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("no", name=op.f("pk_sla_watch")),
    )
    op.create_index(op.f("ix_sla_watch_until"), "sla_watch", ["until"], unique=False)
    op.create_table(
        "sla_contract",
        sa.Column("no", _NUMBER, nullable=False),
        sa.Column("at", store.UtcDateTime(), nullable=False),
        sa.Column("by", sa.String(length=64), nullable=False),
        sa.Column("body", store.Json(), nullable=False),
        sa.PrimaryKeyConstraint("no", name=op.f("pk_sla_contract")),
    )


def downgrade() -> None:
    op.drop_table("sla_contract")
    op.drop_index(op.f("ix_sla_watch_until"), table_name="sla_watch")
    op.drop_table("sla_watch")
    op.drop_table("sla_cursor")
    op.drop_table("sla_seal")
    op.drop_table("sla_evidence")
