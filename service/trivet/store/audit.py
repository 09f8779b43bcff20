"""Audit records: who changed what. They are one chain, whose writers take turns at its row."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update

from trivet.pki.proof.lines import AUDIT_CHAIN, canonical, digest, time_text
from trivet.store.tables import audit_records, chains

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One change by an administrator: `action` like "revocation.create", `object` its name.

    Attributes:
        position: in the chain, from 1; None in records from before there was one.
        previous_sha256: of the line of the record before it.
    """

    id: UUID
    recorded_at: datetime
    requester: str
    action: str
    object: str
    cluster_id: UUID | None = None
    details: dict[str, Any] = field(default_factory=dict)
    request_id: str | None = None
    position: int | None = None
    previous_sha256: str | None = None


_FIELDS = tuple(AuditRecord.__dataclass_fields__)


def line_of(record: AuditRecord) -> bytes:
    """An audit record as its line."""
    return canonical(
        {
            "action": record.action,
            "chain": AUDIT_CHAIN,
            "cluster": str(record.cluster_id) if record.cluster_id else None,
            "details": record.details,
            "id": str(record.id),
            "object": record.object,
            "position": record.position,
            "previous": record.previous_sha256,
            "recordedAt": time_text(record.recorded_at),
            "requestId": record.request_id,
            "requester": record.requester,
            "type": "audit",
        }
    )


def add(connection: Connection, record: AuditRecord) -> AuditRecord:
    """Store a record, in the transaction of the change itself; give it with its place in the chain.

    Until the transaction ends no other record is added: leave it to the end.
    """
    end = select(chains.c.position, chains.c.head).where(chains.c.number == AUDIT_CHAIN)
    position, head = connection.execute(end.with_for_update()).one()
    linked = replace(record, position=position + 1, previous_sha256=head)
    connection.execute(insert(audit_records).values({name: getattr(linked, name) for name in _FIELDS}))
    moved = update(chains).where(chains.c.number == AUDIT_CHAIN)
    connection.execute(moved.values(position=linked.position, head=digest(line_of(linked))))
    return linked


def of_chain(connection: Connection, after: int, limit: int) -> list[AuditRecord]:
    """The records of the chain in its order, from the one after that position."""
    query = select(audit_records).where(audit_records.c.position > after)
    rows = connection.execute(query.order_by(audit_records.c.position).limit(limit))
    return [AuditRecord(**{name: getattr(row, name) for name in _FIELDS}) for row in rows]


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
