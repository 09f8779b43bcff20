"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from trivet.store import types

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:

    op.create_table(
        "clusters",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", types.ByteText, nullable=False),
        sa.Column("endpoint", sa.String(), nullable=False),
        sa.Column("service_cidr", sa.String(), nullable=False),
        sa.Column("dns_domain", sa.String(), nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_clusters")),
        sa.UniqueConstraint("name", name=op.f("uq_clusters_name")),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("requester", types.ByteText, nullable=False),
        sa.Column("key", types.ByteText, nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("reference", sa.String(), nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("requester", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index(op.f("ix_idempotency_keys_created_at"), "idempotency_keys", ["created_at"], unique=False)
    op.create_table(
        "installations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key_check", sa.String(), nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_installations_single")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_installations")),
    )
    op.create_table(
        "revocation_sets",
        sa.Column("scope", sa.Uuid(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("scope", name=op.f("pk_revocation_sets")),
    )
    op.create_table(
        "audit_records",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("recorded_at", types.UtcDateTime(), nullable=False),
        sa.Column("requester", sa.String(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("object", sa.String(), nullable=False),
        sa.Column("cluster_id", sa.Uuid(), nullable=True),
        sa.Column("details", types.Json, nullable=False),
        sa.Column("request_id", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["cluster_id"], ["clusters.id"], name=op.f("fk_audit_records_cluster_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_records")),
    )
    op.create_index(
        op.f("ix_audit_records_cluster_id_id"), "audit_records", ["cluster_id", "id"], unique=False
    )
    op.create_table(
        "authorities",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("cluster_id", sa.Uuid(), nullable=True),
        sa.Column("name", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["cluster_id"], ["clusters.id"], name=op.f("fk_authorities_cluster_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_authorities")),
        sa.UniqueConstraint("cluster_id", "name", name=op.f("uq_authorities_cluster_id_name")),
    )
    op.create_index(
        "uq_authorities_service",
        "authorities",
        ["name"],
        unique=True,
        sqlite_where=sa.text("cluster_id IS NULL"),
        postgresql_where=sa.text("cluster_id IS NULL"),
    )
    op.create_table(
        "decisions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("decided_at", types.UtcDateTime(), nullable=False),
        sa.Column("cluster_id", sa.Uuid(), nullable=True),
        sa.Column("requester", sa.String(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("profile", sa.String(), nullable=False),
        sa.Column("request_sha256", sa.String(length=64), nullable=False),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("detail", sa.String(), nullable=True),
        sa.Column("cluster_version", sa.BigInteger(), nullable=True),
        sa.Column("global_version", sa.BigInteger(), nullable=True),
        sa.Column("considered", types.Json, nullable=False),
        sa.Column("identity", types.Json, nullable=True),
        sa.Column("serial", types.ByteText, nullable=True),
        sa.Column("parent_serial", types.ByteText, nullable=True),
        sa.Column("request_id", sa.String(), nullable=True),
        sa.CheckConstraint("verdict IN ('issued', 'refused')", name=op.f("ck_decisions_verdict")),
        sa.ForeignKeyConstraint(["cluster_id"], ["clusters.id"], name=op.f("fk_decisions_cluster_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decisions")),
    )
    op.create_index(op.f("ix_decisions_cluster_id_id"), "decisions", ["cluster_id", "id"], unique=False)
    op.create_table(
        "revocations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("scope", sa.Uuid(), nullable=False),
        sa.Column("namespace", types.ByteText, nullable=False),
        sa.Column("name", types.ByteText, nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("labels", types.Json, nullable=False),
        sa.Column("annotations", types.Json, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("deleted_at", types.UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["scope"], ["revocation_sets.scope"], name=op.f("fk_revocations_scope")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_revocations")),
    )
    op.create_index(
        "uq_revocations_standing",
        "revocations",
        ["scope", "namespace", "name"],
        unique=True,
        sqlite_where=sa.text("deleted_at IS NULL"),
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_table(
        "tokens",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("cluster_id", sa.Uuid(), nullable=True),
        sa.Column("secret_hash", types.ByteText, nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("expires_at", types.UtcDateTime(), nullable=True),
        sa.CheckConstraint(
            "role IN ('admin', 'issuer', 'approver', 'auditor', 'signer')", name=op.f("ck_tokens_role")
        ),
        sa.ForeignKeyConstraint(["cluster_id"], ["clusters.id"], name=op.f("fk_tokens_cluster_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tokens")),
        sa.UniqueConstraint("secret_hash", name=op.f("uq_tokens_secret_hash")),
    )
    op.create_table(
        "generations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("authority_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("certificate", sa.LargeBinary(), nullable=False),
        sa.Column("private_key", sa.LargeBinary(), nullable=False),
        sa.Column("spki_sha256", types.ByteText, nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.CheckConstraint(
            "state IN ('staged', 'active', 'retiring', 'retired')", name=op.f("ck_generations_state")
        ),
        sa.ForeignKeyConstraint(
            ["authority_id"], ["authorities.id"], name=op.f("fk_generations_authority_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_generations")),
        sa.UniqueConstraint("spki_sha256", name=op.f("uq_generations_spki_sha256")),
    )
    op.create_index(op.f("ix_generations_authority_id"), "generations", ["authority_id"], unique=False)
    op.create_index(
        "uq_generations_active",
        "generations",
        ["authority_id"],
        unique=True,
        sqlite_where=sa.text("state = 'active'"),
        postgresql_where=sa.text("state = 'active'"),
    )
    op.create_table(
        "revocation_entries",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("revocation_id", sa.Uuid(), nullable=False),
        sa.Column("scope", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("value", sa.String(), nullable=False),
        sa.Column("not_before", types.UtcDateTime(), nullable=True),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("include_renewed", sa.Boolean(), nullable=False),
        sa.Column("added_in", sa.BigInteger(), nullable=False),
        sa.Column("removed_in", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["revocation_id"], ["revocations.id"], name=op.f("fk_revocation_entries_revocation_id")
        ),
        sa.ForeignKeyConstraint(
            ["scope"], ["revocation_sets.scope"], name=op.f("fk_revocation_entries_scope")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_revocation_entries")),
    )
    op.create_index(
        op.f("ix_revocation_entries_revocation_id"), "revocation_entries", ["revocation_id"], unique=False
    )
    op.create_table(
        "certificates",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("cluster_id", sa.Uuid(), nullable=True),
        sa.Column("authority", sa.String(), nullable=False),
        sa.Column("generation_id", sa.Uuid(), nullable=False),
        sa.Column("serial", types.ByteText, nullable=False),
        sa.Column("profile", sa.String(), nullable=False),
        sa.Column("node", sa.String(), nullable=True),
        sa.Column("common_name", sa.String(), nullable=False),
        sa.Column("spki_sha256", types.ByteText, nullable=False),
        sa.Column("issued_at", types.UtcDateTime(), nullable=False),
        sa.Column("not_before", types.UtcDateTime(), nullable=False),
        sa.Column("not_after", types.UtcDateTime(), nullable=False),
        sa.Column("der", sa.LargeBinary(), nullable=False),
        sa.Column("parent_id", sa.Uuid(), nullable=True),
        sa.Column("decision_id", sa.Uuid(), nullable=False),
        sa.Column("requester", sa.String(), nullable=False),
        sa.Column("superseded_at", types.UtcDateTime(), nullable=True),
        sa.Column("revoked_at", types.UtcDateTime(), nullable=True),
        sa.Column("revoked_by", sa.Uuid(), nullable=True),
        sa.ForeignKeyConstraint(["cluster_id"], ["clusters.id"], name=op.f("fk_certificates_cluster_id")),
        sa.ForeignKeyConstraint(["decision_id"], ["decisions.id"], name=op.f("fk_certificates_decision_id")),
        sa.ForeignKeyConstraint(
            ["generation_id"], ["generations.id"], name=op.f("fk_certificates_generation_id")
        ),
        sa.ForeignKeyConstraint(["parent_id"], ["certificates.id"], name=op.f("fk_certificates_parent_id")),
        sa.ForeignKeyConstraint(
            ["revoked_by"], ["revocation_entries.id"], name=op.f("fk_certificates_revoked_by")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_certificates")),
        sa.UniqueConstraint("generation_id", "serial", name=op.f("uq_certificates_generation_id_serial")),
    )
    op.create_index(op.f("ix_certificates_cluster_id_id"), "certificates", ["cluster_id", "id"], unique=False)
    op.create_index(op.f("ix_certificates_not_after"), "certificates", ["not_after"], unique=False)
    op.create_index(op.f("ix_certificates_parent_id"), "certificates", ["parent_id"], unique=False)
    op.create_index(op.f("ix_certificates_serial"), "certificates", ["serial"], unique=False)
    op.create_index(op.f("ix_certificates_spki_sha256"), "certificates", ["spki_sha256"], unique=False)
    op.create_table(
        "revocation_entry_keys",
        sa.Column("kind", types.ByteText, nullable=False),
        sa.Column("value", types.ByteText, nullable=False),
        sa.Column("entry_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["entry_id"], ["revocation_entries.id"], name=op.f("fk_revocation_entry_keys_entry_id")
        ),
        sa.PrimaryKeyConstraint("kind", "value", "entry_id", name=op.f("pk_revocation_entry_keys")),
    )
    op.create_index(
        op.f("ix_revocation_entry_keys_entry_id"), "revocation_entry_keys", ["entry_id"], unique=False
    )
    op.create_table(
        "certificate_names",
        sa.Column("kind", types.ByteText, nullable=False),
        sa.Column("key", types.ByteText, nullable=False),
        sa.Column("certificate_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["certificate_id"],
            ["certificates.id"],
            name=op.f("fk_certificate_names_certificate_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("kind", "key", "certificate_id", name=op.f("pk_certificate_names")),
    )
    op.create_index(
        op.f("ix_certificate_names_certificate_id"), "certificate_names", ["certificate_id"], unique=False
    )
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
        sa.CheckConstraint(
            "state IN ('pending', 'approved', 'issued', 'denied', 'failed')",
            name=op.f("ck_certificate_requests_state"),
        ),
        sa.ForeignKeyConstraint(
            ["certificate_id"],
            ["certificates.id"],
            name=op.f("fk_certificate_requests_certificate_id"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["cluster_id"], ["clusters.id"], name=op.f("fk_certificate_requests_cluster_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_certificate_requests")),
    )
    op.create_index(
        op.f("ix_certificate_requests_cluster_id_id"),
        "certificate_requests",
        ["cluster_id", "id"],
        unique=False,
    )


def downgrade() -> None:

    op.drop_index(op.f("ix_certificate_requests_cluster_id_id"), table_name="certificate_requests")
    op.drop_table("certificate_requests")
    op.drop_index(op.f("ix_certificate_names_certificate_id"), table_name="certificate_names")
    op.drop_table("certificate_names")
    op.drop_index(op.f("ix_revocation_entry_keys_entry_id"), table_name="revocation_entry_keys")
    op.drop_table("revocation_entry_keys")
    op.drop_index(op.f("ix_certificates_spki_sha256"), table_name="certificates")
    op.drop_index(op.f("ix_certificates_serial"), table_name="certificates")
    op.drop_index(op.f("ix_certificates_parent_id"), table_name="certificates")
    op.drop_index(op.f("ix_certificates_not_after"), table_name="certificates")
    op.drop_index(op.f("ix_certificates_cluster_id_id"), table_name="certificates")
    op.drop_table("certificates")
    op.drop_index(op.f("ix_revocation_entries_revocation_id"), table_name="revocation_entries")
    op.drop_table("revocation_entries")
    op.drop_index(
        "uq_generations_active",
        table_name="generations",
        sqlite_where=sa.text("state = 'active'"),
        postgresql_where=sa.text("state = 'active'"),
    )
    op.drop_index(op.f("ix_generations_authority_id"), table_name="generations")
    op.drop_table("generations")
    op.drop_table("tokens")
    op.drop_index(
        "uq_revocations_standing",
        table_name="revocations",
        sqlite_where=sa.text("deleted_at IS NULL"),
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.drop_table("revocations")
    op.drop_index(op.f("ix_decisions_cluster_id_id"), table_name="decisions")
    op.drop_table("decisions")
    op.drop_index(
        "uq_authorities_service",
        table_name="authorities",
        sqlite_where=sa.text("cluster_id IS NULL"),
        postgresql_where=sa.text("cluster_id IS NULL"),
    )
    op.drop_table("authorities")
    op.drop_index(op.f("ix_audit_records_cluster_id_id"), table_name="audit_records")
    op.drop_table("audit_records")
    op.drop_table("revocation_sets")
    op.drop_table("installations")
    op.drop_index(op.f("ix_idempotency_keys_created_at"), table_name="idempotency_keys")
    op.drop_table("idempotency_keys")
    op.drop_table("clusters")
