"""Which stored certificates an entry names: counted for a preview, marked revoked when it is added."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, func, select, union_all, update

from trivet.pki.revocation import EntryKind, name_ranges
from trivet.store.certificates import StoredCertificate, ids_in_range, stored_certificate, unexpired
from trivet.store.clusters import ALL_CLUSTERS
from trivet.store.tables import certificates

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import ColumnElement, Connection, Select

    from trivet.pki.revocation import Entry
    from trivet.store.revocations import StandingEntry

_SAMPLE = 20
_ARMS = 200  # of one UNION; SQLite takes 500


def mark_revoked(connection: Connection, standing: StandingEntry, now: datetime) -> int:
    """Mark every certificate that the entry names, live or (for a serial's lineage) not; count them."""
    conditions = [certificates.c.revoked_at.is_(None), _named([standing.entry], standing.scope)]
    if standing.entry.kind is not EntryKind.SERIAL_NUMBER:
        # The dead ones of a lineage are marked, too: they must not vouch for a repair later.
        conditions.append(unexpired(now))
    query = update(certificates).where(*conditions).values(revoked_at=now, revoked_by=standing.id)
    return connection.execute(query).rowcount


def named_by(
    connection: Connection, entries: Sequence[Entry], scope: UUID, now: datetime
) -> tuple[list[tuple[str, str | None, int]], list[StoredCertificate]]:
    """The live certificates that entries would hit: counts by (profile, node), and a sample."""
    if not entries:
        return [], []
    hit = and_(certificates.c.revoked_at.is_(None), unexpired(now), _named(entries, scope))
    profile, node = certificates.c.profile, certificates.c.node
    counts = select(profile, node, func.count()).where(hit).group_by(profile, node).order_by(profile, node)
    sample = select(certificates).where(hit).order_by(certificates.c.id.desc()).limit(_SAMPLE)
    return (
        [(row[0], row[1], row[2]) for row in connection.execute(counts)],
        [stored_certificate(row) for row in connection.execute(sample)],
    )


def _named(entries: Sequence[Entry], scope: UUID) -> ColumnElement[bool]:
    cluster_id = certificates.c.cluster_id
    # A union, each arm of which is an index search; conditions joined by OR would be tried on every certificate.
    named = certificates.c.id.in_(_union([arm for entry in entries for arm in _arms(entry)]))
    return and_(cluster_id == scope if scope != ALL_CLUSTERS else cluster_id.is_not(None), named)


def _union(arms: Sequence[Select[UUID]]) -> Any:  # noqa: ANN401  as ids_in_range
    if len(arms) <= _ARMS:
        return union_all(*arms) if len(arms) > 1 else arms[0]
    parts = [union_all(*arms[start : start + _ARMS]) for start in range(0, len(arms), _ARMS)]
    return union_all(*(select(part.subquery()) for part in parts))


def _arms(entry: Entry) -> list[Select[UUID]]:
    """Searches whose results together are the ids of what the entry names, in any cluster."""
    match entry.kind:
        case EntryKind.SERIAL_NUMBER:
            found = [_lineage(entry)]
        case EntryKind.PUBLIC_KEY:
            found = [select(certificates.c.id).where(certificates.c.spki_sha256 == entry.value)]
        case _:
            found = [ids_in_range(key_range) for key_range in name_ranges(entry)]
    if entry.not_before is None:
        return found
    issued = select(certificates.c.id).where(certificates.c.issued_at < entry.not_before)
    return [issued.where(certificates.c.id.in_(arm)) for arm in found]


def _lineage(entry: Entry) -> Select[UUID]:
    """The certificate of that serial, and those renewed from it where the entry covers them."""
    named = select(certificates.c.id).where(certificates.c.serial == entry.value)
    if not entry.include_renewed:
        return named
    lineage = named.cte(recursive=True, nesting=True)
    renewed = select(certificates.c.id).join(lineage, certificates.c.parent_id == lineage.c.id)
    return select(lineage.union(renewed).c.id)
