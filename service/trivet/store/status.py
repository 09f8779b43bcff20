"""How certificates stand now: what an OCSP request is answered by, in the words of each database's driver.

A batch of requests asks once for the versions of the revocation sets, and once for the certificates that it has no
answer to at that version. All that marks a certificate as revoked takes a new version of the set of its cluster or of
all clusters in the same transaction, so an answer that was right at a version is right while the version stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import UUID

import orjson

from trivet.pki.revocation import EntryKind
from trivet.store.engine import driver_connection
from trivet.store.issuing import time_of
from trivet.store.prepared import Prepared

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from sqlalchemy import Connection

CertificateKey = tuple[str, UUID]
"""A serial number (lower-case hex) and the generation that issued it."""

_VERSIONS_SQLITE: Final = (
    "SELECT scope, version FROM revocation_sets WHERE scope IN (SELECT value FROM json_each(?))"
)
_VERSIONS_POSTGRESQL: Final = Prepared(
    "trivet_versions", "SELECT scope, version FROM revocation_sets WHERE scope = ANY($1)"
)
# CROSS JOIN keeps SQLite from turning the order round, and OFFSET 0 keeps PostgreSQL from a hash join; either would
# read all certificates. A serial whose certificate was pruned is found as well, with nothing of the certificate.
_STANDING_SQLITE: Final = """
    SELECT s.serial, s.generation_id, c.id, c.revoked_at,
        (SELECT kind FROM revocation_entries WHERE id = c.revoked_by)
    FROM json_each(?) AS wanted CROSS JOIN serials AS s LEFT JOIN certificates AS c ON c.id = s.certificate_id
    WHERE s.serial = wanted.value ->> 0 AND s.generation_id = wanted.value ->> 1
"""
_STANDING_POSTGRESQL: Final = Prepared(
    "trivet_standing",
    """
    SELECT s.serial, s.generation_id, c.id, to_char(c.revoked_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'),
        (SELECT kind FROM revocation_entries WHERE id = c.revoked_by)
    FROM unnest($1::text[], $2::uuid[]) AS wanted (serial, generation_id) CROSS JOIN LATERAL (
        SELECT * FROM serials
        WHERE serials.serial = wanted.serial AND serials.generation_id = wanted.generation_id OFFSET 0
    ) AS s LEFT JOIN LATERAL (
        SELECT id, revoked_at, revoked_by FROM certificates WHERE certificates.id = s.certificate_id OFFSET 0
    ) AS c ON true
    """,
)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a certificate that was issued stands.

    Attributes:
        is_kept: False where it was pruned, so that nothing more is known of it.
        revoked_at: since when it is revoked.
        named_by: the kind of the entry that named it.
    """

    is_kept: bool
    revoked_at: datetime | None
    named_by: EntryKind | None


def versions(connection: Connection, scopes: Collection[UUID]) -> Mapping[UUID, int]:
    """The versions of the revocation sets of some scopes. To be read before what is kept under them."""
    if connection.dialect.name == "sqlite":
        with driver_connection(connection) as driver:
            rows = driver.execute(_VERSIONS_SQLITE, (_json([scope.hex for scope in scopes]),)).fetchall()
    else:
        rows = _VERSIONS_POSTGRESQL.rows(connection, map(str, scopes))
    return {UUID(scope): int(version) for scope, version in rows}


def standing(connection: Connection, wanted: Collection[CertificateKey]) -> Mapping[CertificateKey, Standing]:
    """How certificates stand; those that were never issued are left out."""
    if connection.dialect.name == "sqlite":
        pairs = [(serial, generation.hex) for serial, generation in wanted]
        with driver_connection(connection) as driver:
            rows = driver.execute(_STANDING_SQLITE, (_json(pairs),)).fetchall()
    else:
        serials, generations = (serial for serial, _ in wanted), (str(generation) for _, generation in wanted)
        rows = _STANDING_POSTGRESQL.rows(connection, serials, generations)
    return {(serial, UUID(generation)): _standing(*rest) for serial, generation, *rest in rows}


def _standing(certificate: object, revoked_at: str | None, kind: str | None) -> Standing:
    return Standing(certificate is not None, time_of(revoked_at), EntryKind(kind) if kind else None)


def _json(values: object) -> str:
    return orjson.dumps(values).decode()
