"""RenewRevocation objects that stand: read, and compared with what is to stand in their place."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from trivet.authority.access import Permission, Requester
from trivet.authority.preview import scope_cluster
from trivet.pki.errors import ConflictError, Fault, NotFoundError, PreconditionError
from trivet.store import revocations
from trivet.store.clusters import ALL_CLUSTERS
from trivet.store.revocations import StandingEntry

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection

    from trivet.authority.context import Authority
    from trivet.pki.manifest import RenewRevocation
    from trivet.pki.revocation import Entry
    from trivet.store.clusters import Cluster
    from trivet.store.revocations import StoredRevocation


def get_revocation(
    authority: Authority, requester: Requester, cluster: str | None, namespace: str, name: str
) -> StoredRevocation:
    """One standing object.

    Raises:
        NotFoundError: there is none of that name.
    """
    with authority.database.read() as connection:
        now = authority.clock()
        found = scope_cluster(connection, requester, Permission.READ_REVOCATION, cluster, now)
        return standing_object(connection, found, namespace, name, None)


def list_revocations(
    authority: Authority, requester: Requester, cluster: str | None, after: tuple[str, str] | None, limit: int
) -> list[StoredRevocation]:
    """Standing objects of a scope, by namespace and name."""
    with authority.database.read() as connection:
        now = authority.clock()
        found = scope_cluster(connection, requester, Permission.READ_REVOCATION, cluster, now)
        return revocations.page(connection, found.id if found else ALL_CLUSTERS, after, limit)


def standing_object(
    connection: Connection, cluster: Cluster | None, namespace: str, name: str, expected_version: int | None
) -> StoredRevocation:
    """One standing object, within a transaction.

    Raises:
        NotFoundError: there is none of that name.
        PreconditionError: it is not at the expected version.
    """
    standing = revocations.find(connection, cluster.id if cluster else ALL_CLUSTERS, namespace, name)
    if standing is None:
        message = f"there is no RenewRevocation {namespace[:80]}/{name[:80]}"
        raise NotFoundError(message)
    if expected_version is not None and standing.version != expected_version:
        message = f"the object is at version {standing.version}, not {expected_version}; read it again and decide anew"
        raise PreconditionError(message)
    return standing


def refuse_existing(standing: StoredRevocation | None) -> None:
    """Let a name be taken once.

    Raises:
        ConflictError: there is one of that name.
    """
    if standing is not None:
        message = f"there is a RenewRevocation {standing.namespace}/{standing.name} already; replace it"
        raise ConflictError(message, Fault("/metadata/name", "must be new"))


def new_entries(
    authority: Authority,
    entries: Sequence[Entry],
    revocation_id: UUID,
    scope: UUID,
    wanted: RenewRevocation,
    now: datetime,
    positions: Sequence[int] | None = None,
) -> tuple[StandingEntry, ...]:
    """Entries of an object as they are to be stored, at their positions (else one after the other)."""
    name = f"{wanted.namespace}/{wanted.name}"
    places = positions if positions is not None else range(len(entries))
    return tuple(
        StandingEntry(authority.new_id(now), revocation_id, scope, position, entry, name)
        for position, entry in zip(places, entries, strict=True)
    )


def difference(
    standing: Sequence[StandingEntry], wanted: Sequence[Entry]
) -> tuple[list[StandingEntry], list[StandingEntry], dict[int, Entry]]:
    """Which entries stay (at their new places), which go, and which come (by place)."""
    left: dict[Entry, list[StandingEntry]] = {}
    for candidate in standing:
        left.setdefault(_undescribed(candidate.entry), []).append(candidate)
    kept: list[StandingEntry] = []
    added: dict[int, Entry] = {}
    for position, entry in enumerate(wanted):
        same = left.get(_undescribed(entry))
        if same:
            kept.append(replace(same.pop(0), position=position, entry=entry))
        else:
            added[position] = entry
    return kept, [gone for candidates in left.values() for gone in candidates], added


def _undescribed(entry: Entry) -> Entry:
    """What entries that revoke the same have in common."""
    return replace(entry, description="")
