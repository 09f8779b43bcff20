"""Certificates that expired long ago leave `certificates` and `certificate_names`.

On PostgreSQL a month goes as a whole, once all that it holds expired before the moment. What no month holds (SQLite
has none; the default partition holds what was made at odd times) is deleted in small batches. `serials`, `decisions`
and `audit_records` stay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import column, delete, select, table, text

from trivet.store import partitions
from trivet.store.partitions import lower_bound, next_month
from trivet.store.tables import certificate_names
from trivet.store.types import Id, UtcDateTime

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection, TableClause

BATCH: Final = 200
"""How many certificates one transaction deletes: a few milliseconds, in which nobody else writes to SQLite."""

_TABLES = ("certificates", "certificate_names")
_PRUNING = -3  # an advisory lock, as partitions._MAKING
# All that detaching locks, in the order in which issuing comes to it, so that neither waits for the other in a circle.
_LOCK = ", ".join(
    f"ONLY {name}"
    for name in ("generations", "certificates", "certificate_names", "clusters", "revocation_entries")
)


def may_prune(connection: Connection) -> bool:
    """Whether no other process prunes; none will until the transaction ends."""
    if connection.dialect.name == "sqlite":
        return True  # BEGIN IMMEDIATE holds the database already
    return bool(connection.scalar(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": _PRUNING}))


def expired_months(connection: Connection, moment: datetime) -> list[datetime]:
    """The months that have partitions in which everything expired before the moment, oldest first."""
    if connection.dialect.name == "sqlite":
        return []
    return [
        month
        for month in partitions.months(connection, "certificates")
        if next_month(month) <= moment and _has_expired(connection, month, moment)
    ]


def _has_expired(connection: Connection, month: datetime, moment: datetime) -> bool:
    # Asked of the whole table: the default partition may hold certificates of the month, whose names the month holds.
    certificates = _expirable("certificates")
    query = select(certificates.c.not_after).where(
        certificates.c.id >= lower_bound(month),
        certificates.c.id < lower_bound(next_month(month)),
        certificates.c.not_after >= moment,
    )
    return connection.execute(query.limit(1)).first() is None


def remove_month(connection: Connection, month: datetime, moment: datetime, *, keep: bool) -> bool:
    """Drop a month, or detach it to `keep` it as tables of its own; nothing where it has not expired after all.

    Raises (when it waited in vain):
        UnavailableError: others use the tables; try again later.
    """
    partitions.limit_waiting(connection)
    connection.execute(text(f"LOCK TABLE {_LOCK} IN ACCESS EXCLUSIVE MODE"))
    if month not in expired_months(connection, moment):
        return False
    partitions.remove_month(connection, _TABLES, month, keep=keep)
    return True


def delete_batch(connection: Connection, moment: datetime, limit: int = BATCH) -> int:
    """Delete certificates that no month holds and that expired before the moment, the oldest first; count them."""
    held = _expirable("certificates" if connection.dialect.name == "sqlite" else "certificates_default")
    oldest = select(held.c.id).where(held.c.not_after < moment).order_by(held.c.not_after).limit(limit)
    ids = list(connection.scalars(oldest))
    if ids:
        connection.execute(delete(certificate_names).where(certificate_names.c.certificate_id.in_(ids)))
        connection.execute(delete(held).where(held.c.id.in_(ids)))
    return len(ids)


def _expirable(name: str) -> TableClause:
    """The table of certificates, or one of its partitions."""
    return table(name, column("id", Id), column("not_after", UtcDateTime))
