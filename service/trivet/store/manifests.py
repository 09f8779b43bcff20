"""What an object of the Kubernetes API says beyond what is compared: its spec as written, and who manages what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select

from trivet.store.tables import object_manifests

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from sqlalchemy import Connection


@dataclass(frozen=True, slots=True)
class Manifest:
    """What was written.

    Attributes:
        spec: as it was written, letter for letter.
        generation: how many specs the object has had.
        managed_fields: as metadata.managedFields has them.
    """

    spec: Mapping[str, Any]
    generation: int = 1
    managed_fields: Sequence[Mapping[str, Any]] = ()


def put(connection: Connection, object_id: UUID, manifest: Manifest) -> None:
    """Store an object's manifest in place of the one that it had."""
    connection.execute(delete(object_manifests).where(object_manifests.c.object_id == object_id))
    row = {
        "object_id": object_id,
        "spec": dict(manifest.spec),
        "generation": manifest.generation,
        "managed_fields": list(manifest.managed_fields),
    }
    connection.execute(insert(object_manifests).values(row))


def of_objects(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, Manifest]:
    """The manifests of objects; those that were made before there were any have none."""
    query = select(object_manifests).where(object_manifests.c.object_id.in_(ids))
    return {
        row.object_id: Manifest(row.spec, row.generation, tuple(row.managed_fields))
        for row in connection.execute(query)
    }
