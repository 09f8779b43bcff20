"""Revocation objects, their entries, and the versions of the sets that they form."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Row, and_, delete, func, insert, select, update

from trivet.pki.names import is_plain
from trivet.pki.revocation import Entry, EntryKind, entry_keys
from trivet.store import manifests
from trivet.store.engine import candidates_statement, keys_parameter
from trivet.store.tables import revocation_entries, revocation_entry_keys, revocation_sets, revocations
from trivet.store.types import Id

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection

    from trivet.pki.revocation import Key
    from trivet.store.manifests import Manifest


@dataclass(frozen=True, slots=True)
class StandingEntry:
    """An entry as stored.

    Attributes:
        scope: a cluster's id or ALL_CLUSTERS.
        object_name: "namespace/name" of the object that it belongs to.
    """

    id: UUID
    revocation_id: UUID
    scope: UUID
    position: int
    entry: Entry
    object_name: str


@dataclass(frozen=True, slots=True)
class StoredRevocation:
    """A RenewRevocation object; `version` is that of its scope's set at its last change.

    `manifest` is how it was written; None for objects that are older than manifests.
    """

    id: UUID
    scope: UUID
    namespace: str
    name: str
    description: str
    version: int
    created_at: datetime
    created_by: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    entries: tuple[StandingEntry, ...] = ()
    manifest: Manifest | None = None


_OBJECT = (
    "id",
    "scope",
    "namespace",
    "name",
    "description",
    "version",
    "created_at",
    "created_by",
    "labels",
    "annotations",
)

ENTRIES = select(
    revocation_entries,
    revocations.c.namespace.label("object_namespace"),
    revocations.c.name.label("object_name"),
).join(revocations, revocations.c.id == revocation_entries.c.revocation_id)
"""Entries, standing or not, with the names of their objects."""


def add_set(connection: Connection, scope: UUID) -> None:
    """Begin the revocation set of a scope, at version 0."""
    connection.execute(insert(revocation_sets).values(scope=scope, version=0))


def versions(connection: Connection, scopes: Iterable[UUID]) -> dict[UUID, int]:
    """The version of each scope's set."""
    query = select(revocation_sets).where(revocation_sets.c.scope.in_(list(scopes)))
    return {row.scope: row.version for row in connection.execute(query)}


def next_version(connection: Connection, scope: UUID) -> int:
    """Take the next version of a scope's set. The caller holds the scope's lock exclusively."""
    query = (
        update(revocation_sets)
        .where(revocation_sets.c.scope == scope)
        .values(version=revocation_sets.c.version + 1)
        .returning(revocation_sets.c.version)
    )
    return int(connection.execute(query).scalar_one())


def leave_gap(connection: Connection, gap: int) -> dict[UUID, int]:
    """Let the versions of all sets go on behind a gap; give what they are then."""
    query = update(revocation_sets).values(version=revocation_sets.c.version + gap)
    connection.execute(query)
    return {row.scope: row.version for row in connection.execute(select(revocation_sets))}


def candidates(connection: Connection, keys: Iterable[Key]) -> list[StandingEntry]:
    """The standing entries, of any scope, that are stored under one of the keys: all that could match."""
    found = candidates_statement(connection).columns(entry_id=Id)
    ids = connection.execute(found, {"keys": keys_parameter(keys)}).scalars().all()
    if not ids:
        return []
    return list(entries_by_id(connection, ids).values())


def add(connection: Connection, revocation: StoredRevocation, version: int) -> None:
    """Store an object with its entries, as of that version of its scope's set."""
    connection.execute(insert(revocations).values({name: getattr(revocation, name) for name in _OBJECT}))
    _put_manifest(connection, revocation)
    add_entries(connection, revocation.entries, version)


def add_entries(connection: Connection, entries: Sequence[StandingEntry], version: int) -> None:
    """Store entries with the keys that they are found under."""
    if not entries:
        return
    rows = [
        {
            "id": standing.id,
            "revocation_id": standing.revocation_id,
            "scope": standing.scope,
            "position": standing.position,
            "kind": standing.entry.kind,
            "value": standing.entry.value,
            "not_before": standing.entry.not_before,
            "description": standing.entry.description,
            "include_renewed": standing.entry.include_renewed,
            "added_in": version,
        }
        for standing in entries
    ]
    connection.execute(insert(revocation_entries), rows)
    keys = [
        {"kind": kind, "value": value, "entry_id": standing.id}
        for standing in entries
        for kind, value in entry_keys(standing.entry)
    ]
    connection.execute(insert(revocation_entry_keys), keys)


def remove_entries(connection: Connection, ids: Sequence[UUID], version: int) -> None:
    """Let entries stand no longer, from that version on; what they were stays on record."""
    if not ids:
        return
    connection.execute(delete(revocation_entry_keys).where(revocation_entry_keys.c.entry_id.in_(ids)))
    connection.execute(
        update(revocation_entries).where(revocation_entries.c.id.in_(ids)).values(removed_in=version)
    )


def update_object(connection: Connection, revocation: StoredRevocation) -> None:
    """Store an object's new description, labels, annotations and version."""
    connection.execute(
        update(revocations)
        .where(revocations.c.id == revocation.id)
        .values(
            description=revocation.description,
            labels=revocation.labels,
            annotations=revocation.annotations,
            version=revocation.version,
        )
    )
    _put_manifest(connection, revocation)


def _put_manifest(connection: Connection, revocation: StoredRevocation) -> None:
    if revocation.manifest is not None:
        manifests.put(connection, revocation.id, revocation.manifest)


def reposition(connection: Connection, entry_id: UUID, position: int, description: str) -> None:
    """Note an entry's new place and description; neither matters to what it revokes."""
    connection.execute(
        update(revocation_entries)
        .where(revocation_entries.c.id == entry_id)
        .values(position=position, description=description)
    )


def mark_deleted(connection: Connection, revocation_id: UUID, now: datetime) -> None:
    """Free the object's name; the object stays on record."""
    connection.execute(update(revocations).where(revocations.c.id == revocation_id).values(deleted_at=now))


def find(connection: Connection, scope: UUID, namespace: str, name: str) -> StoredRevocation | None:
    """The standing object of that name."""
    if not is_plain(namespace + name):  # PostgreSQL refuses to compare with what it cannot hold
        return None
    query = select(revocations).where(
        revocations.c.scope == scope,
        revocations.c.namespace == namespace,
        revocations.c.name == name,
        revocations.c.deleted_at.is_(None),
    )
    found = _with_entries(connection, connection.execute(query).all())
    return found[0] if found else None


def page(
    connection: Connection,
    scope: UUID,
    after: tuple[str, str] | None,
    limit: int,
    namespace: str | None = None,
) -> list[StoredRevocation]:
    """Standing objects of a scope, or of one namespace of it, by namespace and name; the first ones after `after`."""
    query = select(revocations).where(_standing_after(scope, after, namespace))
    query = query.order_by(revocations.c.namespace, revocations.c.name).limit(limit)
    return _with_entries(connection, connection.execute(query).all())


def count(
    connection: Connection, scope: UUID, after: tuple[str, str] | None, namespace: str | None = None
) -> int:
    """How many `page` would give without a limit."""
    query = select(func.count()).select_from(revocations).where(_standing_after(scope, after, namespace))
    return int(connection.execute(query).scalar_one())


def namespaces(connection: Connection, scope: UUID) -> list[str]:
    """The namespaces that hold a standing object of a scope."""
    query = select(revocations.c.namespace).where(_standing_after(scope, None, None)).distinct()
    return sorted(connection.execute(query).scalars())


def _standing_after(scope: UUID, after: tuple[str, str] | None, within: str | None) -> ColumnElement[bool]:
    columns = revocations.c
    condition = and_(columns.scope == scope, columns.deleted_at.is_(None))
    if within is not None:
        condition &= columns.namespace == within
    if after is not None:
        namespace, name = after
        same = columns.namespace == namespace
        condition &= (columns.namespace > namespace) | (same & (columns.name > name))
    return condition


def entries_by_id(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, StandingEntry]:
    """Entries, standing or not."""
    query = ENTRIES.where(revocation_entries.c.id.in_(list(ids)))
    return {row.id: standing_entry(row) for row in connection.execute(query)}


def still_stand(connection: Connection, ids: Collection[UUID]) -> frozenset[UUID]:
    """Those of the entries that stand."""
    columns = revocation_entry_keys.c
    query = select(columns.entry_id).where(columns.entry_id.in_(sorted(ids)))
    return frozenset(connection.scalars(query))


def _with_entries(connection: Connection, rows: Sequence[Row[Any]]) -> list[StoredRevocation]:
    if not rows:
        return []
    entries: dict[UUID, list[StandingEntry]] = {row.id: [] for row in rows}
    query = ENTRIES.where(
        revocation_entries.c.revocation_id.in_(list(entries)), revocation_entries.c.removed_in.is_(None)
    ).order_by(revocation_entries.c.position)
    for row in connection.execute(query):
        entries[row.revocation_id].append(standing_entry(row))
    written = manifests.of_objects(connection, list(entries))
    return [
        StoredRevocation(
            **{name: getattr(row, name) for name in _OBJECT},
            entries=tuple(entries[row.id]),
            manifest=written.get(row.id),
        )
        for row in rows
    ]


def standing_entry(row: Row[Any]) -> StandingEntry:
    """The entry of a row of `ENTRIES`."""
    entry = Entry(EntryKind(row.kind), row.value, row.not_before, row.description, row.include_renewed)
    return StandingEntry(
        row.id, row.revocation_id, row.scope, row.position, entry, f"{row.object_namespace}/{row.object_name}"
    )
