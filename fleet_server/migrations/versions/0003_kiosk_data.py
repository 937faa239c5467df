"""Data from the kiosks: uplink cursors, samples (by day on PostgreSQL), events, presence."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from kit import store

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

INSTANT = sa.TIMESTAMP(timezone=True).with_variant(sa.BigInteger(), "sqlite")
"""On SQLite microseconds since 1970 UTC."""
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "presence_change",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_presence_change")),
    )
    op.create_table(
        "presence_edge",
        sa.Column("no", NUMBER, nullable=False),
        sa.Column("kiosk_no", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("since", store.UtcDateTime(), nullable=False),
        sa.Column("detected_at", store.UtcDateTime(), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("no", name=op.f("pk_presence_edge")),
    )
    op.create_index("ix_presence_edge_kiosk_no_since", "presence_edge", ["kiosk_no", "since"], unique=False)
    op.create_table(
        "presence_kiosk",
        sa.Column("kiosk_no", sa.Integer(), nullable=False),
        sa.Column("kid", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("since", store.UtcDateTime(), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=False),
        sa.Column("session", sa.BigInteger(), nullable=False),
        sa.Column("boot", sa.String(length=64), nullable=True),
        sa.Column("last_seen_at", store.UtcDateTime(), nullable=True),
        sa.Column("agent_version", sa.String(length=64), nullable=True),
        sa.Column("activity", sa.String(length=16), nullable=False),
        sa.Column("clock_offset_s", sa.Float(), nullable=True),
        sa.Column("queue_rows", sa.BigInteger(), nullable=False),
        sa.Column("birth", store.Json(), nullable=True),
        sa.Column("offline_alarm", sa.Boolean(), nullable=False),
        sa.Column("unstable_alarm", sa.Boolean(), nullable=False),
        sa.Column("change_seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("kiosk_no", name=op.f("pk_presence_kiosk")),
    )
    op.create_index(op.f("ix_presence_kiosk_change_seq"), "presence_kiosk", ["change_seq"], unique=False)
    _create_telemetry()
    _create_uplink()
    for name in ("telemetry_change", "presence_change"):
        op.bulk_insert(sa.table(name, sa.column("id"), sa.column("value")), [{"id": 1, "value": 0}])


def _create_telemetry() -> None:
    op.create_table(
        "telemetry_change",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_telemetry_change")),
    )
    op.create_table(
        "telemetry_latest",
        sa.Column("kiosk_no", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kid", sa.String(length=40), nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("sample", store.Json(), nullable=False),
        sa.Column("change_seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("kiosk_no", name=op.f("pk_telemetry_latest")),
    )
    op.create_index(op.f("ix_telemetry_latest_change_seq"), "telemetry_latest", ["change_seq"], unique=False)
    op.create_table(
        "telemetry_sample",
        sa.Column("kiosk_no", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("stream_no", sa.Integer(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("kiosk_at", INSTANT, nullable=False),
        sa.Column("received_at", INSTANT, nullable=False),
        sa.Column("hist", sa.Boolean(), nullable=False),
        sa.Column("span_s", sa.Float(), nullable=True),
        sa.Column("component", sa.String(length=64), nullable=False),
        sa.Column("sample", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("kiosk_no", "at", "stream_no", "seq", name=op.f("pk_telemetry_sample")),
        postgresql_partition_by="RANGE (at)",
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute("CREATE TABLE telemetry_sample_default PARTITION OF telemetry_sample DEFAULT")
        op.create_index(
            "ix_telemetry_sample_at",
            "telemetry_sample",
            ["at"],
            postgresql_using="brin",
            postgresql_with={"pages_per_range": 16, "autosummarize": "on"},
        )
    _create_evidence()


def _create_evidence() -> None:
    op.create_table(
        "telemetry_event",
        sa.Column("no", NUMBER, nullable=False),
        sa.Column("kiosk_no", sa.Integer(), nullable=False),
        sa.Column("stream_no", sa.Integer(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("kiosk_at", INSTANT, nullable=False),
        sa.Column("received_at", INSTANT, nullable=False),
        sa.Column("basis", sa.SmallInteger(), nullable=False),
        sa.Column("hist", sa.Boolean(), nullable=False),
        sa.Column("record_class", sa.String(length=2), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("component", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("chain_n", sa.BigInteger(), nullable=True),
        sa.Column("chain", sa.String(length=64), nullable=True),
        sa.Column("digest", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("no", name=op.f("pk_telemetry_event")),
        sa.UniqueConstraint("stream_no", "seq", name=op.f("uq_telemetry_event_stream_no_seq")),
    )
    op.create_index(op.f("ix_telemetry_event_at"), "telemetry_event", ["at"], unique=False)
    op.create_index("ix_telemetry_event_kiosk_no_at_no", "telemetry_event", ["kiosk_no", "at", "no"], unique=False)
    op.create_index(
        "ix_telemetry_event_stream_no_chain_n",
        "telemetry_event",
        ["stream_no", "chain_n"],
        unique=False,
        postgresql_where=sa.text("chain_n IS NOT NULL"),
        sqlite_where=sa.text("chain_n IS NOT NULL"),
    )
    op.create_table(
        "telemetry_chain",
        sa.Column("stream_no", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kiosk_no", sa.Integer(), nullable=False),
        sa.Column("base_n", sa.BigInteger(), nullable=False),
        sa.Column("base", sa.String(length=64), nullable=False),
        sa.Column("proved_n", sa.BigInteger(), nullable=False),
        sa.Column("head", sa.String(length=64), nullable=False),
        sa.Column("broken_n", sa.BigInteger(), nullable=True),
        sa.Column("broken_seq", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.String(length=100), nullable=True),
        sa.Column("updated_at", store.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("stream_no", name=op.f("pk_telemetry_chain")),
    )
    op.create_index(op.f("ix_telemetry_chain_kiosk_no"), "telemetry_chain", ["kiosk_no"], unique=False)


def _create_uplink() -> None:
    op.create_table(
        "uplink_stream",
        sa.Column("no", sa.Integer(), nullable=False),
        sa.Column("kiosk_no", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.String(length=64), nullable=False),
        sa.Column("through_seq", sa.BigInteger(), nullable=False),
        sa.Column("ranges", store.Json(), nullable=False),
        sa.Column("records", sa.BigInteger(), nullable=False),
        sa.Column("opened_at", store.UtcDateTime(), nullable=False),
        sa.Column("updated_at", store.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("no", name=op.f("pk_uplink_stream")),
        sa.UniqueConstraint("kiosk_no", "epoch", name=op.f("uq_uplink_stream_kiosk_no_epoch")),
    )
    op.create_table(
        "uplink_rejected",
        sa.Column("no", NUMBER, nullable=False),
        sa.Column("kiosk_no", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.String(length=64), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(length=400), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("received_at", store.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("no", name=op.f("pk_uplink_rejected")),
    )
    op.create_index(op.f("ix_uplink_rejected_kiosk_no"), "uplink_rejected", ["kiosk_no"], unique=False)
    op.create_index(op.f("ix_uplink_rejected_received_at"), "uplink_rejected", ["received_at"], unique=False)
    op.create_table(
        "uplink_worker",
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("seen_at", store.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_uplink_worker")),
    )


def downgrade() -> None:
    for name in (
        "uplink_worker",
        "uplink_rejected",
        "uplink_stream",
        "telemetry_chain",
        "telemetry_event",
        "telemetry_sample",
        "telemetry_latest",
        "telemetry_change",
    ):
        op.drop_table(name)
    op.drop_index(op.f("ix_presence_kiosk_change_seq"), table_name="presence_kiosk")
    op.drop_table("presence_kiosk")
    op.drop_index("ix_presence_edge_kiosk_no_since", table_name="presence_edge")
    op.drop_table("presence_edge")
    op.drop_table("presence_change")
