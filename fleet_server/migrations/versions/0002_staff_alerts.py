"""Staff and alarms: accounts, sessions, API tokens, the audit trail, and which alarms are up."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from kit import store

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "alerts_alarm",
        sa.Column("kid", sa.String(length=40), nullable=False),
        sa.Column("component", sa.String(length=64), nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("severity", sa.String(length=16), nullable=False),
        sa.Column("origin", sa.String(length=16), nullable=False),
        sa.Column("is_open", sa.Boolean(), nullable=False),
        sa.Column("raised_at", store.UtcDateTime(), nullable=False),
        sa.Column("detected_at", store.UtcDateTime(), nullable=False),
        sa.Column("cleared_at", store.UtcDateTime(), nullable=True),
        sa.Column("detail", store.Json(), nullable=False),
        sa.Column("change_seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("kid", "component", "code", name=op.f("pk_alerts_alarm")),
    )
    op.create_index(op.f("ix_alerts_alarm_change_seq"), "alerts_alarm", ["change_seq"], unique=False)
    op.create_index(op.f("ix_alerts_alarm_is_open"), "alerts_alarm", ["is_open"], unique=False)
    op.create_table(
        "alerts_change",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alerts_change")),
    )
    op.create_table(
        "staff_audit",
        sa.Column("no", sa.BigInteger(), nullable=False),
        sa.Column("at", store.UtcDateTime(), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("target", sa.String(length=64), nullable=True),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("source", sa.String(length=64), nullable=True),
        sa.Column("fields", store.Json(), nullable=False),
        sa.Column("chain", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("no", name=op.f("pk_staff_audit")),
    )
    op.create_index(op.f("ix_staff_audit_action"), "staff_audit", ["action"], unique=False)
    op.create_index(op.f("ix_staff_audit_actor"), "staff_audit", ["actor"], unique=False)
    op.create_index(op.f("ix_staff_audit_at"), "staff_audit", ["at"], unique=False)
    op.create_index(op.f("ix_staff_audit_target"), "staff_audit", ["target"], unique=False)
    op.create_table(
        "staff_audit_head",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("no", sa.BigInteger(), nullable=False),
        sa.Column("chain", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_staff_audit_head")),
    )
    op.create_table(
        "staff_user",
        sa.Column("username", sa.String(length=32), nullable=False),
        sa.Column("display_name", sa.String(length=64), nullable=False),
        sa.Column("roles", store.Json(), nullable=False),
        sa.Column("language", sa.String(length=8), nullable=False),
        sa.Column("password_hash", sa.String(length=256), nullable=False),
        sa.Column("earlier_hashes", store.Json(), nullable=False),
        sa.Column("totp_secret", sa.String(length=64), nullable=False),
        sa.Column("totp_last_step", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("locked_until", store.UtcDateTime(), nullable=True),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("created_at", store.UtcDateTime(), nullable=False),
        sa.Column("password_changed_at", store.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("username", name=op.f("pk_staff_user")),
    )
    op.create_table(
        "staff_session",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("username", sa.String(length=32), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("created_at", store.UtcDateTime(), nullable=False),
        sa.Column("last_used_at", store.UtcDateTime(), nullable=False),
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["username"], ["staff_user.username"], name=op.f("fk_staff_session_username_staff_user")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_staff_session")),
        sa.UniqueConstraint("digest", name=op.f("uq_staff_session_digest")),
    )
    op.create_index(op.f("ix_staff_session_username"), "staff_session", ["username"], unique=False)
    op.create_table(
        "staff_token",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("username", sa.String(length=32), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("permissions", store.Json(), nullable=False),
        sa.Column("created_at", store.UtcDateTime(), nullable=False),
        sa.Column("expires_at", store.UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["username"], ["staff_user.username"], name=op.f("fk_staff_token_username_staff_user")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_staff_token")),
        sa.UniqueConstraint("digest", name=op.f("uq_staff_token_digest")),
    )
    op.create_index(op.f("ix_staff_token_username"), "staff_token", ["username"], unique=False)
    head = sa.table("staff_audit_head", sa.column("id"), sa.column("no"), sa.column("chain"))
    op.bulk_insert(head, [{"id": 1, "no": 0, "chain": "0" * 64}])
    op.bulk_insert(sa.table("alerts_change", sa.column("id"), sa.column("value")), [{"id": 1, "value": 0}])


def downgrade() -> None:
    op.drop_index(op.f("ix_staff_token_username"), table_name="staff_token")
    op.drop_table("staff_token")
    op.drop_index(op.f("ix_staff_session_username"), table_name="staff_session")
    op.drop_table("staff_session")
    op.drop_table("staff_user")
    op.drop_table("staff_audit_head")
    op.drop_index(op.f("ix_staff_audit_target"), table_name="staff_audit")
    op.drop_index(op.f("ix_staff_audit_at"), table_name="staff_audit")
    op.drop_index(op.f("ix_staff_audit_actor"), table_name="staff_audit")
    op.drop_index(op.f("ix_staff_audit_action"), table_name="staff_audit")
    op.drop_table("staff_audit")
    op.drop_table("alerts_change")
    op.drop_index(op.f("ix_alerts_alarm_is_open"), table_name="alerts_alarm")
    op.drop_index(op.f("ix_alerts_alarm_change_seq"), table_name="alerts_alarm")
    op.drop_table("alerts_alarm")
