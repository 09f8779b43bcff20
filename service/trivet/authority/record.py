"""The audit trail: each change leaves its record in its own transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trivet.authority.access import Permission, authorize
from trivet.store import audit
from trivet.store.audit import AuditRecord

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy import Connection

    from trivet.authority.access import Requester
    from trivet.authority.context import Authority


def change(
    authority: Authority,
    connection: Connection,
    requester: Requester,
    action: str,
    name: str,
    cluster_id: UUID | None,
    details: dict[str, Any],
) -> None:
    """Leave a record of a change; `action` like "revocation.create", `name` of what was changed."""
    now = authority.clock()
    audit.add(
        connection,
        AuditRecord(
            authority.new_id(now),
            now,
            requester.name,
            action,
            name,
            cluster_id,
            details,
            requester.request_id,
        ),
    )


def list_changes(
    authority: Authority, requester: Requester, before: UUID | None, limit: int
) -> list[AuditRecord]:
    """The audit trail, newest first; that of one cluster for its own auditors."""
    with authority.database.read() as connection:
        authorize(requester, Permission.READ_AUDIT, requester.cluster_id, authority.clock())
        return audit.page(connection, requester.cluster_id, before, limit)
