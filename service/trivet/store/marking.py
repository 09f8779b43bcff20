"""Which stored certificates an entry names: searched, and marked revoked when it is added; `store.hits` counts."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import and_, except_, select, union_all, update

from trivet.pki.revocation import EntryKind, name_ranges
from trivet.pki.search import exactly
from trivet.store.certificates import ids_in_range, ids_of_keys, serial_ids, unexpired
from trivet.store.clusters import ALL_CLUSTERS
from trivet.store.tables import certificate_names, certificates, clusters, serials

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Select

    from trivet.pki.revocation import Entry
    from trivet.pki.search import KeyRange, NameKind
    from trivet.store.revocations import StandingEntry

_ALL_IDS = (UUID(int=0), UUID(int=(1 << 128) - 1))
_ARMS = 200  # of one UNION; SQLite takes 500


def mark_revoked(connection: Connection, standing: StandingEntry, now: datetime) -> int:
    """Mark every certificate that the entry names, live or (for a serial's lineage) not; count them."""
    conditions = [certificates.c.revoked_at.is_(None), named([standing.entry], standing.scope)]
    if standing.entry.kind is not EntryKind.SERIAL_NUMBER:
        # The dead ones of a lineage are marked, too: they must not vouch for a repair later.
        conditions.append(unexpired(now))
    query = update(certificates).where(*conditions).values(revoked_at=now, revoked_by=standing.id)
    return connection.execute(query).rowcount


def is_named(connection: Connection, standing: StandingEntry, certificate_id: UUID) -> bool:
    """Whether the entry names the certificate, also where another one had marked it before."""
    is_meant = named([standing.entry], standing.scope)
    query = select(certificates.c.id).where(certificates.c.id == certificate_id, is_meant)
    return connection.execute(query).first() is not None


def named(entries: Sequence[Entry], scope: UUID, spared: Sequence[Entry] = ()) -> ColumnElement[bool]:
    """Whether a certificate of the scope is named by one of the entries, and by none of those that are spared."""
    cluster_id = certificates.c.cluster_id
    ids = _ids(entries, scope)
    if spared:
        ids = except_(select(ids.subquery()), select(_ids(spared, scope).subquery()))
    # A union, each arm of which is an index search; conditions joined by OR would be tried on every certificate.
    is_named = certificates.c.id.in_(ids)
    return and_(cluster_id == scope if scope != ALL_CLUSTERS else cluster_id.is_not(None), is_named)


def _ids(entries: Sequence[Entry], scope: UUID) -> Any:  # noqa: ANN401  SQLAlchemy's own type for a union is private
    return _union([arm for group in _groups(entries) for arm in _arms(group, scope)])


def _union(arms: Sequence[Select[UUID]]) -> Any:  # noqa: ANN401
    if len(arms) <= _ARMS:
        return union_all(*arms) if len(arms) > 1 else arms[0]
    parts = [union_all(*arms[start : start + _ARMS]) for start in range(0, len(arms), _ARMS)]
    return union_all(*(select(part.subquery()) for part in parts))


def _groups(entries: Sequence[Entry]) -> list[list[Entry]]:
    """The entries of an object, together where they differ in nothing but their value: a search for each group."""
    groups: dict[object, list[Entry]] = {}
    for entry in entries:
        groups.setdefault((entry.kind, entry.not_before, entry.include_renewed), []).append(entry)
    return list(groups.values())


def _arms(entries: Sequence[Entry], scope: UUID) -> list[Select[UUID]]:
    """Searches whose results together are the ids of what the entries name in the scope, or more."""
    first, values = entries[0], [entry.value for entry in entries]
    match first.kind:
        case EntryKind.SERIAL_NUMBER:
            found = [_lineages(values) if first.include_renewed else serial_ids(values)]
        case EntryKind.PUBLIC_KEY:
            found = [select(certificates.c.id).where(certificates.c.spki_sha256.in_(values))]
        case _:
            found = _name_searches(entries, scope)
    if first.not_before is None:
        return found
    issued = select(certificates.c.id).where(certificates.c.issued_at < first.not_before)
    return [issued.where(certificates.c.id.in_(arm)) for arm in found]


def _name_searches(entries: Sequence[Entry], scope: UUID) -> list[Select[UUID]]:
    """A search for each range of names, and one for all ranges of a kind that hold a single key.

    PostgreSQL plans every search for every partition; a thousand of them take it longer to plan than to run.
    """
    single: dict[NameKind, list[str]] = {}
    wide: dict[KeyRange, None] = {}
    for key_range in (found for entry in entries for found in name_ranges(entry)):
        if key_range == exactly(key_range.kind, key_range.low):
            single.setdefault(key_range.kind, []).append(key_range.low)
        else:
            wide[key_range] = None
    return [
        *(_in_scope(scope, partial(ids_of_keys, kind=kind, keys=keys)) for kind, keys in single.items()),
        *(_in_scope(scope, partial(ids_in_range, key_range=wanted)) for wanted in wide),
    ]


def _in_scope(scope: UUID, search: Callable[[UUID | ColumnElement[UUID]], Select[UUID]]) -> Select[UUID]:
    """The search in a cluster; or in all of them, an index search for each, as the key begins with the cluster."""
    if scope != ALL_CLUSTERS:
        return search(scope)
    return search(clusters.c.id).join_from(
        clusters, certificate_names, certificate_names.c.cluster_id == clusters.c.id
    )


def _lineages(values: Sequence[str]) -> Select[UUID]:
    """The certificates of those serials, and those renewed from them.

    Walks `serials`, so that it reaches the end though links between were pruned.
    """
    lineage = serial_ids(values).cte(recursive=True, nesting=True)
    renewed = select(serials.c.certificate_id).join(lineage, serials.c.parent_id == lineage.c.certificate_id)
    descendants = lineage.union(renewed)
    # True of every id. Without it PostgreSQL takes each lineage for a hundred long and reads the whole cluster
    # instead of searching; a range of which it knows nothing it takes for one in two hundred.
    return select(descendants.c.certificate_id).where(descendants.c.certificate_id.between(*_ALL_IDS))
