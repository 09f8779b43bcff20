"""What objects of the Kubernetes API say beyond what is compared, and the log of their changes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from trivet.store import types

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "object_manifests",
        sa.Column("object_id", sa.Uuid(), nullable=False),
        sa.Column("spec", types.Json, nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("managed_fields", types.Json, nullable=False),
        sa.PrimaryKeyConstraint("object_id", name=op.f("pk_object_manifests")),
    )
    op.create_table(
        "object_changes",
        sa.Column("scope", sa.Uuid(), nullable=False),
        sa.Column("resource", types.ByteText, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("change", sa.String(), nullable=False),
        sa.Column("object", types.Json, nullable=False),
        sa.Column("former_labels", types.Json, nullable=False),
        sa.Column("changed_at", types.UtcDateTime(), nullable=False),
        sa.CheckConstraint(
            "change IN ('ADDED', 'MODIFIED', 'DELETED')", name=op.f("ck_object_changes_change")
        ),
        sa.PrimaryKeyConstraint("scope", "resource", "version", name=op.f("pk_object_changes")),
    )
    op.create_index(op.f("ix_object_changes_changed_at"), "object_changes", ["changed_at"])
    op.add_column("certificate_requests", sa.Column("pem", sa.String(), nullable=True))
    op.add_column("tokens", sa.Column("signer_names", types.Json, nullable=True))
    op.add_column("certificate_requests", sa.Column("managed_fields", types.Json, nullable=True))


def downgrade() -> None:
    op.drop_column("tokens", "signer_names")
    op.drop_column("certificate_requests", "managed_fields")
    op.drop_column("certificate_requests", "pem")
    op.drop_table("object_changes")
    op.drop_table("object_manifests")
