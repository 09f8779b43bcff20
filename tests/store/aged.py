"""Certificates issued at any time, with the ids that they would have got then."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import count
from uuid import UUID

from sqlalchemy import Connection

from trivet.pki.search import NameKind
from trivet.store import certificates, decisions
from trivet.store.authorities import Generation
from trivet.store.certificates import StoredCertificate
from trivet.store.clusters import Cluster
from trivet.store.decisions import Decision

_numbers = count(1)
FOUR_DAYS = timedelta(days=4)


def id_at(moment: datetime) -> UUID:
    """Make a UUIDv7 of that time."""
    return UUID(int=(int(moment.timestamp() * 1000) << 80) | (7 << 76) | (2 << 62) | next(_numbers))


def add_certificate(
    connection: Connection,
    generation: Generation,
    cluster: Cluster | None,
    issued_at: datetime,
    *,
    common_name: str = "jane",
    lifetime: timedelta = FOUR_DAYS,
    parent: StoredCertificate | None = None,
) -> StoredCertificate:
    """Store a certificate with its decision, as issuing it then would have done."""
    serial = format(next(_numbers), "x")
    owner = cluster.id if cluster else None
    decision = Decision(
        id_at(issued_at), issued_at, owner, "token:1", "issue", "admin", "ab" * 32, "issued", serial=serial
    )
    stored = StoredCertificate(
        id=id_at(issued_at),
        cluster_id=owner,
        authority=generation.name.value,
        generation_id=generation.id,
        serial=serial,
        profile="admin",
        node=None,
        common_name=common_name,
        spki_sha256="0c" * 32,
        issued_at=issued_at,
        not_before=issued_at.replace(microsecond=0),
        not_after=issued_at.replace(microsecond=0) + lifetime,
        der=serial.encode(),
        parent_id=parent.id if parent else None,
        decision_id=decision.id,
        requester="token:1",
    )
    decisions.add_all(connection, [decision])
    certificates.add_all(connection, [(stored, [(NameKind.COMMON_NAME, common_name)])])
    return stored
