"""Very many revoked certificates of one authority, made inside the database: what OCSP looks up, and nothing more."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING

from sqlalchemy import text

from trivet.store import authorities, clusters
from trivet.store.engine import driver_connection
from trivet.store.partitions import ensure_months

if TYPE_CHECKING:
    from trivet.store.authorities import Generation
    from trivet.store.engine import Database

_FIRST = 0x1000000000  # no serial that Trivet makes is as short
# All of one month; the ids are UUIDv7, and random in their last half as Trivet's are.
_SQLITE = """
    WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :rows)
    SELECT printf('%x', :first + i) AS serial, printf('%012x7%03x8%015x', :at, i % 4096, i) AS id FROM n
"""
_POSTGRESQL = """
    SELECT to_hex(CAST(:first AS bigint) + i) AS serial, CAST(
        lpad(to_hex(CAST(:at AS bigint)), 12, '0') || '7' || lpad(to_hex(i % 4096), 3, '0')
        || '8' || lpad(to_hex(i), 15, '0') AS uuid) AS id
    FROM generate_series(0, CAST(:rows AS bigint) - 1) AS i
"""


def generation_of(database: Database, cluster: str, authority: str) -> Generation:
    """The generation of an authority."""
    with database.read() as connection:
        found = authorities.all_generations(connection, clusters.get(connection, cluster).id)
    return next(one for one in found if one.name == authority)


def serials(rows: int, count: int) -> list[int]:
    """Serial numbers of some of the rows."""
    return [_FIRST + number for number in Random(5).sample(range(rows), min(rows, count))]  # noqa: S311


def add_revoked(database: Database, cluster: str, authority: str, rows: int) -> None:
    """Add so many revoked certificates, all in one transaction."""
    if not rows:
        return
    now = datetime.now(UTC)
    ensure_months(database, now)
    generation = generation_of(database, cluster, authority)
    with database.write() as connection:
        owner = clusters.get(connection, cluster).id
        bound: dict[str, object] = {
            "rows": rows,
            "first": _FIRST,
            "at": int(now.timestamp() * 1000),
            "generation": generation.id.hex if database.is_sqlite else generation.id,
            "cluster": owner.hex if database.is_sqlite else owner,
            "authority": authority,
            "now": _moment(database, now),
            "end": _moment(database, now + timedelta(days=4)),
            "der": bytes(64),
        }
        made = _SQLITE if database.is_sqlite else _POSTGRESQL
        if not database.is_sqlite:
            connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text(f"CREATE TEMPORARY TABLE made AS {made}"), bound)
        connection.execute(text(_SERIALS), bound)
        connection.execute(text(_CERTIFICATES), bound)
        connection.execute(text("DROP TABLE made"))
    _settle(database)


_SERIALS = """
    INSERT INTO serials (serial, generation_id, certificate_id) SELECT serial, :generation, id FROM made
"""
_CERTIFICATES = """
    INSERT INTO certificates (id, cluster_id, authority, generation_id, serial, profile, common_name, spki_sha256,
        issued_at, not_before, not_after, der, decision_id, requester, revoked_at)
    SELECT id, :cluster, :authority, :generation, serial, 'etcd-peer', 'node', serial,
        :now, :now, :end, :der, id, 'bench', :now FROM made
"""


def _moment(database: Database, moment: datetime) -> object:
    return moment.replace(tzinfo=None).isoformat(" ", "microseconds") if database.is_sqlite else moment


def _settle(database: Database) -> None:
    """What a database does by itself in time: learn how large its tables are, and put everything in its place."""
    settling = _SETTLING_SQLITE if database.is_sqlite else _SETTLING_POSTGRESQL
    with database.glance() as connection, driver_connection(connection) as driver:  # in no transaction
        for statement in settling:
            driver.execute(statement)
    os.sync()


_SETTLING_SQLITE = ("ANALYZE", "PRAGMA wal_checkpoint(TRUNCATE)")
# Autovacuum would come within a minute, and take one of the cores.
_SETTLING_POSTGRESQL = (
    "SET statement_timeout = 0", "VACUUM (ANALYZE)", "CHECKPOINT", "RESET statement_timeout"
)  # fmt: skip
