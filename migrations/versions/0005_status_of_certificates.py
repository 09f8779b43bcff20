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
    _make_ocsp_responders()


def downgrade() -> None:
    op.drop_table("ocsp_responders")


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
