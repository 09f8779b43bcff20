"""The revoked certificates of clusters, and those that the later versions of a revocation set marked; as streams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Select, func, select

from trivet.store.tables import certificates, revocation_entries

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection

_AT_ONCE: Final = 2000
"""How many are read at a time, so that a million take no more memory than these."""

# PostgreSQL then takes the few new entries first, and their certificates by the index on `revoked_by`.
_ENTRY_FIRST: Final = func.coalesce(revocation_entries.c.id, revocation_entries.c.id)
_COLUMNS: Final = (certificates.c.cluster_id, certificates.c.not_after, certificates.c.der)


@dataclass(frozen=True, slots=True)
class RevokedCertificate:
    """A certificate that is marked as revoked; `cluster_id` is None for Trivet's own."""

    cluster_id: UUID | None
    not_after: datetime
    der: bytes


def revoked(
    connection: Connection, cluster_id: UUID, cutoff: datetime
) -> Iterator[Sequence[RevokedCertificate]]:
    """The revoked certificates of a cluster, some at a time; what expired before the cutoff is left out."""
    conditions = (
        certificates.c.cluster_id == cluster_id,
        certificates.c.revoked_at.is_not(None),
        certificates.c.not_after >= cutoff,
    )
    return _read(connection, select(*_COLUMNS).where(*conditions))


def revoked_after(
    connection: Connection, scope: UUID, version: int, cutoff: datetime
) -> Iterator[Sequence[RevokedCertificate]]:
    """What a scope's set marked in its versions after this one, of any cluster."""
    entries = revocation_entries.c
    query = (
        select(*_COLUMNS)
        .select_from(revocation_entries)
        .join(certificates, certificates.c.revoked_by == _ENTRY_FIRST)
        .where(entries.scope == scope, entries.added_in > version, certificates.c.not_after >= cutoff)
    )
    return _read(connection, query)


def _read(connection: Connection, query: Select[Any]) -> Iterator[Sequence[RevokedCertificate]]:
    rows = connection.execute(query, execution_options={"yield_per": _AT_ONCE})
    for part in rows.partitions():
        yield [RevokedCertificate(row.cluster_id, row.not_after, row.der) for row in part]
