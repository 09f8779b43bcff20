"""The log of changes that watches read: what became of an object, under the version that its change took.

A version is taken with a row of its scope locked (`revocations.next_version`), so versions of a scope are committed in
their order: whoever has read version 7 will never find a 6 that was not there before.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from sqlalchemy import and_, delete, insert, or_, select

from trivet.store.tables import object_changes, revocation_sets

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

RENEW_REVOCATIONS: Final = "renewrevocations"


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
        managed_fields: as metadata.managedFields has them.
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


def append(connection: Connection, scope: UUID, resource: str, change: Change, now: datetime) -> None:
    """Log a change, in the transaction that makes it."""
    row = {
        "scope": scope,
        "resource": resource,
        "version": change.version,
        "change": change.kind,
        "object": _kept(change.image),
        "former_labels": dict(change.former_labels),
        "changed_at": now,
    }
    connection.execute(insert(object_changes).values(row))


def after(connection: Connection, scope: UUID, resource: str, version: int, limit: int) -> list[Change]:
    """The changes after a version, in their order."""
    columns = object_changes.c
    query = (
        select(object_changes)
        .where(columns.scope == scope, columns.resource == resource, columns.version > version)
        .order_by(columns.version)
        .limit(limit)
    )
    return [
        Change(ChangeKind(row.change), _restored(row.object, row.version), row.former_labels)
        for row in connection.execute(query)
    ]


def forget(connection: Connection, moment: datetime, most: int) -> int:
    """Drop what was logged before the moment, and all but the `most` newest versions of a scope; count them."""
    columns = object_changes.c
    newest = {row.scope: row.version for row in connection.execute(select(revocation_sets))}
    logged = connection.execute(select(columns.scope).distinct()).scalars().all()
    surplus = [
        and_(columns.scope == scope, columns.version <= newest[scope] - most)
        for scope in logged
        if newest.get(scope, 0) > most
    ]
    return connection.execute(
        delete(object_changes).where(or_(columns.changed_at < moment, *surplus))
    ).rowcount


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
    )
