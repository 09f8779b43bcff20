"""Current identities, early renewal of a cluster, repair windows and their tokens."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from trivet.store import types

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        # Indexing what is there takes as long as it takes; waiting for the table does not.
        op.execute("SET LOCAL statement_timeout = 0")
        op.execute("SET LOCAL lock_timeout = '10s'")
    is_current = sa.text("superseded_at IS NULL")
    op.create_index(
        "ix_certificates_current",
        "certificates",
        ["cluster_id", "id"],
        sqlite_where=is_current,
        postgresql_where=is_current,
    )
    _make_renewals()
    _make_windows()
    _make_tokens()


def downgrade() -> None:
    for table in (
        "repair_token_uses",
        "repair_tokens",
        "repair_stages",
        "repair_windows",
        "abandoned_certificates",
        "early_renewals",
    ):
        op.drop_table(table)
    op.drop_index("ix_certificates_current", table_name="certificates")


def _make_renewals() -> None:
    op.create_table(
        "early_renewals",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("cluster_id", sa.Uuid(), nullable=False),
        sa.Column("asked_at", types.UtcDateTime(), nullable=False),
        sa.Column("ends_at", types.UtcDateTime(), nullable=False),
        sa.Column("asked_by", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["cluster_id"], ["clusters.id"], name=op.f("fk_early_renewals_cluster_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_early_renewals")),
    )
    op.create_index(op.f("ix_early_renewals_cluster_id_id"), "early_renewals", ["cluster_id", "id"])
    op.create_table(
        "abandoned_certificates",
        sa.Column("cluster_id", sa.Uuid(), nullable=False),
        sa.Column("certificate_id", sa.Uuid(), nullable=False),
        sa.Column("node", sa.String(), nullable=True),
        sa.Column("abandoned_at", types.UtcDateTime(), nullable=False),
        sa.Column("abandoned_by", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["cluster_id"], ["clusters.id"], name=op.f("fk_abandoned_certificates_cluster_id")
        ),
        sa.PrimaryKeyConstraint("cluster_id", "certificate_id", name=op.f("pk_abandoned_certificates")),
    )


def _make_windows() -> None:
    op.create_table(
        "repair_windows",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("cluster_id", sa.Uuid(), nullable=False),
        sa.Column("opened_at", types.UtcDateTime(), nullable=False),
        sa.Column("opened_by", sa.String(), nullable=False),
        sa.Column("ends_at", types.UtcDateTime(), nullable=False),
        sa.Column("longest_expired_seconds", sa.Integer(), nullable=False),
        sa.Column("patience_seconds", sa.Integer(), nullable=False),
        sa.Column("pending", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=True),
        sa.Column("closed_at", types.UtcDateTime(), nullable=True),
        sa.Column("closed_by", sa.String(), nullable=True),
        sa.CheckConstraint(
            "outcome IN ('completed', 'ended', 'closed')", name=op.f("ck_repair_windows_outcome")
        ),
        sa.ForeignKeyConstraint(["cluster_id"], ["clusters.id"], name=op.f("fk_repair_windows_cluster_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_repair_windows")),
    )
    op.create_index(op.f("ix_repair_windows_cluster_id_id"), "repair_windows", ["cluster_id", "id"])
    is_open = sa.text("closed_at IS NULL")
    op.create_index(
        "uq_repair_windows_open",
        "repair_windows",
        ["cluster_id"],
        unique=True,
        sqlite_where=is_open,
        postgresql_where=is_open,
    )
    op.create_table(
        "repair_stages",
        sa.Column("window_id", sa.Uuid(), nullable=False),
        sa.Column("stage", sa.String(), nullable=False),
        sa.Column("ended", sa.String(), nullable=False),
        sa.Column("ended_at", types.UtcDateTime(), nullable=False),
        sa.CheckConstraint("stage IN ('etcd', 'api-server', 'rest')", name=op.f("ck_repair_stages_stage")),
        sa.CheckConstraint("ended IN ('fresh', 'passed', 'skipped')", name=op.f("ck_repair_stages_ended")),
        sa.ForeignKeyConstraint(
            ["window_id"], ["repair_windows.id"], name=op.f("fk_repair_stages_window_id")
        ),
        sa.PrimaryKeyConstraint("window_id", "stage", name=op.f("pk_repair_stages")),
    )


def _make_tokens() -> None:
    op.create_table(
        "repair_tokens",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("window_id", sa.Uuid(), nullable=False),
        sa.Column("node", sa.String(), nullable=False),
        sa.Column("secret_hash", types.ByteText, nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["window_id"], ["repair_windows.id"], name=op.f("fk_repair_tokens_window_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_repair_tokens")),
        sa.UniqueConstraint("secret_hash", name=op.f("uq_repair_tokens_secret_hash")),
    )
    op.create_index(op.f("ix_repair_tokens_window_id"), "repair_tokens", ["window_id"])
    op.create_table(
        "repair_token_uses",
        sa.Column("token_id", sa.Uuid(), nullable=False),
        sa.Column("held_id", sa.Uuid(), nullable=False),
        sa.Column("certificate_id", sa.Uuid(), nullable=False),
        sa.Column("used_at", types.UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["token_id"], ["repair_tokens.id"], name=op.f("fk_repair_token_uses_token_id")
        ),
        sa.PrimaryKeyConstraint("token_id", "held_id", name=op.f("pk_repair_token_uses")),
    )
