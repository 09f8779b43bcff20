"""Certificate requests with approval, bootstrap tokens, and the inventory of nodes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from trivet.store import types

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Nothing ever wrote to the table that was there.
    op.drop_table("certificate_requests")
    _make_counters()
    _make_requests()
    _make_tokens()
    _make_inventory()


def downgrade() -> None:
    for table in (
        "inventory_grants",
        "inventory_nodes",
        "bootstrap_tokens",
        "certificate_requests",
        "counters",
    ):
        op.drop_table(table)
    _make_former_requests()


def _make_counters() -> None:
    op.create_table(
        "counters",
        sa.Column("cluster_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("kind IN ('requests', 'inventory')", name=op.f("ck_counters_kind")),
        sa.ForeignKeyConstraint(["cluster_id"], ["clusters.id"], name=op.f("fk_counters_cluster_id")),
        sa.PrimaryKeyConstraint("cluster_id", "kind", name=op.f("pk_counters")),
    )


def _make_requests() -> None:
    op.create_table(
        "certificate_requests",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("cluster_id", sa.Uuid(), nullable=False),
        sa.Column("name", types.ByteText, nullable=False),
        sa.Column("generate_name", sa.String(), nullable=True),
        sa.Column("labels", types.Json, nullable=False),
        sa.Column("annotations", types.Json, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("der", sa.LargeBinary(), nullable=False),
        sa.Column("profile", sa.String(), nullable=False),
        sa.Column("node", sa.String(), nullable=True),
        sa.Column("signer_name", sa.String(), nullable=True),
        sa.Column("usages", types.Json, nullable=False),
        sa.Column("expiration_seconds", sa.Integer(), nullable=True),
        sa.Column("username", types.ByteText, nullable=False),
        sa.Column("uid", sa.String(), nullable=True),
        sa.Column("groups", types.Json, nullable=False),
        sa.Column("extra", types.Json, nullable=False),
        sa.Column("requester", sa.String(), nullable=False),
        sa.Column("voucher_id", sa.Uuid(), nullable=True),
        sa.Column("bootstrap_token", types.ByteText, nullable=True),
        sa.Column("state", types.ByteText, nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("conditions", types.Json, nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("decided_at", types.UtcDateTime(), nullable=True),
        sa.Column("decided_by", sa.String(), nullable=True),
        sa.Column("seal", sa.String(), nullable=True),
        sa.Column("certificate_id", sa.Uuid(), nullable=True),
        sa.Column("decision_id", sa.Uuid(), nullable=True),
        sa.Column("collect_at", types.UtcDateTime(), nullable=False),
        _known_state(),
        _of_cluster("certificate_requests"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_certificate_requests")),
        sa.UniqueConstraint("cluster_id", "name", name=op.f("uq_certificate_requests_cluster_id_name")),
    )
    for columns in (
        ["cluster_id", "id"],
        ["cluster_id", "username", "id"],
        ["state", "cluster_id", "id"],
        ["collect_at"],
    ):
        name = f"ix_certificate_requests_{'_'.join(columns)}"
        op.create_index(op.f(name), "certificate_requests", columns)
    is_pending = sa.text("state = 'pending'")
    op.create_index(
        "ix_certificate_requests_pending",
        "certificate_requests",
        ["cluster_id", "username"],
        sqlite_where=is_pending,
        postgresql_where=is_pending,
    )


def _make_tokens() -> None:
    op.create_table(
        "bootstrap_tokens",
        sa.Column("id", types.ByteText, nullable=False),
        sa.Column("cluster_id", sa.Uuid(), nullable=False),
        sa.Column("secret_hash", types.ByteText, nullable=False),
        sa.Column("node", sa.String(), nullable=True),
        sa.Column("usages", types.Json, nullable=False),
        sa.Column("groups", types.Json, nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("expires_at", types.UtcDateTime(), nullable=False),
        _of_cluster("bootstrap_tokens"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bootstrap_tokens")),
        sa.UniqueConstraint("secret_hash", name=op.f("uq_bootstrap_tokens_secret_hash")),
    )
    op.create_index(op.f("ix_bootstrap_tokens_cluster_id_id"), "bootstrap_tokens", ["cluster_id", "id"])
    op.create_index(op.f("ix_bootstrap_tokens_expires_at"), "bootstrap_tokens", ["expires_at"])


def _make_inventory() -> None:
    op.create_table(
        "inventory_nodes",
        sa.Column("cluster_id", sa.Uuid(), nullable=False),
        sa.Column("node", types.ByteText, nullable=False),
        sa.Column("dns_names", types.Json, nullable=False),
        sa.Column("networks", types.Json, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("is_pinned", sa.Boolean(), nullable=False),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_by", sa.String(), nullable=False),
        _of_cluster("inventory_nodes"),
        sa.PrimaryKeyConstraint("cluster_id", "node", name=op.f("pk_inventory_nodes")),
    )
    op.create_table(
        "inventory_grants",
        sa.Column("cluster_id", sa.Uuid(), nullable=False),
        sa.Column("kind", types.ByteText, nullable=False),
        sa.Column("first", types.ByteText, nullable=False),
        sa.Column("last", types.ByteText, nullable=False),
        sa.Column("node", types.ByteText, nullable=False),
        sa.CheckConstraint("kind IN ('dns', 'ip')", name=op.f("ck_inventory_grants_kind")),
        _of_cluster("inventory_grants"),
        sa.PrimaryKeyConstraint("cluster_id", "kind", "first", name=op.f("pk_inventory_grants")),
    )
    op.create_index(op.f("ix_inventory_grants_cluster_id_node"), "inventory_grants", ["cluster_id", "node"])


def _make_former_requests() -> None:
    op.create_table(
        "certificate_requests",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("cluster_id", sa.Uuid(), nullable=False),
        sa.Column("profile", sa.String(), nullable=False),
        sa.Column("node", sa.String(), nullable=True),
        sa.Column("requester", sa.String(), nullable=False),
        sa.Column("der", sa.LargeBinary(), nullable=False),
        sa.Column("expiration_seconds", sa.Integer(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("decided_at", types.UtcDateTime(), nullable=True),
        sa.Column("decided_by", sa.String(), nullable=True),
        sa.Column("certificate_id", sa.Uuid(), nullable=True),
        _known_state(),
        _of_cluster("certificate_requests"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_certificate_requests")),
    )
    op.create_index(
        op.f("ix_certificate_requests_cluster_id_id"), "certificate_requests", ["cluster_id", "id"]
    )


def _known_state() -> sa.CheckConstraint:
    return sa.CheckConstraint(
        "state IN ('pending', 'approved', 'issued', 'denied', 'failed')",
        name=op.f("ck_certificate_requests_state"),
    )


def _of_cluster(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["cluster_id"], ["clusters.id"], name=op.f(f"fk_{table}_cluster_id"))
