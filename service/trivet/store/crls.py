"""Published CRLs: which there are of each key of an authority, how far each is behind, and the newest of each.

How far revocation has come is told by the versions of the revocation sets of a cluster and of all clusters: whatever
marks certificates takes the next version of its set in the same transaction. A list notes the versions that its newest
CRL covers; where a set has gone on, there may be something to publish. So nothing is lost with a process that ends.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, case, delete, exists, func, insert, or_, select, text, update

from trivet.pki.crl_entries import RevokedEntry, revoked_entry
from trivet.pki.locations import COMPLETE, Shard
from trivet.pki.revocation import EntryKind
from trivet.store.authorities import GenerationState
from trivet.store.clusters import ALL_CLUSTERS
from trivet.store.engine import lock_key
from trivet.store.tables import (
    authorities,
    certificates,
    crl_lists,
    crls,
    generations,
    revocation_entries,
    revocation_sets,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from uuid import UUID

    from sqlalchemy import ColumnElement, Connection, Row, Select

_AT_ONCE: Final = 5000
"""How many marks are read at a time, so that a million take no more memory than these and their octets."""

_NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class CrlList:
    """One scope of CRLs: all certificates of a generation, or a shard of them.

    Attributes:
        number: of its newest CRL; 0 where there is none yet.
        cluster_version: of the cluster's revocation set that it covers.
        global_version: of the set of all clusters that it covers.
        renew_at: when the next CRL is due though nothing changed.
        base_urls: what stood before its path in certificates, ever; each is named in its issuingDistributionPoint.
    """

    id: UUID
    cluster_id: UUID
    generation_id: UUID
    shard: Shard
    number: int
    cluster_version: int
    global_version: int
    renew_at: datetime
    base_urls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Crl:
    """A published CRL.

    Attributes:
        entries: how many there are.
        sha256: of the DER, in hex.
    """

    list_id: UUID
    number: int
    published_at: datetime
    this_update: datetime
    next_update: datetime
    entries: int
    sha256: str


@dataclass(frozen=True, slots=True)
class CrlContent:
    """The octets of a published CRL; `layout` is that of its entries, which begin at `entries_offset`."""

    der: bytes = field(repr=False)
    entries_offset: int
    layout: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Mark:
    """A certificate that was marked revoked, and when it expires."""

    entry: RevokedEntry
    not_after: datetime


_LIST: Final[tuple[Any, ...]] = (
    crl_lists.c.id,
    crl_lists.c.cluster_id,
    crl_lists.c.generation_id,
    crl_lists.c.shards,
    crl_lists.c.shard,
    crl_lists.c.number,
    crl_lists.c.cluster_version,
    crl_lists.c.global_version,
    crl_lists.c.renew_at,
    crl_lists.c.base_urls,
)
_CRL: Final = tuple(crls.c[name] for name in Crl.__dataclass_fields__)
# As an expression, so that no index finds the entry of a certificate: SQLite would go through all marks for each list.
_ENTRY_FIRST: Final = func.coalesce(revocation_entries.c.id, revocation_entries.c.id)
_TOLD: Final = generations.c.state != GenerationState.RETIRED


def begin_lists(
    connection: Connection,
    shards: int,
    base_url: str | None,
    new_id: Callable[[], UUID],
    *,
    only: UUID | None = None,
) -> int:
    """Make the lists that are missing: a complete one of every generation of a cluster, and its shards.

    Args:
        connection: of a transaction that writes.
        shards: how many are wanted. They are for certificates that name them, so there are none without a base URL.
        base_url: stands before their paths in certificates from now on.
        new_id: gives ids.
        only: the cluster; None for all.

    Returns:
        how many were made, or have another base URL now. They are published when they are next looked at.
    """
    parts = shards if base_url is not None and shards > 1 else 0
    made = 0
    for shard in [COMPLETE, *(Shard(number, shards) for number in range(1, parts + 1))]:
        missing = [
            {
                "id": new_id(),
                "cluster_id": row.cluster_id,
                "generation_id": row.id,
                "shards": shard.of,
                "shard": shard.number,
                "number": 0,
                "cluster_version": 0,
                "global_version": 0,
                "renew_at": _NEVER,
                "base_urls": [base_url] if not shard.is_complete else [],
            }
            for row in connection.execute(_without(shard, only))
        ]
        if missing:
            connection.execute(insert(crl_lists), missing)
            made += len(missing)
    return made + (_add_base_url(connection, base_url) if base_url is not None and only is None else 0)


def _add_base_url(connection: Connection, base_url: str) -> int:
    sharded = select(crl_lists.c.id, crl_lists.c.base_urls).where(crl_lists.c.shards > 1)
    lacking = [row for row in connection.execute(sharded) if base_url not in row.base_urls]
    for row in lacking:
        changed = {"base_urls": [*row.base_urls, base_url], "renew_at": _NEVER}
        connection.execute(update(crl_lists).where(crl_lists.c.id == row.id).values(changed))
    return len(lacking)


def _without(shard: Shard, only: UUID | None) -> Select[Any]:
    there = exists().where(
        crl_lists.c.generation_id == generations.c.id,
        crl_lists.c.shards == shard.of,
        crl_lists.c.shard == shard.number,
    )
    of_cluster = authorities.c.cluster_id.is_not(None) if only is None else authorities.c.cluster_id == only
    query = select(generations.c.id, authorities.c.cluster_id).join(authorities)
    return query.where(of_cluster, _TOLD, ~there)


def find_list(connection: Connection, generation_id: UUID, shard: Shard) -> CrlList | None:
    """The list of a generation's shard."""
    query = select(*_LIST).where(
        crl_lists.c.generation_id == generation_id,
        crl_lists.c.shards == shard.of,
        crl_lists.c.shard == shard.number,
    )
    row = connection.execute(query).first()
    return _list(row) if row else None


def get_list(connection: Connection, list_id: UUID) -> CrlList:
    """The list of that id, which exists."""
    return _list(connection.execute(select(*_LIST).where(crl_lists.c.id == list_id)).one())


def newest(connection: Connection, list_id: UUID) -> Crl | None:
    """The newest CRL of a list, without its octets."""
    query = select(*_CRL).join(crl_lists, _is_newest()).where(crl_lists.c.id == list_id)
    row = connection.execute(query).first()
    return Crl(*row) if row else None


def content(connection: Connection, list_id: UUID, number: int) -> CrlContent | None:
    """The octets of a CRL; None once a newer one took its place."""
    query = select(crls.c.der, crls.c.entries_offset, crls.c.layout).where(
        crls.c.list_id == list_id, crls.c.number == number
    )
    row = connection.execute(query).first()
    return CrlContent(*row) if row else None


def marked_lists(connection: Connection) -> list[UUID]:
    """The lists that lack a certificate which was marked since, or may lack it (the shards of one that does)."""
    query = (
        select(crl_lists.c.id)
        .join(generations, generations.c.id == crl_lists.c.generation_id)
        .where(_TOLD, _is_behind(), _has_marks())
    )
    return list(connection.scalars(query.order_by(crl_lists.c.id)))


def due_lists(connection: Connection, now: datetime, latest: datetime) -> list[UUID]:
    """The lists whose next CRL is due, though nothing changed; those that have none yet come first.

    Due is also what was published later than `latest`: the clock was ahead.
    """
    query = (
        select(crl_lists.c.id)
        .join(generations, generations.c.id == crl_lists.c.generation_id)
        .outerjoin(crls, _is_newest())
        .where(_TOLD, or_(crl_lists.c.renew_at <= now, crls.c.published_at > latest))
    )
    return list(connection.scalars(query.order_by(crl_lists.c.renew_at)))


def is_any_behind(connection: Connection) -> bool:
    """Whether a revocation set has gone on beyond what a list covers, whatever it marked."""
    return connection.execute(select(crl_lists.c.id).where(_is_behind()).limit(1)).first() is not None


def pass_over(connection: Connection) -> int:
    """Note of lists that they cover what marked none of their certificates; count them."""
    cluster_version, global_version = _version(crl_lists.c.cluster_id), _version(ALL_CLUSTERS)
    mine, all_mine = crl_lists.c.cluster_version, crl_lists.c.global_version
    # Never backwards: another process may have gone on since this statement began.
    advanced = {
        mine: case((cluster_version > mine, cluster_version), else_=mine),
        all_mine: case((global_version > all_mine, global_version), else_=all_mine),
    }
    query = update(crl_lists).where(_is_behind(), ~_has_marks()).values(advanced)
    return connection.execute(query).rowcount


def cover(connection: Connection, listed: CrlList, cluster_version: int, global_version: int) -> None:
    """Note that a list covers these versions, which marked none of its certificates, unless it has gone on."""
    same = and_(crl_lists.c.id == listed.id, crl_lists.c.number == listed.number)
    versions = {"cluster_version": cluster_version, "global_version": global_version}
    connection.execute(update(crl_lists).where(same).values(versions))


def _version(scope: ColumnElement[UUID] | UUID) -> ColumnElement[int]:
    query = select(revocation_sets.c.version).where(revocation_sets.c.scope == scope)
    return query.correlate(crl_lists).scalar_subquery()


def _is_behind() -> ColumnElement[bool]:
    return or_(
        crl_lists.c.cluster_version < _version(crl_lists.c.cluster_id),
        crl_lists.c.global_version < _version(ALL_CLUSTERS),
    )


def _has_marks() -> ColumnElement[bool]:
    return or_(
        _mark_in(crl_lists.c.cluster_id, crl_lists.c.cluster_version),
        _mark_in(ALL_CLUSTERS, crl_lists.c.global_version),
    )


def _mark_in(scope: ColumnElement[UUID] | UUID, covered: ColumnElement[int]) -> ColumnElement[bool]:
    return (
        exists()
        .where(
            revocation_entries.c.scope == scope,
            revocation_entries.c.added_in > covered,
            certificates.c.revoked_by == _ENTRY_FIRST,
            certificates.c.generation_id == crl_lists.c.generation_id,
        )
        .correlate(crl_lists)
    )


def take_turn(connection: Connection, list_id: UUID) -> bool:
    """Whether no other process makes a CRL of the list; none will until the transaction ends.

    On SQLite several may: the first one to store it wins (`store`), and the others' are thrown away.
    """
    if connection.dialect.name == "sqlite":
        return True
    query = text("SELECT pg_try_advisory_xact_lock(:key)")
    return bool(connection.scalar(query, {"key": lock_key(list_id)}))


def marks(
    connection: Connection, listed: CrlList, cluster_version: int, global_version: int, cutoff: datetime
) -> Iterator[Sequence[Mark]]:
    """The certificates that were marked after what the list covers, up to these versions; some at a time.

    Args:
        connection: of a transaction that read the versions before.
        listed: whose certificates.
        cluster_version: of the cluster's revocation set.
        global_version: of the set of all clusters.
        cutoff: what expired before it is left out.
    """
    for scope, covered, wanted in (
        (listed.cluster_id, listed.cluster_version, cluster_version),
        (ALL_CLUSTERS, listed.global_version, global_version),
    ):
        if covered < wanted:
            query = _marks(listed.generation_id, scope, covered, wanted, cutoff)
            rows = connection.execute(query, execution_options={"yield_per": _AT_ONCE})
            for part in rows.partitions():
                yield [_mark(row) for row in part]


def _marks(generation_id: UUID, scope: UUID, covered: int, wanted: int, cutoff: datetime) -> Select[Any]:
    return (
        select(
            certificates.c.serial,
            certificates.c.revoked_at,
            certificates.c.not_after,
            revocation_entries.c.kind,
            revocation_entries.c.not_before,
        )
        .join(certificates, certificates.c.revoked_by == _ENTRY_FIRST)
        .where(
            revocation_entries.c.scope == scope,
            revocation_entries.c.added_in > covered,
            revocation_entries.c.added_in <= wanted,
            certificates.c.generation_id == generation_id,
            certificates.c.not_after >= cutoff,
        )
    )


def _mark(row: Row[Any]) -> Mark:
    entry = revoked_entry(int(row.serial, 16), row.revoked_at, EntryKind(row.kind), row.not_before)
    return Mark(entry, row.not_after)


def store(connection: Connection, expected: int, changed: CrlList, crl: Crl, made: CrlContent) -> bool:
    """Publish a CRL: take its number, and store it in place of the one before.

    Args:
        connection: of the transaction that publishes it when it is committed.
        expected: the number of the newest CRL that it was made from.
        changed: the list, as it stands with this CRL.
        crl: what it is.
        made: its octets.

    Returns:
        whether it was; else another process was first, and this one must not leave.
    """
    taken = (
        update(crl_lists)
        .where(crl_lists.c.id == changed.id, crl_lists.c.number == expected, crl_lists.c.number < crl.number)
        .values(
            number=crl.number,
            cluster_version=changed.cluster_version,
            global_version=changed.global_version,
            renew_at=changed.renew_at,
        )
    )
    if connection.execute(taken).rowcount != 1:
        return False
    row = {name: getattr(crl, name) for name in Crl.__dataclass_fields__}
    octets = {"der": made.der, "entries_offset": made.entries_offset, "layout": made.layout}
    connection.execute(insert(crls).values({**row, **octets}))
    connection.execute(delete(crls).where(crls.c.list_id == changed.id, crls.c.number < crl.number))
    return True


def begin_anew(connection: Connection, number: int) -> None:
    """Let every list be published at once, from all marks there are, under a number beyond this one.

    So it is after a restore: what was published since the backup has taken numbers that this database does not know.
    """
    told = crl_lists.c.generation_id.in_(select(generations.c.id).where(_TOLD))
    connection.execute(delete(crls).where(crls.c.list_id.in_(select(crl_lists.c.id).where(told))))
    values = {
        "number": case((crl_lists.c.number > number, crl_lists.c.number), else_=number),
        "cluster_version": 0,
        "global_version": 0,
        "renew_at": _NEVER,
    }
    connection.execute(update(crl_lists).where(told).values(values))


def _is_newest() -> ColumnElement[bool]:
    return and_(crls.c.list_id == crl_lists.c.id, crls.c.number == crl_lists.c.number)


def _list(row: Row[Any]) -> CrlList:
    return CrlList(
        row.id,
        row.cluster_id,
        row.generation_id,
        Shard(row.shard, row.shards),
        row.number,
        row.cluster_version,
        row.global_version,
        row.renew_at,
        tuple(row.base_urls),
    )
