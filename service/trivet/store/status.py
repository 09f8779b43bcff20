"""How certificates stand now: what an OCSP request is answered by, in the words of each database's driver.

A batch of requests asks once for the versions of the revocation sets, and once for the certificates that it has no
answer to at that version. All that marks a certificate as revoked takes a new version of the set of its cluster or of
all clusters in the same transaction, so an answer that was right at a version is right while the version stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import orjson

from trivet.pki.revocation import EntryKind
from trivet.store.engine import driver_connection

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sqlalchemy import Connection

CertificateKey = tuple[str, UUID]
"""A serial number (lower-case hex) and the generation that issued it."""

_VERSIONS: Final = {
    "sqlite": "SELECT scope, version FROM revocation_sets WHERE scope IN (SELECT value FROM json_each(?))",
    "postgresql": "SELECT scope, version FROM revocation_sets WHERE scope = ANY(%s)",
}
# CROSS JOIN keeps SQLite from turning the order round, and OFFSET 0 keeps PostgreSQL from a hash join; either would
# read all certificates. A serial whose certificate was pruned is found as well, with nothing of the certificate.
_STANDING: Final = {
    "sqlite": """
        SELECT s.serial, s.generation_id, c.id, c.revoked_at,
            (SELECT kind FROM revocation_entries WHERE id = c.revoked_by)
        FROM json_each(?) AS wanted CROSS JOIN serials AS s LEFT JOIN certificates AS c ON c.id = s.certificate_id
        WHERE s.serial = wanted.value ->> 0 AND s.generation_id = wanted.value ->> 1
    """,
    "postgresql": """
        SELECT s.serial, s.generation_id, c.id, c.revoked_at,
            (SELECT kind FROM revocation_entries WHERE id = c.revoked_by)
        FROM unnest(%s::text[], %s::uuid[]) AS wanted (serial, generation_id) CROSS JOIN LATERAL (
            SELECT * FROM serials
            WHERE serials.serial = wanted.serial AND serials.generation_id = wanted.generation_id OFFSET 0
        ) AS s LEFT JOIN LATERAL (
            SELECT id, revoked_at, revoked_by FROM certificates WHERE certificates.id = s.certificate_id OFFSET 0
        ) AS c ON true
    """,
}


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
    with driver_connection(connection) as driver:
        if connection.dialect.name == "sqlite":
            parameter = orjson.dumps([scope.hex for scope in scopes]).decode()
            rows = driver.execute(_VERSIONS["sqlite"], (parameter,)).fetchall()
            return {UUID(scope): version for scope, version in rows}
        return dict(driver.execute(_VERSIONS["postgresql"], (list(scopes),)).fetchall())


def standing(connection: Connection, wanted: Collection[CertificateKey]) -> Mapping[CertificateKey, Standing]:
    """How certificates stand; those that were never issued are left out."""
    with driver_connection(connection) as driver:
        if connection.dialect.name == "sqlite":
            pairs = [(serial, generation.hex) for serial, generation in wanted]
            rows = driver.execute(_STANDING["sqlite"], (orjson.dumps(pairs).decode(),)).fetchall()
            return {(row[0], UUID(row[1])): _from_sqlite(row) for row in rows}
        arrays = ([serial for serial, _ in wanted], [generation for _, generation in wanted])
        rows = driver.execute(_STANDING["postgresql"], arrays).fetchall()
        return {(row[0], row[1]): Standing(row[2] is not None, row[3], _named_by(row)) for row in rows}


def _from_sqlite(row: tuple[Any, ...]) -> Standing:
    revoked_at = datetime.fromisoformat(row[3]).replace(tzinfo=UTC) if row[3] else None
    return Standing(row[2] is not None, revoked_at, _named_by(row))


def _named_by(row: tuple[Any, ...]) -> EntryKind | None:
    return EntryKind(row[4]) if row[4] else None
