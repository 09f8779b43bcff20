"""Certificates that can be pruned: serials in a table of their own, partitions by month on PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa
from alembic import op

from trivet.store import types

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_NO_CLUSTER = "00000000000000000000000000000000"
_PARTITIONED = ("certificates", "certificate_names", "decisions")
_MONTHS_AHEAD = 3
_EARLIEST = datetime(2020, 1, 1, tzinfo=UTC)
_CERTIFICATES = (
    "id, cluster_id, authority, generation_id, serial, profile, node, common_name, spki_sha256, issued_at, not_before,"
    " not_after, der, parent_id, decision_id, requester, superseded_at, revoked_at, revoked_by"
)
_DECISIONS = (
    "id, decided_at, cluster_id, requester, action, profile, request_sha256, verdict, reason, detail, cluster_version,"
    " global_version, considered, identity, serial, parent_serial, request_id"
)
_REQUESTS = (
    "id, cluster_id, profile, node, requester, der, expiration_seconds, state, reason, created_at, decided_at,"
    " decided_by, certificate_id"
)
_NAMES = "cluster_id, kind, key, certificate_id"
_NAMES_OF_CLUSTERS = (
    f"SELECT coalesce(certificates.cluster_id, '{_NO_CLUSTER}'), kind, key, certificate_id"  # noqa: S608  fixed names
    " FROM old_certificate_names AS names JOIN certificates ON certificates.id = names.certificate_id"
)


def upgrade() -> None:
    _take_tables()
    months = _months() if _is_postgresql() else ()
    _make_serials()
    # What refers to certificates comes first: dropping a table on SQLite deletes its rows, and what depends on them.
    _rebuild("certificate_names", _new_names, _NAMES, months, _NAMES_OF_CLUSTERS)
    _rebuild("certificate_requests", _requests, _REQUESTS)
    _rebuild("certificates", _new_certificates, _CERTIFICATES, months)
    if _is_postgresql():
        _rebuild("decisions", _new_decisions, _DECISIONS, months)
    _make_new_indexes()


def downgrade() -> None:
    _take_tables()
    _refuse_where_pruned()
    if _is_postgresql():
        _rebuild("decisions", _old_decisions, _DECISIONS)
    _rebuild("certificates", _old_certificates, _CERTIFICATES)
    _rebuild("certificate_requests", _old_requests, _REQUESTS)
    _rebuild("certificate_names", _old_names, _NAMES.removeprefix("cluster_id, "))
    _make_old_indexes()
    op.drop_index("ix_serials_parent_id", table_name="serials")
    op.drop_table("serials")


def _is_postgresql() -> bool:
    return op.get_bind().dialect.name == "postgresql"


def _take_tables() -> None:
    """Nothing else may write from here on. Copying takes as long as it takes; waiting for the tables does not."""
    if _is_postgresql():
        op.execute("SET LOCAL statement_timeout = 0")
        op.execute("SET LOCAL lock_timeout = '10s'")
        op.execute("LOCK TABLE certificates, certificate_names, decisions IN ACCESS EXCLUSIVE MODE")


def _refuse_where_pruned() -> None:
    pruned = op.get_bind().scalar(
        sa.text(
            "SELECT count(*) FROM serials"
            " WHERE NOT EXISTS (SELECT 1 FROM certificates WHERE certificates.id = serials.certificate_id)"
        )
    )
    if pruned:
        message = (
            f"{pruned} certificates were pruned: the schema 0001 would forget their serials, which must stay unique."
            " Restore a backup that was made before the migration instead"
        )
        raise RuntimeError(message)


def _months() -> list[datetime]:
    """The months that rows were made in (their ids tell), this month and the next three.

    What was made at no plausible time goes to the default partition.
    """
    month = _first_of_month(op.get_bind().scalar(sa.text("SELECT now()")).astimezone(UTC))
    # 48 bits of an id are the milliseconds since 1970.
    made = "('x' || left(replace(CAST(id AS text), '-', ''), 12))::bit(48)::bigint"
    ids = "SELECT id FROM certificates UNION ALL SELECT id FROM decisions"
    found = op.get_bind().scalars(
        sa.text(
            f"SELECT DISTINCT date_trunc('month', to_timestamp({made} / 1000.0)) FROM ({ids}) AS ids"  # noqa: S608  fixed names
            f" WHERE id >= '{_bound(_EARLIEST)}' AND id < '{_bound(month)}'"
        )
    )
    months = {each.astimezone(UTC) for each in found}
    for _ in range(_MONTHS_AHEAD + 1):
        months.add(month)
        month = _next(month)
    return sorted(months)


def _first_of_month(moment: datetime) -> datetime:
    return moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _next(month: datetime) -> datetime:
    return _first_of_month(month + timedelta(days=32))


def _bound(month: datetime) -> str:
    milliseconds = int(month.timestamp()) * 1000
    return f"{milliseconds >> 16:08x}-{milliseconds & 0xFFFF:04x}-0000-0000-000000000000"


def _make_partitions(table: str, months: Sequence[datetime]) -> None:
    op.execute(f"CREATE TABLE {table}_default PARTITION OF {table} DEFAULT")
    for month in months:
        op.execute(
            f"CREATE TABLE {table}_y{month:%Y}m{month:%m} PARTITION OF {table}"
            f" FOR VALUES FROM ('{_bound(month)}') TO ('{_bound(_next(month))}')"
        )


def _rebuild(
    table: str,
    create: Callable[[], None],
    columns: str,
    months: Sequence[datetime] = (),
    rows: str | None = None,
) -> None:
    """Make a table anew, with the rows of the old one, which is called `old_…` meanwhile; its indexes go with it."""
    op.rename_table(table, f"old_{table}")
    if _is_postgresql():  # where names of indexes are global
        op.execute(f"ALTER INDEX pk_{table} RENAME TO old_pk_{table}")
    create()
    if months:
        _make_partitions(table, months)
    op.execute(f"INSERT INTO {table} ({columns}) {rows or f'SELECT {columns} FROM old_{table}'}")  # noqa: S608  fixed names
    op.drop_table(f"old_{table}")


def _make_serials() -> None:
    op.create_table(
        "serials",
        sa.Column("serial", types.ByteText, nullable=False),
        sa.Column("generation_id", sa.Uuid(), nullable=False),
        sa.Column("certificate_id", sa.Uuid(), nullable=False),
        sa.Column("parent_id", sa.Uuid(), nullable=True),
        sa.PrimaryKeyConstraint("serial", "generation_id", name=op.f("pk_serials")),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO serials (serial, generation_id, certificate_id, parent_id)"
        " SELECT serial, generation_id, id, parent_id FROM certificates"
    )


def _new_names() -> None:
    op.create_table(
        "certificate_names",
        sa.Column("cluster_id", sa.Uuid(), nullable=False),
        sa.Column("kind", types.ByteText, nullable=False),
        sa.Column("key", types.ByteText, nullable=False),
        sa.Column("certificate_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint(
            "cluster_id", "kind", "key", "certificate_id", name=op.f("pk_certificate_names")
        ),
        postgresql_partition_by="RANGE (certificate_id)",
        sqlite_with_rowid=False,
    )


def _old_names() -> None:
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


def _requests(*more: sa.Constraint) -> None:
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
            ["cluster_id"], ["clusters.id"], name=op.f("fk_certificate_requests_cluster_id")
        ),
        *more,
        sa.PrimaryKeyConstraint("id", name=op.f("pk_certificate_requests")),
    )


def _old_requests() -> None:
    _requests(
        sa.ForeignKeyConstraint(
            ["certificate_id"],
            ["certificates.id"],
            name=op.f("fk_certificate_requests_certificate_id"),
            ondelete="SET NULL",
        ),
    )


def _certificates(*more: sa.Constraint, partition_by: str | None = None) -> None:
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
        sa.ForeignKeyConstraint(
            ["generation_id"], ["generations.id"], name=op.f("fk_certificates_generation_id")
        ),
        sa.ForeignKeyConstraint(
            ["revoked_by"], ["revocation_entries.id"], name=op.f("fk_certificates_revoked_by")
        ),
        *more,
        sa.PrimaryKeyConstraint("id", name=op.f("pk_certificates")),
        postgresql_partition_by=partition_by,
    )


def _new_certificates() -> None:
    _certificates(partition_by="RANGE (id)")


def _old_certificates() -> None:
    _certificates(
        sa.ForeignKeyConstraint(["decision_id"], ["decisions.id"], name=op.f("fk_certificates_decision_id")),
        sa.ForeignKeyConstraint(["parent_id"], ["certificates.id"], name=op.f("fk_certificates_parent_id")),
        sa.UniqueConstraint("generation_id", "serial", name=op.f("uq_certificates_generation_id_serial")),
    )


def _decisions(partition_by: str | None) -> None:
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
        postgresql_partition_by=partition_by,
    )


def _new_decisions() -> None:
    _decisions("RANGE (id)")


def _old_decisions() -> None:
    _decisions(None)


def _make_new_indexes() -> None:
    """Make them once the rows are there, which is quicker, and once the old ones have given their names free."""
    _make_common_indexes()
    is_given = sa.text("parent_id IS NOT NULL")
    op.create_index(
        "ix_serials_parent_id", "serials", ["parent_id"], sqlite_where=is_given, postgresql_where=is_given
    )
    is_revoked = sa.text("revoked_at IS NOT NULL")
    op.create_index(
        "ix_certificates_revoked",
        "certificates",
        ["cluster_id", "id"],
        sqlite_where=is_revoked,
        postgresql_where=is_revoked,
    )


def _make_old_indexes() -> None:
    _make_common_indexes()
    op.create_index(op.f("ix_certificates_parent_id"), "certificates", ["parent_id"])
    op.create_index(op.f("ix_certificates_serial"), "certificates", ["serial"])


def _make_common_indexes() -> None:
    op.create_index(op.f("ix_certificates_cluster_id_id"), "certificates", ["cluster_id", "id"])
    op.create_index(op.f("ix_certificates_not_after"), "certificates", ["not_after"])
    op.create_index(op.f("ix_certificates_spki_sha256"), "certificates", ["spki_sha256"])
    op.create_index(op.f("ix_certificate_names_certificate_id"), "certificate_names", ["certificate_id"])
    op.create_index(
        op.f("ix_certificate_requests_cluster_id_id"), "certificate_requests", ["cluster_id", "id"]
    )
    if _is_postgresql():
        op.create_index(op.f("ix_decisions_cluster_id_id"), "decisions", ["cluster_id", "id"])
