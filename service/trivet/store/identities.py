"""What a cluster holds now: the certificates that nothing has replaced, expired and revoked ones included.

A certificate that was renewed is superseded, so what is left is the newest link of every lineage. Two lineages may be
of one identity, where it was issued anew instead of renewed: `authority.renewals.identities` tells them apart.
Certificates that were pruned are gone from here, too (`store.pruning`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite

from trivet.store.tables import abandoned_certificates, certificates

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection

_PAGE: Final = 2_000
_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class CurrentCertificate:
    """A certificate that was not renewed, without its DER: a cluster has thousands."""

    id: UUID
    authority: str
    generation_id: UUID
    serial: str
    profile: str
    node: str | None
    common_name: str
    spki_sha256: str
    issued_at: datetime
    not_before: datetime
    not_after: datetime
    parent_id: UUID | None
    revoked_at: datetime | None
    revoked_by: UUID | None


_FIELDS = tuple(CurrentCertificate.__dataclass_fields__)
_COLUMNS = tuple(certificates.c[name] for name in _FIELDS)


def page(
    connection: Connection,
    cluster_id: UUID,
    before: UUID | None,
    limit: int,
    nodes: Collection[str] | None = None,
) -> list[CurrentCertificate]:
    """Current certificates of a cluster (or of some of its nodes), newest first, from the first older than `before`."""
    columns = certificates.c
    query = select(*_COLUMNS).where(columns.cluster_id == cluster_id, columns.superseded_at.is_(None))
    if before is not None:
        query = query.where(columns.id < before)
    if nodes is not None:
        query = query.where(columns.node.in_(sorted(nodes)))
    query = query.order_by(columns.id.desc()).limit(limit)
    return [CurrentCertificate(*row) for row in connection.execute(query)]


def each(
    connection: Connection, cluster_id: UUID, most: int, nodes: Collection[str] | None = None
) -> Iterator[CurrentCertificate]:
    """Current certificates of a cluster, newest first, read by the page; never more than `most`."""
    before: UUID | None = None
    while most > 0:
        found = page(connection, cluster_id, before, min(_PAGE, most), nodes)
        yield from found
        if len(found) < min(_PAGE, most):
            return
        before, most = found[-1].id, most - len(found)


def ders(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, bytes]:
    """The DER of certificates, by id."""
    found: dict[UUID, bytes] = {}
    for start in range(0, len(ids), _AT_ONCE):
        some = ids[start : start + _AT_ONCE]
        query = select(certificates.c.id, certificates.c.der).where(certificates.c.id.in_(some))
        found.update((row.id, row.der) for row in connection.execute(query))
    return found


def with_ids(connection: Connection, ids: Collection[UUID]) -> list[CurrentCertificate]:
    """Certificates by their ids, also those that were replaced meanwhile."""
    if not ids:
        return []
    query = select(*_COLUMNS).where(certificates.c.id.in_(sorted(ids)))
    return [CurrentCertificate(*row) for row in connection.execute(query)]


def knows_key(connection: Connection, spki_sha256: str) -> bool:
    """Whether any certificate that is kept has that key."""
    query = select(certificates.c.id).where(certificates.c.spki_sha256 == spki_sha256).limit(1)
    return connection.execute(query).first() is not None


def abandoned(connection: Connection, cluster_id: UUID) -> frozenset[UUID]:
    """The ids of the certificates that an administrator gave up."""
    columns = abandoned_certificates.c
    return frozenset(
        connection.scalars(select(columns.certificate_id).where(columns.cluster_id == cluster_id))
    )


def abandon(
    connection: Connection,
    cluster_id: UUID,
    given_up: Sequence[CurrentCertificate],
    now: datetime,
    requester: str,
) -> None:
    """Note that nobody waits for these certificates any more. What renews one of them is waited for again."""
    if not given_up:
        return
    rows = [
        {
            "cluster_id": cluster_id,
            "certificate_id": one.id,
            "node": one.node,
            "abandoned_at": now,
            "abandoned_by": requester,
        }
        for one in given_up
    ]
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    connection.execute(dialect.insert(abandoned_certificates).on_conflict_do_nothing(), rows)


def take_back(connection: Connection, cluster_id: UUID, ids: Collection[UUID]) -> None:
    """Wait for certificates again that were given up."""
    columns = abandoned_certificates.c
    connection.execute(
        delete(abandoned_certificates).where(
            columns.cluster_id == cluster_id, columns.certificate_id.in_(sorted(ids))
        )
    )
