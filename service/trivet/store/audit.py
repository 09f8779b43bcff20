"""Audit records: who changed what."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select

from trivet.store.tables import audit_records

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One change by an administrator: `action` like "revocation.create", `object` its name."""

    id: UUID
    recorded_at: datetime
    requester: str
    action: str
    object: str
    cluster_id: UUID | None = None
    details: dict[str, Any] = field(default_factory=dict)
    request_id: str | None = None


_FIELDS = tuple(AuditRecord.__dataclass_fields__)


def add(connection: Connection, record: AuditRecord) -> None:
    """Store a record, in the transaction of the change itself."""
    connection.execute(insert(audit_records).values({name: getattr(record, name) for name in _FIELDS}))


def page(
    connection: Connection, cluster_id: UUID | None, before: UUID | None, limit: int
) -> list[AuditRecord]:
    """Records (of a cluster, or all), newest first, from the first one older than `before`."""
    query = select(audit_records).order_by(audit_records.c.id.desc()).limit(limit)
    if cluster_id is not None:
        query = query.where(audit_records.c.cluster_id == cluster_id)
    if before is not None:
        query = query.where(audit_records.c.id < before)
    rows = connection.execute(query)
    return [AuditRecord(**{name: getattr(row, name) for name in _FIELDS}) for row in rows]
