"""Decision records: why each certificate was issued, and why each request was refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import insert, select

from trivet.store.certificates import serial_ids
from trivet.store.tables import decisions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision.

    Attributes:
        action: "issue" or "renew".
        request_sha256: of the request as it was received.
        verdict: "issued" or "refused".
        reason: the slug of the refusal.
        detail: the refusal in words.
        cluster_version: version of the cluster's revocation set that was read; None where none was consulted.
        global_version: the same of the set that holds in all clusters.
        considered: the entries that shared a key with the request: `{"entry", "kind", "value", "matched"}` each.
        identity: the names, key hash and serials that the entries were compared with.
        certificate_sha256: of the certificate that was issued.
        chain: that the record belongs to; None where it was made before there were chains.
        position: in the chain, from 1.
        previous_sha256: of the line of the record before it (`store.chains.line_of`).
    """

    id: UUID
    decided_at: datetime
    cluster_id: UUID | None
    requester: str
    action: str
    profile: str
    request_sha256: str
    verdict: str
    reason: str | None = None
    detail: str | None = None
    cluster_version: int | None = None
    global_version: int | None = None
    considered: list[dict[str, Any]] = field(default_factory=list)
    identity: dict[str, Any] | None = None
    serial: str | None = None
    parent_serial: str | None = None
    request_id: str | None = None
    certificate_sha256: str | None = None
    chain: int | None = None
    position: int | None = None
    previous_sha256: str | None = None


_RANDOM_BITS = 80  # of a UUIDv7, after the milliseconds (RFC 9562 section 5.7)
_FIELDS = tuple(Decision.__dataclass_fields__)


def add_all(connection: Connection, records: Sequence[Decision]) -> None:
    """Store decision records in one insert."""
    if records:
        connection.execute(
            insert(decisions), [{name: getattr(record, name) for name in _FIELDS} for record in records]
        )


def get(connection: Connection, decision_id: UUID) -> Decision | None:
    """The decision of that id."""
    row = connection.execute(select(decisions).where(decisions.c.id == decision_id)).first()
    return Decision(**{name: getattr(row, name) for name in _FIELDS}) if row else None


def of_chain(connection: Connection, chain: int, after: int, limit: int) -> list[Decision]:
    """The records of a chain in its order, from the one after that position."""
    query = select(decisions).where(decisions.c.chain == chain, decisions.c.position > after)
    rows = connection.execute(query.order_by(decisions.c.position).limit(limit))
    return [Decision(**{name: getattr(row, name) for name in _FIELDS}) for row in rows]


def of_serial(connection: Connection, cluster_id: UUID, serial: str) -> Decision | None:
    """The decision behind a certificate of a cluster, though the certificate itself was pruned.

    Found through `serials`: a certificate and its decision get their ids in the same millisecond, which the ids
    begin with.
    """
    for certificate_id in connection.scalars(serial_ids([serial])):
        begin = certificate_id.int >> _RANDOM_BITS
        query = select(decisions).where(
            decisions.c.id >= UUID(int=begin << _RANDOM_BITS),
            decisions.c.id < UUID(int=(begin + 1) << _RANDOM_BITS),
            decisions.c.serial == serial,
            decisions.c.cluster_id == cluster_id,
        )
        if row := connection.execute(query).first():
            return Decision(**{name: getattr(row, name) for name in _FIELDS})
    return None
