"""Published status of certificates: CRLs, their shards, and OCSP responders."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from trivet.store import types

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    if is_postgresql:
        # Indexing what is there takes as long as it takes; waiting for the table does not.
        op.execute("SET LOCAL statement_timeout = 0")
        op.execute("SET LOCAL lock_timeout = '10s'")
    _make_index()
    _make_crls()
    _make_ocsp_responders()
    if is_postgresql:
        # Nothing in a CRL can be made smaller; trying takes longer than writing.
        op.execute("ALTER TABLE crls ALTER COLUMN der SET STORAGE EXTERNAL")


def downgrade() -> None:
    for table in ("ocsp_responders", "crls", "crl_lists"):
        op.drop_table(table)
    op.drop_index("ix_certificates_revoked_by", table_name="certificates")


def _make_index() -> None:
    is_marked = sa.text("revoked_by IS NOT NULL")
    op.create_index(
        "ix_certificates_revoked_by",
        "certificates",
        ["revoked_by", "generation_id"],
        sqlite_where=is_marked,
        postgresql_where=is_marked,
    )


def _make_crls() -> None:
    op.create_table(
        "crl_lists",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("cluster_id", sa.Uuid(), nullable=False),
        sa.Column("generation_id", sa.Uuid(), nullable=False),
        sa.Column("shards", sa.Integer(), nullable=False),
        sa.Column("shard", sa.Integer(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("cluster_version", sa.BigInteger(), nullable=False),
        sa.Column("global_version", sa.BigInteger(), nullable=False),
        sa.Column("renew_at", types.UtcDateTime(), nullable=False),
        sa.Column("base_urls", types.Json, nullable=False),
        sa.CheckConstraint("shard >= 1 AND shard <= shards", name=op.f("ck_crl_lists_shard")),
        sa.ForeignKeyConstraint(["cluster_id"], ["clusters.id"], name=op.f("fk_crl_lists_cluster_id")),
        sa.ForeignKeyConstraint(
            ["generation_id"], ["generations.id"], name=op.f("fk_crl_lists_generation_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_crl_lists")),
        sa.UniqueConstraint(
            "generation_id", "shards", "shard", name=op.f("uq_crl_lists_generation_id_shards_shard")
        ),
    )
    op.create_index(op.f("ix_crl_lists_renew_at"), "crl_lists", ["renew_at"])
    op.create_table(
        "crls",
        sa.Column("list_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("published_at", types.UtcDateTime(), nullable=False),
        sa.Column("this_update", types.UtcDateTime(), nullable=False),
        sa.Column("next_update", types.UtcDateTime(), nullable=False),
        sa.Column("entries", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("entries_offset", sa.Integer(), nullable=False),
        sa.Column("layout", sa.LargeBinary(), nullable=False),
        sa.Column("der", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("number > 0", name=op.f("ck_crls_number")),
        sa.ForeignKeyConstraint(["list_id"], ["crl_lists.id"], name=op.f("fk_crls_list_id")),
        sa.PrimaryKeyConstraint("list_id", "number", name=op.f("pk_crls")),
    )


def _make_ocsp_responders() -> None:
    op.create_table(
        "ocsp_responders",
        sa.Column("generation_id", sa.Uuid(), nullable=False),
        sa.Column("certificate_id", sa.Uuid(), nullable=True),
        sa.Column("certificate", sa.LargeBinary(), nullable=True),
        sa.Column("private_key", sa.LargeBinary(), nullable=True),
        sa.Column("renew_at", types.UtcDateTime(), nullable=False),
        sa.Column("leased_until", types.UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["generation_id"], ["generations.id"], name=op.f("fk_ocsp_responders_generation_id")
        ),
        sa.PrimaryKeyConstraint("generation_id", name=op.f("pk_ocsp_responders")),
    )
    op.create_index(op.f("ix_ocsp_responders_renew_at"), "ocsp_responders", ["renew_at"])
