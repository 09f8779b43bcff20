"""Certificate requests that wait for approval, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update

from trivet.store.tables import certificate_requests

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection


@dataclass(frozen=True, slots=True)
class StoredRequest:
    """A request: `pending`, `approved`, `issued`, `denied` or `failed`."""

    id: UUID
    cluster_id: UUID
    profile: str
    node: str | None
    requester: str
    der: bytes = field(repr=False)
    expiration_seconds: int | None
    state: str
    created_at: datetime
    reason: str | None = None
    decided_at: datetime | None = None
    decided_by: str | None = None
    certificate_id: UUID | None = None


_FIELDS = tuple(StoredRequest.__dataclass_fields__)


def add(connection: Connection, request: StoredRequest) -> None:
    """Store a request."""
    connection.execute(
        insert(certificate_requests).values({name: getattr(request, name) for name in _FIELDS})
    )


def find(connection: Connection, request_id: UUID) -> StoredRequest | None:
    """The request of that id."""
    query = select(certificate_requests).where(certificate_requests.c.id == request_id)
    row = connection.execute(query).first()
    return StoredRequest(**{name: getattr(row, name) for name in _FIELDS}) if row else None


def move(connection: Connection, request_id: UUID, expected: str, **changes: Any) -> bool:  # noqa: ANN401
    """Change a request if it is still in the expected state; say whether it was."""
    query = (
        update(certificate_requests)
        .where(certificate_requests.c.id == request_id, certificate_requests.c.state == expected)
        .values(**changes)
    )
    return connection.execute(query).rowcount == 1
