"""Which stored certificates an entry names: counted for a preview, marked revoked when it is added."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import and_, false, func, or_, select, update

from trivet.pki.revocation import EntryKind, name_ranges
from trivet.store.certificates import StoredCertificate, ids_in_range, stored_certificate
from trivet.store.clusters import ALL_CLUSTERS
from trivet.store.tables import certificates

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import ColumnElement, Connection

    from trivet.pki.revocation import Entry
    from trivet.store.revocations import StandingEntry

_SAMPLE = 20


def mark_revoked(connection: Connection, standing: StandingEntry, now: datetime) -> int:
    """Mark every certificate that the entry names, live or (for a serial's lineage) not; count them."""
    condition = and_(certificates.c.revoked_at.is_(None), _named(connection, standing.entry, standing.scope, now))
    query = update(certificates).where(condition).values(revoked_at=now, revoked_by=standing.id)
    return connection.execute(query).rowcount


def named_by(
    connection: Connection, entries: Sequence[Entry], scope: UUID, now: datetime
) -> tuple[list[tuple[str, str | None, int]], list[StoredCertificate]]:
    """The live certificates that entries would hit: counts by (profile, node), and a sample."""
    hit = and_(
        certificates.c.revoked_at.is_(None),
        certificates.c.not_after >= now,
        or_(false(), *(_named(connection, entry, scope, now) for entry in entries)),
    )
    profile, node = certificates.c.profile, certificates.c.node
    counts = select(profile, node, func.count()).where(hit).group_by(profile, node).order_by(profile, node)
    sample = select(certificates).where(hit).order_by(certificates.c.id.desc()).limit(_SAMPLE)
    return (
        [(row[0], row[1], row[2]) for row in connection.execute(counts)],
        [stored_certificate(row) for row in connection.execute(sample)],
    )


def _named(connection: Connection, entry: Entry, scope: UUID, now: datetime) -> ColumnElement[bool]:
    columns = certificates.c
    conditions: list[ColumnElement[bool]] = [
        columns.cluster_id == scope if scope != ALL_CLUSTERS else columns.cluster_id.is_not(None)
    ]
    if entry.not_before is not None:
        conditions.append(columns.issued_at < entry.not_before)
    match entry.kind:
        case EntryKind.SERIAL_NUMBER:
            # The dead ones of a lineage are marked, too: they must not vouch for a repair later.
            conditions.append(columns.id.in_(_lineage(connection, entry, scope)))
        case EntryKind.PUBLIC_KEY:
            conditions += [columns.spki_sha256 == entry.value, columns.not_after >= now]
        case _:
            ranges = or_(*(columns.id.in_(ids_in_range(key_range)) for key_range in name_ranges(entry)))
            conditions += [ranges, columns.not_after >= now]
    return and_(*conditions)


def _lineage(connection: Connection, entry: Entry, scope: UUID) -> list[UUID]:
    """The certificate of that serial, and those renewed from it where the entry covers them."""
    named = select(certificates.c.id).where(certificates.c.serial == entry.value)
    if scope != ALL_CLUSTERS:
        named = named.where(certificates.c.cluster_id == scope)
    if not entry.include_renewed:
        return list(connection.execute(named).scalars())
    lineage = named.cte(recursive=True)
    renewed = select(certificates.c.id).join(lineage, certificates.c.parent_id == lineage.c.id)
    return list(connection.execute(select(lineage.union(renewed).c.id)).scalars())
