"""Clusters that were asked to renew early."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import insert, select

from trivet.store.tables import early_renewals

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection

_LATEST: Final = 5  # older ones ask for nothing that these do not


@dataclass(frozen=True, slots=True)
class StoredEarlyRenewal:
    """One wish: what was issued before `asked_at` renews until `ends_at`."""

    id: UUID
    cluster_id: UUID
    asked_at: datetime
    ends_at: datetime
    asked_by: str


_FIELDS = tuple(StoredEarlyRenewal.__dataclass_fields__)


def add(connection: Connection, wish: StoredEarlyRenewal) -> None:
    """Store a wish."""
    connection.execute(insert(early_renewals).values({name: getattr(wish, name) for name in _FIELDS}))


def latest(connection: Connection, cluster_id: UUID) -> list[StoredEarlyRenewal]:
    """The last wishes about a cluster, newest first."""
    return page(connection, cluster_id, None, _LATEST)


def page(
    connection: Connection, cluster_id: UUID, before: UUID | None, limit: int
) -> list[StoredEarlyRenewal]:
    """The wishes about a cluster, newest first, from the first one older than `before`."""
    columns = early_renewals.c
    query = select(early_renewals).where(columns.cluster_id == cluster_id)
    if before is not None:
        query = query.where(columns.id < before)
    rows = connection.execute(query.order_by(columns.id.desc()).limit(limit))
    return [StoredEarlyRenewal(**{name: getattr(row, name) for name in _FIELDS}) for row in rows]


def find(connection: Connection, cluster_id: UUID, wish_id: UUID) -> StoredEarlyRenewal | None:
    """The wish of that id, if it is about that cluster."""
    columns = early_renewals.c
    query = select(early_renewals).where(columns.id == wish_id, columns.cluster_id == cluster_id)
    row = connection.execute(query).first()
    return StoredEarlyRenewal(**{name: getattr(row, name) for name in _FIELDS}) if row else None
