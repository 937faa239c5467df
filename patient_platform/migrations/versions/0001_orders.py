"""Orders, patients, slot locks and reconciliation; ledger and history can only be appended to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from kit import store

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

APPEND_ONLY = ("pay_ledger", "pay_history")


def upgrade() -> None:
    op.create_table(
        "identity_patient",
        sa.Column("patient", sa.String(length=40), nullable=False),
        sa.Column("his_patient", sa.String(length=64), nullable=False),
        sa.Column("visit_number", sa.String(length=1000), nullable=False),
        sa.Column("number_index", sa.String(length=64), nullable=False),
        sa.Column("name_sealed", sa.String(length=1000), nullable=False),
        sa.Column("number_sealed", sa.String(length=1000), nullable=False),
        sa.Column("phone_sealed", sa.String(length=1000), nullable=False),
        sa.Column("birthday_sealed", sa.String(length=1000), nullable=False),
        sa.Column("updated_at", store.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("patient", name=op.f("pk_identity_patient")),
        sa.UniqueConstraint("his_patient", name=op.f("uq_identity_patient_his_patient")),
    )
    with op.batch_alter_table("identity_patient", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_identity_patient_number_index"), ["number_index"], unique=False)

    op.create_table(
        "pay_claim",
        sa.Column("key", sa.String(length=120), nullable=False),
        sa.Column("order", sa.String(length=26), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_pay_claim")),
    )
    with op.batch_alter_table("pay_claim", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_pay_claim_order"), ["order"], unique=False)

    op.create_table(
        "pay_code",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("seen_at", store.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_pay_code")),
    )
    with op.batch_alter_table("pay_code", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_pay_code_seen_at"), ["seen_at"], unique=False)

    op.create_table(
        "pay_history",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("order", sa.String(length=26), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("at", store.UtcDateTime(), nullable=False),
        sa.Column("note", sa.String(length=200), nullable=False),
        sa.Column("money", sa.String(length=20), nullable=True),
        sa.Column("posting", sa.String(length=20), nullable=False),
        sa.Column("fulfilment", sa.String(length=20), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pay_history")),
    )
    with op.batch_alter_table("pay_history", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_pay_history_order"), ["order"], unique=False)

    op.create_table(
        "pay_ledger",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("event", sa.String(length=80), nullable=False),
        sa.Column("order", sa.String(length=26), nullable=False),
        sa.Column("account", sa.String(length=80), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.Column("at", store.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pay_ledger")),
        sa.UniqueConstraint("event", "account", name=op.f("uq_pay_ledger_event_account")),
    )
    with op.batch_alter_table("pay_ledger", schema=None) as batch_op:
        batch_op.create_index("ix_pay_ledger_account_at", ["account", "at"], unique=False)
        batch_op.create_index(batch_op.f("ix_pay_ledger_order"), ["order"], unique=False)

    op.create_table(
        "pay_order",
        sa.Column("order", sa.String(length=26), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("kiosk", sa.String(length=40), nullable=False),
        sa.Column("session", sa.String(length=40), nullable=False),
        sa.Column("patient", sa.String(length=40), nullable=False),
        sa.Column("business", sa.String(length=20), nullable=False),
        sa.Column("keys", store.Json(), nullable=False),
        sa.Column("subject", store.Json(), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.Column("created_at", store.UtcDateTime(), nullable=False),
        sa.Column("expires_at", store.UtcDateTime(), nullable=False),
        sa.Column("due_at", store.UtcDateTime(), nullable=True),
        sa.Column("posting", sa.String(length=20), nullable=False),
        sa.Column("posting_tries", sa.Integer(), nullable=False),
        sa.Column("posting_started_at", store.UtcDateTime(), nullable=True),
        sa.Column("posting_touched_at", store.UtcDateTime(), nullable=True),
        sa.Column("posting_reason", sa.String(length=40), nullable=True),
        sa.Column("posted_at", store.UtcDateTime(), nullable=True),
        sa.Column("posted", store.Json(), nullable=False),
        sa.Column("fulfilment", sa.String(length=20), nullable=False),
        sa.Column("prints", sa.Integer(), nullable=False),
        sa.Column("ended_at", store.UtcDateTime(), nullable=True),
        sa.Column("is_released", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=True),
        sa.Column("is_over", sa.Boolean(), nullable=False),
        sa.Column("lease_owner", sa.String(length=80), nullable=True),
        sa.Column("lease_until", store.UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("order", name=op.f("pk_pay_order")),
    )
    with op.batch_alter_table("pay_order", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_pay_order_created_at"), ["created_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_pay_order_due_at"), ["due_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_pay_order_is_over"), ["is_over"], unique=False)
        batch_op.create_index(batch_op.f("ix_pay_order_kiosk"), ["kiosk"], unique=False)
        batch_op.create_index(batch_op.f("ix_pay_order_patient"), ["patient"], unique=False)
        batch_op.create_index(batch_op.f("ix_pay_order_posting"), ["posting"], unique=False)

    _create_the_rest()
    _forbid_changes()


def _create_the_rest() -> None:
    op.create_table(
        "reconciliation_batch",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("channel", sa.String(length=20), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("made_at", store.UtcDateTime(), nullable=False),
        sa.Column("reason", sa.String(length=400), nullable=False),
        sa.Column("counts", store.Json(), nullable=False),
        sa.Column("ours", store.Json(), nullable=False),
        sa.Column("theirs", store.Json(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reconciliation_batch")),
        sa.UniqueConstraint("day", "channel", "version", name=op.f("uq_reconciliation_batch_day_channel_version")),
    )
    with op.batch_alter_table("reconciliation_batch", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_reconciliation_batch_day"), ["day"], unique=False)

    op.create_table(
        "registration_lock",
        sa.Column("lock", sa.String(length=40), nullable=False),
        sa.Column("session", sa.String(length=40), nullable=False),
        sa.Column("kiosk", sa.String(length=40), nullable=False),
        sa.Column("pre_id", sa.String(length=200), nullable=False),
        sa.Column("slot_key", sa.String(length=120), nullable=False),
        sa.Column("fee_fen", sa.BigInteger(), nullable=False),
        sa.Column("queue_number", sa.String(length=200), nullable=False),
        sa.Column("department", sa.String(length=200), nullable=False),
        sa.Column("doctor", sa.String(length=200), nullable=False),
        sa.Column("location", sa.String(length=200), nullable=False),
        sa.Column("begin", sa.String(length=40), nullable=False),
        sa.Column("end", sa.String(length=40), nullable=False),
        sa.Column("expires_at", store.UtcDateTime(), nullable=False),
        sa.Column("order", sa.String(length=26), nullable=True),
        sa.PrimaryKeyConstraint("lock", name=op.f("pk_registration_lock")),
    )
    with op.batch_alter_table("registration_lock", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_registration_lock_expires_at"), ["expires_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_registration_lock_session"), ["session"], unique=False)

    op.create_table(
        "identity_session",
        sa.Column("session", sa.String(length=40), nullable=False),
        sa.Column("kiosk", sa.String(length=40), nullable=False),
        sa.Column("patient", sa.String(length=40), nullable=False),
        sa.Column("created_at", store.UtcDateTime(), nullable=False),
        sa.Column("expires_at", store.UtcDateTime(), nullable=False),
        sa.Column("ended_at", store.UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["patient"], ["identity_patient.patient"], name=op.f("fk_identity_session_patient_identity_patient")
        ),
        sa.PrimaryKeyConstraint("session", name=op.f("pk_identity_session")),
    )
    with op.batch_alter_table("identity_session", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_identity_session_expires_at"), ["expires_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_identity_session_kiosk"), ["kiosk"], unique=False)

    op.create_table(
        "pay_leg",
        sa.Column("trade_no", sa.String(length=32), nullable=False),
        sa.Column("order", sa.String(length=26), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("channel", sa.String(length=20), nullable=False),
        sa.Column("method", sa.String(length=20), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("created_at", store.UtcDateTime(), nullable=True),
        sa.Column("submitted_at", store.UtcDateTime(), nullable=True),
        sa.Column("deadline_at", store.UtcDateTime(), nullable=True),
        sa.Column("paid_at", store.UtcDateTime(), nullable=True),
        sa.Column("channel_no", sa.String(length=64), nullable=True),
        sa.Column("qr_text", sa.String(length=1024), nullable=True),
        sa.Column("reason", sa.String(length=40), nullable=True),
        sa.Column("request_key", sa.String(length=80), nullable=True),
        sa.Column("was_paid", sa.Boolean(), nullable=False),
        sa.Column("not_found", sa.Integer(), nullable=False),
        sa.Column("queries", sa.Integer(), nullable=False),
        sa.Column("reversals", sa.Integer(), nullable=False),
        sa.Column("tail_checks", sa.Integer(), nullable=False),
        sa.Column("touched_at", store.UtcDateTime(), nullable=True),
        sa.Column("asked_at", store.UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["order"], ["pay_order.order"], name=op.f("fk_pay_leg_order_pay_order")),
        sa.PrimaryKeyConstraint("trade_no", name=op.f("pk_pay_leg")),
    )
    with op.batch_alter_table("pay_leg", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_pay_leg_order"), ["order"], unique=False)
        batch_op.create_index(batch_op.f("ix_pay_leg_paid_at"), ["paid_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_pay_leg_state"), ["state"], unique=False)

    op.create_table(
        "reconciliation_finding",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("batch", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(length=10), nullable=False),
        sa.Column("number", sa.String(length=64), nullable=False),
        sa.Column("trade_no", sa.String(length=64), nullable=False),
        sa.Column("order", sa.String(length=26), nullable=True),
        sa.Column("ours_fen", sa.BigInteger(), nullable=True),
        sa.Column("channel_fen", sa.BigInteger(), nullable=True),
        sa.Column("his_fen", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["batch"], ["reconciliation_batch.id"], name=op.f("fk_reconciliation_finding_batch_reconciliation_batch")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reconciliation_finding")),
    )
    with op.batch_alter_table("reconciliation_finding", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_reconciliation_finding_batch"), ["batch"], unique=False)
        batch_op.create_index(batch_op.f("ix_reconciliation_finding_code"), ["code"], unique=False)
        batch_op.create_index(batch_op.f("ix_reconciliation_finding_trade_no"), ["trade_no"], unique=False)

    op.create_table(
        "pay_refund",
        sa.Column("refund_no", sa.String(length=40), nullable=False),
        sa.Column("trade_no", sa.String(length=32), nullable=False),
        sa.Column("order", sa.String(length=26), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("needs_his", sa.Boolean(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("requested_at", store.UtcDateTime(), nullable=True),
        sa.Column("succeeded_at", store.UtcDateTime(), nullable=True),
        sa.Column("touched_at", store.UtcDateTime(), nullable=True),
        sa.Column("reconciliation_no", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(["order"], ["pay_order.order"], name=op.f("fk_pay_refund_order_pay_order")),
        sa.ForeignKeyConstraint(["trade_no"], ["pay_leg.trade_no"], name=op.f("fk_pay_refund_trade_no_pay_leg")),
        sa.PrimaryKeyConstraint("refund_no", name=op.f("pk_pay_refund")),
    )
    with op.batch_alter_table("pay_refund", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_pay_refund_order"), ["order"], unique=False)
        batch_op.create_index(batch_op.f("ix_pay_refund_requested_at"), ["requested_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_pay_refund_state"), ["state"], unique=False)
        batch_op.create_index(batch_op.f("ix_pay_refund_trade_no"), ["trade_no"], unique=False)


def _forbid_changes() -> None:
    """What was booked stays booked, whoever holds the connection."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE FUNCTION pay_append_only() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'append only'; END $$"
        )
    for table in APPEND_ONLY:
        for act in ("UPDATE", "DELETE"):
            name = f"{table}_no_{act.lower()}"
            if op.get_bind().dialect.name == "postgresql":
                op.execute(
                    f"CREATE TRIGGER {name} BEFORE {act} ON {table} FOR EACH ROW EXECUTE FUNCTION pay_append_only()"
                )
            else:
                op.execute(
                    f"CREATE TRIGGER {name} BEFORE {act} ON {table} BEGIN SELECT RAISE(ABORT, 'append only'); END"
                )


def downgrade() -> None:
    op.drop_table("pay_refund")
    op.drop_table("reconciliation_finding")
    op.drop_table("pay_leg")
    op.drop_table("identity_session")
    op.drop_table("registration_lock")
    op.drop_table("reconciliation_batch")
    op.drop_table("pay_order")
    op.drop_table("pay_ledger")
    op.drop_table("pay_history")
    op.drop_table("pay_code")
    op.drop_table("pay_claim")
    op.drop_table("identity_patient")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION pay_append_only()")
