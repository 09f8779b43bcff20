"""The hot path's statements for SQLite: sqlite3 itself, inside the transaction that SQLAlchemy began."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import orjson

from trivet.store.certificates import StoredCertificate
from trivet.store.engine import driver_connection
from trivet.store.idempotency import Claim
from trivet.store.issuing import ground_of, id_of, time_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable, Sequence

    from sqlalchemy import Connection

    from trivet.store.decisions import Decision
    from trivet.store.issuing import Ground, OfSerial, Results, Wanted

# The values of a set travel as one JSON parameter, so that each statement is compiled once (sqlite3 caches it).
_VERSIONS: Final = (
    "SELECT scope, version FROM revocation_sets WHERE scope IN (SELECT value FROM json_each(?))"
)
_GENERATIONS: Final = """
    SELECT a.cluster_id, a.name, g.id FROM authorities AS a JOIN generations AS g ON g.authority_id = a.id
    WHERE g.state = 'active' AND a.cluster_id IN (SELECT value FROM json_each(?))
"""
_SERVICE_GENERATION: Final = """
    SELECT a.cluster_id, a.name, g.id FROM authorities AS a JOIN generations AS g ON g.authority_id = a.id
    WHERE g.state = 'active' AND a.cluster_id IS NULL
"""
_VOUCHERS: Final = """
    SELECT id, superseded_at, revoked_at, revoked_by FROM certificates
    WHERE id IN (SELECT value FROM json_each(?))
"""
_TOKENS: Final = "SELECT id FROM tokens WHERE id IN (SELECT value FROM json_each(?))"
# CROSS JOIN keeps SQLite from turning the order round, which would read all entries.
_ENTRIES: Final = """
    SELECT DISTINCT k.entry_id FROM json_each(?) AS wanted CROSS JOIN revocation_entry_keys AS k
    WHERE k.kind = wanted.value ->> 0 AND k.value = wanted.value ->> 1
"""
# CROSS JOIN again: one search of each table for each serial.
_OF_SERIALS: Final = """
    SELECT s.serial, c.id, c.cluster_id, c.authority, c.generation_id, c.serial, c.profile, c.node, c.common_name,
        c.spki_sha256, c.issued_at, c.not_before, c.not_after, c.der, c.parent_id, c.decision_id, c.requester,
        c.superseded_at, c.revoked_at, c.revoked_by, c.seal
    FROM json_each(?) AS wanted CROSS JOIN serials AS s LEFT JOIN certificates AS c ON c.id = s.certificate_id
    WHERE s.serial = wanted.value
"""
_CLAIM: Final = """
    INSERT INTO idempotency_keys (requester, key, fingerprint, reference, created_at) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT DO NOTHING
"""
_CLAIMED: Final = "SELECT fingerprint, reference FROM idempotency_keys WHERE requester = ? AND key = ?"
_DECISION: Final = """
    INSERT INTO decisions (id, decided_at, cluster_id, requester, action, profile, request_sha256, verdict, reason,
        detail, cluster_version, global_version, considered, identity, serial, parent_serial, request_id,
        certificate_sha256, chain, position, previous_sha256)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_SERIAL: Final = "INSERT INTO serials (serial, generation_id, certificate_id, parent_id) VALUES (?, ?, ?, ?)"
_CERTIFICATE: Final = """
    INSERT INTO certificates (id, cluster_id, authority, generation_id, serial, profile, node, common_name,
        spki_sha256, issued_at, not_before, not_after, der, parent_id, decision_id, requester, seal)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_NAME: Final = "INSERT INTO certificate_names (cluster_id, kind, key, certificate_id) VALUES (?, ?, ?, ?)"
_SUPERSEDE: Final = "UPDATE certificates SET superseded_at = ? WHERE id = ? AND superseded_at IS NULL"
_NO_CLUSTER: Final = UUID(int=0).hex


class SqliteStatements:
    """As `store.issuing.Statements`. BEGIN IMMEDIATE holds the database, so there is no other lock to take."""

    def read(self, connection: Connection, wanted: Wanted) -> Ground:
        """Read what the batch is decided on."""
        with driver_connection(connection) as driver:
            versions = _rows(driver, _VERSIONS, _ids(wanted.scopes))
            found = _rows(driver, _GENERATIONS, _ids(cluster for cluster, _ in wanted.authorities if cluster))
            if any(cluster is None for cluster, _ in wanted.authorities):
                found += driver.execute(_SERVICE_GENERATION).fetchall()
            vouchers = _rows(driver, _VOUCHERS, _ids(wanted.vouchers)) if wanted.vouchers else []
            tokens = _rows(driver, _TOKENS, _ids(wanted.tokens)) if wanted.tokens else []
            entries = _rows(driver, _ENTRIES, _json(list(wanted.keys))) if wanted.keys else []
        return ground_of(
            versions, found, vouchers, (token for (token,) in tokens), (entry for (entry,) in entries)
        )

    def of_serials(self, connection: Connection, serials: Collection[str]) -> list[OfSerial]:
        """The certificates with those serials."""
        with driver_connection(connection) as driver:
            rows = _rows(driver, _OF_SERIALS, _json(list(serials)))
        return [(serial, _stored(*row) if row[0] else None) for serial, *row in rows]

    def claim(self, connection: Connection, claims: Sequence[Claim], now: datetime) -> list[Claim]:
        """Take Idempotency-Keys, or give the claims that hold them."""
        held = []
        with driver_connection(connection) as driver:
            for one in claims:
                row = (one.requester, one.key, one.fingerprint, one.reference, _text(now))
                if driver.execute(_CLAIM, row).rowcount == 1:
                    held.append(one)
                    continue
                fingerprint, reference = driver.execute(_CLAIMED, (one.requester, one.key)).fetchone()
                held.append(Claim(one.requester, one.key, fingerprint, reference))
        return held

    def write(self, connection: Connection, results: Results, now: datetime) -> None:
        """Store what the batch leaves."""
        issued = [certificate for certificate, _ in results.certificates]
        with driver_connection(connection) as driver:
            driver.executemany(_DECISION, map(_decision, results.decisions))
            driver.executemany(
                _SERIAL,
                [(one.serial, one.generation_id.hex, one.id.hex, _hex(one.parent_id)) for one in issued],
            )
            driver.executemany(_CERTIFICATE, map(_certificate, issued))
            driver.executemany(
                _NAME,
                [
                    (_hex(one.cluster_id) or _NO_CLUSTER, kind, key, one.id.hex)
                    for one, keys in results.certificates
                    for kind, key in keys
                ],
            )
            if results.superseded:
                driver.executemany(_SUPERSEDE, [(_text(now), parent.hex) for parent in results.superseded])


STATEMENTS: Final = SqliteStatements()


def _rows(driver: sqlite3.Connection, statement: str, parameter: str) -> list[Any]:
    return driver.execute(statement, (parameter,)).fetchall()


# What follows writes and reads values as the types of SQLAlchemy's SQLite dialect do (store/types.py).


def _ids(ids: Iterable[UUID]) -> str:
    return _json([one.hex for one in ids])


def _json(value: object) -> str:
    return orjson.dumps(value).decode()


def _hex(one: UUID | None) -> str | None:
    return one.hex if one else None


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _stored(
    own: str,
    cluster: str | None,
    authority: str,
    generation: str,
    *plain: Any,  # noqa: ANN401  columns in their order
) -> StoredCertificate:
    serial, profile, node, common_name, key, issued_at, not_before, not_after, der, *rest = plain
    parent, decision, requester, superseded_at, revoked_at, revoked_by, seal = rest
    return StoredCertificate(
        UUID(own), id_of(cluster), authority, UUID(generation), serial, profile, node, common_name, key,
        _moment(issued_at), _moment(not_before), _moment(not_after), der, id_of(parent), UUID(decision), requester,
        time_of(superseded_at), time_of(revoked_at), id_of(revoked_by), seal,
    )  # fmt: skip


def _certificate(one: StoredCertificate) -> tuple[object, ...]:
    return (
        one.id.hex, _hex(one.cluster_id), one.authority, one.generation_id.hex, one.serial, one.profile, one.node,
        one.common_name, one.spki_sha256, _text(one.issued_at), _text(one.not_before), _text(one.not_after),
        one.der, _hex(one.parent_id), one.decision_id.hex, one.requester, one.seal,
    )  # fmt: skip


def _decision(one: Decision) -> tuple[object, ...]:
    return (
        one.id.hex, _text(one.decided_at), _hex(one.cluster_id), one.requester, one.action, one.profile,
        one.request_sha256, one.verdict, one.reason, one.detail, one.cluster_version, one.global_version,
        _json(one.considered), _json(one.identity), one.serial, one.parent_serial, one.request_id,
        one.certificate_sha256, one.chain, one.position, one.previous_sha256,
    )  # fmt: skip
