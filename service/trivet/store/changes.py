"""The log of changes that watches read: what became of an object, under the version that its change took.

A version is taken with a row of its scope locked (`revocations.next_version`, `counters.advance`), so versions of a
scope are committed in their order: whoever has read version 7 will never find a 6 that was not there before. And every
version is that of a change, so whoever misses one knows that the log was cut.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from sqlalchemy import and_, delete, func, insert, or_, select

from trivet.store import counters, revocations
from trivet.store.tables import object_changes

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sqlalchemy import Connection

RENEW_REVOCATIONS: Final = "renewrevocations"
CERTIFICATE_SIGNING_REQUESTS: Final = "certificatesigningrequests"


class ChangeKind(StrEnum):
    """What became of an object, as a watch says it."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


@dataclass(frozen=True, slots=True)
class ObjectImage:
    """An object of the Kubernetes API as it was at one version.

    Attributes:
        namespace: empty for what has none.
        version: its resourceVersion, as a number.
        generation: 0 for what has none.
        managed_fields: as metadata.managedFields has them.
        generate_name: what the name was made from.
        body: all else beside the metadata: spec and, where there is one, status.
    """

    id: UUID
    namespace: str
    name: str
    version: int
    generation: int
    created_at: datetime
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    managed_fields: Sequence[Mapping[str, Any]] = ()
    body: Mapping[str, Any] = field(default_factory=dict)
    generate_name: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Whose changes have versions of their own: a resource in a scope (a cluster's id, or ALL_CLUSTERS)."""

    scope: UUID
    resource: str


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of the log; `former_labels` are those that the object had before."""

    kind: ChangeKind
    image: ObjectImage
    former_labels: Mapping[str, str]

    @property
    def version(self) -> int:
        """The version that the change took."""
        return self.image.version


def append(connection: Connection, place: Place, changed: Sequence[Change], now: datetime) -> None:
    """Log changes, in the transaction that makes them."""
    rows = [
        {
            "scope": place.scope,
            "resource": place.resource,
            "version": change.version,
            "change": change.kind,
            "object": _kept(change.image),
            "former_labels": dict(change.former_labels),
            "changed_at": now,
        }
        for change in changed
    ]
    if rows:
        connection.execute(insert(object_changes), rows)


def versions(connection: Connection, places: Collection[Place]) -> dict[Place, int]:
    """The version that each place is at."""
    found: dict[Place, int] = {}
    for resource in {place.resource for place in places}:
        scopes = {place.scope for place in places if place.resource == resource}
        if resource == CERTIFICATE_SIGNING_REQUESTS:
            known = counters.values(connection, scopes, "requests")
        else:
            known = revocations.versions(connection, scopes)
        found |= {Place(scope, resource): version for scope, version in known.items()}
    return found


def after(connection: Connection, place: Place, version: int, limit: int) -> list[Change]:
    """The changes after a version, in their order."""
    columns = object_changes.c
    query = (
        select(object_changes)
        .where(columns.scope == place.scope, columns.resource == place.resource, columns.version > version)
        .order_by(columns.version)
        .limit(limit)
    )
    return [
        Change(ChangeKind(row.change), _restored(row.object, row.version), row.former_labels)
        for row in connection.execute(query)
    ]


def forget(connection: Connection, moment: datetime, most: int) -> int:
    """Drop what was logged before the moment, and all but the `most` newest versions of a place; count them."""
    columns = object_changes.c
    ends = (func.min(columns.version).label("oldest"), func.max(columns.version).label("newest"))
    logged = select(columns.scope, columns.resource, *ends).group_by(columns.scope, columns.resource)
    surplus = [
        and_(
            columns.scope == row.scope, columns.resource == row.resource, columns.version <= row.newest - most
        )
        for row in connection.execute(logged)
        if row.newest - row.oldest >= most
    ]
    return connection.execute(
        delete(object_changes).where(or_(columns.changed_at < moment, *surplus))
    ).rowcount


def forget_all(connection: Connection) -> None:
    """Drop the log, so that every watch is told to list again."""
    connection.execute(delete(object_changes))


def _kept(image: ObjectImage) -> dict[str, Any]:
    return {
        "id": str(image.id),
        "namespace": image.namespace,
        "name": image.name,
        "generation": image.generation,
        "created_at": image.created_at.astimezone(UTC).isoformat(),
        "labels": dict(image.labels),
        "annotations": dict(image.annotations),
        "managed_fields": list(image.managed_fields),
        "body": dict(image.body),
        "generate_name": image.generate_name,
    }


def _restored(kept: Mapping[str, Any], version: int) -> ObjectImage:
    return ObjectImage(
        UUID(kept["id"]),
        kept["namespace"],
        kept["name"],
        version,
        kept["generation"],
        datetime.fromisoformat(kept["created_at"]),
        kept["labels"],
        kept["annotations"],
        kept["managed_fields"],
        kept["body"],
        kept.get("generate_name", ""),
    )
