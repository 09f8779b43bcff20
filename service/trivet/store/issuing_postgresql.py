"""The hot path's statements for PostgreSQL: psycopg itself, inside the transaction that SQLAlchemy began.

One round trip reads and one writes. What is asked, and what is found, travel as one JSON document, and so do the rows
of each table, which costs the client a fifth of binding their values (docs/performance.md); PostgreSQL reads them by
the table's own column names and types.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import orjson
import psycopg

from trivet.store.certificates import StoredCertificate
from trivet.store.engine import driver_connection, lock_key
from trivet.store.idempotency import Claim
from trivet.store.issuing import ground_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime

    from sqlalchemy import Connection

    from trivet.store.decisions import Decision
    from trivet.store.issuing import Ground, OfSerial, Results, Wanted

# A statement of its own: what follows it takes its snapshot after the locks were granted (READ COMMITTED).
_LOCK: Final = "SELECT pg_advisory_xact_lock_shared(key) FROM unnest(%s::bigint[]) AS key"
# All else in one statement and one document: each statement more costs client and server 50 µs (docs/performance.md).
# OFFSET 0 keeps PostgreSQL from a hash join, which would read all entries, or all certificates.
_GROUND: Final = """
    WITH wanted AS MATERIALIZED (
        SELECT * FROM json_to_record(%s::json) AS wanted (
            scopes uuid[], clusters uuid[], of_service boolean, vouchers uuid[], tokens uuid[], keys json
        )
    )
    SELECT json_build_object(
        'versions', (
            SELECT json_agg(json_build_array(scope, version)) FROM revocation_sets WHERE scope = ANY(wanted.scopes)
        ),
        'generations', (
            SELECT json_agg(json_build_array(a.cluster_id, a.name, g.id))
            FROM authorities AS a JOIN generations AS g ON g.authority_id = a.id
            WHERE g.state = 'active'
                AND (a.cluster_id = ANY(wanted.clusters) OR (wanted.of_service AND a.cluster_id IS NULL))
        ),
        'vouchers', (
            SELECT json_agg(json_build_array(c.id, c.superseded_at, c.revoked_at, c.revoked_by))
            FROM unnest(wanted.vouchers) AS voucher (id) CROSS JOIN LATERAL (
                SELECT * FROM certificates WHERE certificates.id = voucher.id OFFSET 0
            ) AS c
        ),
        'tokens', (SELECT json_agg(id) FROM tokens WHERE id = ANY(wanted.tokens)),
        'entries', (
            SELECT json_agg(DISTINCT found.entry_id)
            FROM json_array_elements(wanted.keys) AS key CROSS JOIN LATERAL (
                SELECT k.entry_id FROM revocation_entry_keys AS k
                WHERE k.kind = key ->> 0 AND k.value = key ->> 1 OFFSET 0
            ) AS found
        )
    )::text FROM wanted
"""
_PARTS: Final = ("versions", "generations", "vouchers", "tokens", "entries")
# OFFSET 0 again: one search of each table for each serial, however many there are.
_OF_SERIALS: Final = """
    SELECT s.serial, c.id, c.cluster_id, c.authority, c.generation_id, c.serial, c.profile, c.node, c.common_name,
        c.spki_sha256, c.issued_at, c.not_before, c.not_after, c.der, c.parent_id, c.decision_id, c.requester,
        c.superseded_at, c.revoked_at, c.revoked_by, c.seal
    FROM unnest(%s::text[]) AS wanted (serial)
    CROSS JOIN LATERAL (SELECT * FROM serials WHERE serials.serial = wanted.serial OFFSET 0) AS s
    LEFT JOIN LATERAL (
        SELECT * FROM certificates WHERE certificates.id = s.certificate_id OFFSET 0
    ) AS c ON true
"""
_CLAIM: Final = """
    INSERT INTO idempotency_keys (requester, key, fingerprint, reference, created_at)
    VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
_CLAIMED: Final = "SELECT fingerprint, reference FROM idempotency_keys WHERE requester = %s AND key = %s"
_SUPERSEDE: Final = "UPDATE certificates SET superseded_at = %s WHERE id = ANY(%s) AND superseded_at IS NULL"


def _insert(table: str) -> str:
    return f"INSERT INTO {table} SELECT * FROM json_populate_recordset(NULL::{table}, %s::json)"  # noqa: S608  fixed names


_STORE: Final = (
    f"WITH decided AS ({_insert('decisions')}), numbered AS ({_insert('serials')}),"
    f" named AS ({_insert('certificate_names')}) {_insert('certificates')}"
)
_NO_CLUSTER: Final = UUID(int=0)


class PostgresqlStatements:
    """As `store.issuing.Statements`."""

    def read(self, connection: Connection, wanted: Wanted) -> Ground:
        """Take the locks in one order for all, so that no two transactions wait for each other; then read."""
        locks = [lock_key(scope) for scope in sorted(wanted.scopes)]
        with driver_connection(connection) as driver:
            with _pipeline(driver):
                driver.execute(_LOCK, (locks,))
                cursor = driver.execute(_GROUND, (_asked(wanted),))
            (found,) = cursor.fetchone()
        rows = orjson.loads(found)
        return ground_of(*(rows[part] or () for part in _PARTS))

    def of_serials(self, connection: Connection, serials: Collection[str]) -> list[OfSerial]:
        """The certificates with those serials."""
        with driver_connection(connection) as driver:
            rows = driver.execute(_OF_SERIALS, (list(serials),)).fetchall()
        return [(serial, StoredCertificate(*row) if row[0] else None) for serial, *row in rows]

    def claim(self, connection: Connection, claims: Sequence[Claim], now: datetime) -> list[Claim]:
        """Take Idempotency-Keys in one order for all, or give the claims that hold them."""
        held: dict[tuple[str, str], Claim] = {}
        with driver_connection(connection) as driver:
            first = {(one.requester, one.key): one for one in reversed(claims)}
            ordered = [first[key] for key in sorted(first)]
            with _pipeline(driver):
                taken = [driver.execute(_CLAIM, _claim_row(one, now)) for one in ordered]
            for one, cursor in zip(ordered, taken, strict=True):
                held[one.requester, one.key] = (
                    one if cursor.rowcount == 1 else _holder(driver, one, _claim_row(one, now))
                )
        return [held[one.requester, one.key] for one in claims]

    def write(self, connection: Connection, results: Results, now: datetime) -> None:
        """Store what the batch leaves."""
        issued = [certificate for certificate, _ in results.certificates]
        names = [
            {"cluster_id": one.cluster_id or _NO_CLUSTER, "kind": kind, "key": key, "certificate_id": one.id}
            for one, keys in results.certificates
            for kind, key in keys
        ]
        rows = map(_decision, results.decisions), map(_serial, issued), names, map(_certificate, issued)
        with driver_connection(connection) as driver, _pipeline(driver):
            driver.execute(_STORE, [_json(of_table) for of_table in rows])
            if results.superseded:
                driver.execute(_SUPERSEDE, (now, list(results.superseded)))


STATEMENTS: Final = PostgresqlStatements()


def _pipeline(driver: Any) -> AbstractContextManager[Any]:  # noqa: ANN401  SQLAlchemy's own connections are Any
    return driver.pipeline() if psycopg.Pipeline.is_supported() else nullcontext()


def _asked(wanted: Wanted) -> str:
    asked = {
        "scopes": list(wanted.scopes),
        "clusters": [cluster for cluster, _ in wanted.authorities if cluster],
        "of_service": any(cluster is None for cluster, _ in wanted.authorities),
        "vouchers": list(wanted.vouchers),
        "tokens": list(wanted.tokens),
        "keys": sorted(wanted.keys),
    }
    return orjson.dumps(asked).decode()


def _claim_row(one: Claim, now: datetime) -> tuple[object, ...]:
    return (one.requester, one.key, one.fingerprint, one.reference, now)


def _holder(driver: Any, wanted: Claim, row_of_claim: tuple[object, ...]) -> Claim:  # noqa: ANN401
    row = driver.execute(_CLAIMED, (wanted.requester, wanted.key)).fetchone()
    if row is not None:
        return Claim(wanted.requester, wanted.key, *row)
    # Forgotten between the two statements, so it is free again.
    taken = driver.execute(_CLAIM, row_of_claim).rowcount == 1
    return wanted if taken else _holder(driver, wanted, row_of_claim)


def _json(rows: Iterable[dict[str, Any]]) -> str:
    return orjson.dumps(list(rows)).decode()


def _serial(one: StoredCertificate) -> dict[str, Any]:
    return {
        "serial": one.serial,
        "generation_id": one.generation_id,
        "certificate_id": one.id,
        "parent_id": one.parent_id,
    }


def _certificate(one: StoredCertificate) -> dict[str, Any]:
    return {name: getattr(one, name) for name in one.__slots__} | {"der": f"\\x{one.der.hex()}"}


def _decision(one: Decision) -> dict[str, Any]:
    return {name: getattr(one, name) for name in one.__slots__}
