"""Who is on duty, links that acknowledge, pages of forecasts, and when the duties last had a turn."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from kit import store

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _roster()
    op.create_table(
        "paging_link",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("incident", sa.String(length=26), nullable=False),
        sa.Column("delivery", sa.String(length=26), nullable=False),
        sa.Column("by", sa.String(length=64), nullable=False),
        sa.Column("is_person", sa.Boolean(), nullable=False),
        sa.Column("expires_at", store.UtcDateTime(), nullable=False),
        sa.Column("used_at", store.UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_paging_link")),
    )
    op.create_index(op.f("ix_paging_link_expires_at"), "paging_link", ["expires_at"], unique=False)
    with op.batch_alter_table("paging_case") as table:
        table.add_column(sa.Column("forecast", store.Json(), nullable=True))
    for cursor in ("paging_cursor", "incidents_cursor"):
        with op.batch_alter_table(cursor) as table:
            table.add_column(sa.Column("turned_at", store.UtcDateTime(), nullable=True))
    # The second row is the place in the feed of work orders; what is in it already is nobody told of any more.
    op.execute("INSERT INTO paging_cursor (id, seq) SELECT 2, COALESCE(MAX(seq), 0) FROM orders_event")


def _roster() -> None:
    op.create_table(
        "paging_roster",
        sa.Column("line", sa.String(length=16), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("document", store.Json(), nullable=False),
        sa.Column("changed_at", store.UtcDateTime(), nullable=False),
        sa.Column("changed_by", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("line", name=op.f("pk_paging_roster")),
    )
    op.create_table(
        "paging_swap",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("line", sa.String(length=16), nullable=False),
        sa.Column("starts_at", store.UtcDateTime(), nullable=False),
        sa.Column("ends_at", store.UtcDateTime(), nullable=False),
        sa.Column("stands_in", sa.String(length=64), nullable=False),
        sa.Column("replaces", sa.String(length=64), nullable=True),
        sa.Column("note", sa.String(length=500), nullable=False),
        sa.Column("created_at", store.UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_paging_swap")),
    )
    op.create_index(op.f("ix_paging_swap_ends_at"), "paging_swap", ["ends_at"], unique=False)
    op.create_table(
        "paging_handover",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("line", sa.String(length=16), nullable=False),
        sa.Column("gives", sa.String(length=64), nullable=False),
        sa.Column("takes", sa.String(length=64), nullable=False),
        sa.Column("note", sa.String(length=500), nullable=False),
        sa.Column("offered_at", store.UtcDateTime(), nullable=False),
        sa.Column("confirmed_at", store.UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_paging_handover")),
    )
    op.create_index(op.f("ix_paging_handover_offered_at"), "paging_handover", ["offered_at"], unique=False)
    with op.batch_alter_table("paging_delivery") as table:
        table.add_column(sa.Column("person", sa.String(length=64), nullable=True))


def downgrade() -> None:
    op.execute("DELETE FROM paging_cursor WHERE id = 2")
    for cursor in ("paging_cursor", "incidents_cursor"):
        with op.batch_alter_table(cursor) as table:
            table.drop_column("turned_at")
    with op.batch_alter_table("paging_case") as table:
        table.drop_column("forecast")
    op.drop_table("paging_link")
    with op.batch_alter_table("paging_delivery") as table:
        table.drop_column("person")
    for name in ("handover", "swap", "roster"):
        op.drop_table(f"paging_{name}")
