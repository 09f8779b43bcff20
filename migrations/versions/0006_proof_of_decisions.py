"""Proof of every decision: chains of records, checkpoints, and where the proof begins."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import sqlalchemy as sa
from alembic import op

from trivet.pki.proof.lines import AUDIT_OPENING, canonical, digest, time_text
from trivet.store import types

if TYPE_CHECKING:
    from collections.abc import Iterator

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_HASH = sa.String(length=64)
_FIRST = 7 << 76  # less than any UUIDv7 that was made since 1970


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        # What is counted and read below must be all that there is.
        op.execute("SET LOCAL statement_timeout = 0")
        op.execute("SET LOCAL lock_timeout = '10s'")
        op.execute("LOCK TABLE decisions, audit_records, revocation_entries IN ACCESS EXCLUSIVE MODE")
    op.add_column("decisions", sa.Column("certificate_sha256", _HASH, nullable=True))
    op.add_column("decisions", sa.Column("chain", sa.BigInteger(), nullable=True))
    op.add_column("decisions", sa.Column("position", sa.BigInteger(), nullable=True))
    op.add_column("decisions", sa.Column("previous_sha256", _HASH, nullable=True))
    op.create_index(op.f("ix_decisions_chain_position"), "decisions", ["chain", "position"])
    with op.batch_alter_table("audit_records") as audit_records:
        audit_records.add_column(sa.Column("position", sa.BigInteger(), nullable=True))
        audit_records.add_column(sa.Column("previous_sha256", _HASH, nullable=True))
        audit_records.create_unique_constraint(op.f("uq_audit_records_position"), ["position"])
    op.create_index(op.f("ix_revocation_entries_scope_added_in"), "revocation_entries", ["scope", "added_in"])
    op.create_index(
        op.f("ix_revocation_entries_scope_removed_in"), "revocation_entries", ["scope", "removed_in"]
    )
    _make_chains()
    _make_checkpoints()
    _begin()


def downgrade() -> None:
    op.drop_table("checkpoints")
    op.drop_index("ix_chains_open", table_name="chains")
    op.drop_table("chains")
    op.drop_index(op.f("ix_revocation_entries_scope_removed_in"), table_name="revocation_entries")
    op.drop_index(op.f("ix_revocation_entries_scope_added_in"), table_name="revocation_entries")
    # The record of the beginning says nothing without its chain.
    op.execute("DELETE FROM audit_records WHERE action = 'proof.begin'")
    with op.batch_alter_table("audit_records") as audit_records:
        audit_records.drop_constraint(op.f("uq_audit_records_position"), type_="unique")
        audit_records.drop_column("previous_sha256")
        audit_records.drop_column("position")
    op.drop_index(op.f("ix_decisions_chain_position"), table_name="decisions")
    for column in ("previous_sha256", "position", "chain", "certificate_sha256"):
        op.drop_column("decisions", column)


def _make_chains() -> None:
    is_open = sa.text("closed_in IS NULL")
    op.create_table(
        "chains",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("opening", sa.String(), nullable=False),
        sa.Column("opened_at", types.UtcDateTime(), nullable=False),
        sa.Column("expires_at", types.UtcDateTime(), nullable=True),
        sa.Column("closed_in", sa.BigInteger(), nullable=True),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("head", _HASH, nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_chains")),
    )
    op.create_index("ix_chains_open", "chains", ["number"], sqlite_where=is_open, postgresql_where=is_open)


def _make_checkpoints() -> None:
    op.create_table(
        "checkpoints",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("made_at", types.UtcDateTime(), nullable=False),
        sa.Column("line", sa.String(), nullable=False),
        sa.Column("sha256", _HASH, nullable=False),
        sa.Column("prunes", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_checkpoints")),
    )
    op.create_index(op.f("ix_checkpoints_made_at"), "checkpoints", ["made_at"])


def _begin() -> None:
    """Open the audit trail's chain with a record of what stood before: entries by hash, other records by number."""
    connection = op.get_bind()
    now = _now(connection)
    # After what is there and before all that follows, whatever the clocks of the hosts say.
    newest = connection.scalar(
        sa.text("SELECT id FROM audit_records ORDER BY id DESC LIMIT 1").columns(id=types.Id)
    )
    record_id = UUID(int=newest.int + 1 if newest else _FIRST)
    details = {
        "auditRecordsBefore": connection.scalar(sa.text("SELECT count(*) FROM audit_records")),
        "decisionsBefore": connection.scalar(sa.text("SELECT count(*) FROM decisions")),
        "sets": list(_sets(connection)),
    }
    opening = canonical(AUDIT_OPENING)
    record = {
        "action": "proof.begin",
        "chain": 1,
        "cluster": None,
        "details": details,
        "id": str(record_id),
        "object": "chain 1",
        "position": 1,
        "previous": digest(opening),
        "recordedAt": time_text(now),
        "requestId": None,
        "requester": "migration 0006",
        "type": "audit",
    }
    audit_records = _table("audit_records", details=types.Json, id=types.Id, recorded_at=types.UtcDateTime())
    connection.execute(
        sa.insert(audit_records).values(
            id=record_id,
            recorded_at=now,
            requester=record["requester"],
            action=record["action"],
            object=record["object"],
            details=details,
            position=1,
            previous_sha256=record["previous"],
        )
    )
    chains = _table("chains", opened_at=types.UtcDateTime())
    connection.execute(
        sa.insert(chains).values(
            number=1, opening=opening.decode(), opened_at=now, position=1, head=digest(canonical(record))
        )
    )


def _table(name: str, **typed: Any) -> sa.Table:  # noqa: ANN401  column types
    columns = {
        "audit_records": "id recorded_at requester action object details position previous_sha256",
        "chains": "number opening opened_at position head",
    }[name]
    return sa.Table(
        name, sa.MetaData(), *(sa.Column(column, typed.get(column)) for column in columns.split())
    )


def _now(connection: sa.Connection) -> datetime:
    if connection.dialect.name == "postgresql":
        found = connection.scalar(sa.text("SELECT now()"))
        return found.astimezone(UTC)  # type: ignore[no-any-return]
    text = connection.scalar(sa.text("SELECT strftime('%Y-%m-%dT%H:%M:%f', 'now')"))
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _sets(connection: sa.Connection) -> Iterator[dict[str, Any]]:
    """Each scope that was ever changed: its version, and the hash of the entries that stand in it."""
    entries = sa.text(
        "SELECT e.id, e.kind, e.value, e.not_before, e.include_renewed, r.namespace, r.name"
        " FROM revocation_entries AS e JOIN revocations AS r ON r.id = e.revocation_id"
        " WHERE e.scope = :scope AND e.removed_in IS NULL ORDER BY e.id"
    ).columns(id=types.Id, not_before=types.UtcDateTime(), include_renewed=sa.Boolean())
    sets = sa.text("SELECT scope, version FROM revocation_sets WHERE version > 0 ORDER BY scope")
    for scope, version in connection.execute(sets.columns(scope=types.Id)).all():
        hashed, count = hashlib.sha256(), 0
        for row in connection.execute(entries.bindparams(sa.bindparam("scope", scope, types.Id))):
            entry = {
                "id": str(row.id),
                "includeRenewed": row.include_renewed,
                "kind": row.kind,
                "notBefore": time_text(row.not_before) if row.not_before else None,
                "revocation": f"{row.namespace}/{row.name}",
                "value": row.value,
            }
            hashed.update(canonical(entry) + b"\n")
            count += 1
        yield {"scope": str(scope), "version": version, "entries": count, "sha256": hashed.hexdigest()}
