"""The fleet's database: a million live certificates and five million past ones, made inside PostgreSQL.

Rows are made by the server itself (generate_series), in two connections at once, while indexes are put aside and
built again afterwards, as every bulk load does. What comes out is what Trivet would have stored, but for one thing:
all certificates share the bytes of a real one.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from bench.limit import CORES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from uuid import UUID

    import psycopg

_AT_ONCE = 100_000
_TABLES = ("serials", "certificates", "certificate_names", "decisions")
RACKS = 20
PAST = timedelta(days=150)


@dataclass(frozen=True)
class FleetCluster:
    """A cluster, and the generation that signs in it."""

    number: int
    name: str
    id: UUID
    generation: UUID


@dataclass(frozen=True)
class Span:
    """Certificates made one after the other, from one time to another.

    Attributes:
        salt: keeps the serials of two spans apart.
        count: how many.
        nodes: of how many nodes; each has `count / nodes` of them.
    """

    salt: str
    begin: datetime
    end: datetime
    count: int
    nodes: int
    are_past: bool


def spans(live: int, past: int, now: datetime) -> tuple[Span, Span]:
    """The past certificates of the fleet's nodes, and the live ones."""
    return (
        Span("past", now - PAST, now - timedelta(days=5), past, live, are_past=True),
        Span("live", now - timedelta(days=3.5), now - timedelta(minutes=10), live, live, are_past=False),
    )


def cluster_name(number: int) -> str:
    """The name of one of the fleet's clusters."""
    return f"fleet-{number:04}"


def fill(
    connect: Callable[[], psycopg.Connection], clusters: list[FleetCluster], der: bytes, live: int, past: int
) -> None:
    """Fill an empty database; the partitions of all months must be there."""
    now = datetime.now(UTC)
    with closing(connect()) as connection:
        _make_clusters(connection, clusters, der)
        aside = list(_put_aside(connection))
    pieces = [
        (span, start, min(start + _AT_ONCE, span.count))
        for span in spans(live, past, now)
        for start in range(0, span.count, _AT_ONCE)
    ]
    with ThreadPoolExecutor(CORES) as pool:
        list(pool.map(lambda piece: _insert(connect, *piece), pieces))
    with closing(connect()) as connection:
        connection.execute("SET maintenance_work_mem = '512MB'")
        for statement in aside:
            connection.execute(statement)
        connection.execute("DROP TABLE bench_clusters, bench_der")
        connection.execute("VACUUM (ANALYZE)")
        connection.execute("CHECKPOINT")


def _make_clusters(connection: psycopg.Connection, clusters: list[FleetCluster], der: bytes) -> None:
    connection.execute(
        "CREATE TABLE bench_clusters (number int PRIMARY KEY, name text, cluster_id uuid, generation_id uuid)"
    )
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO bench_clusters VALUES (%s, %s, %s, %s)",
            [(one.number, one.name, one.id, one.generation) for one in clusters],
        )
    connection.execute("CREATE TABLE bench_der (der bytea)")
    connection.execute("INSERT INTO bench_der VALUES (%s)", (der,))


def _put_aside(connection: psycopg.Connection) -> Iterator[str]:
    """Drop keys and indexes of the big tables; gives the statements that make them again."""
    for table in _TABLES:
        rows: list[Any] = connection.execute(
            "SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid), c.conname, pg_get_constraintdef(c.oid)"
            " FROM pg_index i LEFT JOIN pg_constraint c ON c.conindid = i.indexrelid AND c.conrelid = i.indrelid"
            " WHERE i.indrelid = %s::regclass",
            (table,),
        ).fetchall()
        for index, definition, constraint, constraint_definition in rows:
            if constraint is None:
                connection.execute(f"DROP INDEX {index}")
                yield definition.replace(" ON ONLY ", " ON ")
            else:
                connection.execute(f"ALTER TABLE {table} DROP CONSTRAINT {constraint}")
                yield f"ALTER TABLE {table} ADD CONSTRAINT {constraint} {constraint_definition}"


_ROWS = """
WITH rows AS (
  SELECT n, n %% %(nodes)s AS node, md5(%(salt)s || n) AS h, md5(n || %(salt)s) AS g,
    (%(begin)s + n * %(step)s)::bigint AS ms
  FROM generate_series(%(start)s, %(stop)s - 1) AS n
), certs AS (
  SELECT rows.*, c.cluster_id, c.generation_id,
    (lpad(to_hex(ms), 12, '0') || '7' || substr(h, 1, 3) || '8' || substr(h, 4, 15))::uuid AS id,
    (lpad(to_hex(ms), 12, '0') || '7' || substr(g, 1, 3) || '8' || substr(g, 4, 15))::uuid AS decision_id,
    '7' || h || substr(g, 1, 7) AS serial, g || h AS digest, to_timestamp(ms / 1000.0) AS moment,
    'rack-' || (node / %(clusters)s %% %(racks)s) AS rack, c.name AS cluster
  FROM rows JOIN bench_clusters c ON c.number = node %% %(clusters)s
)
"""
_NODE = "'node-' || node || '.' || rack || '.' || cluster || '.example'"
_INSERTS = {
    "serials": "(serial, generation_id, certificate_id) SELECT serial, generation_id, id FROM certs",
    "certificates": f"""(id, cluster_id, authority, generation_id, serial, profile, node, common_name, spki_sha256,
        issued_at, not_before, not_after, der, decision_id, requester, superseded_at)
      SELECT id, cluster_id, 'etcd', generation_id, serial, 'etcd-peer', {_NODE}, {_NODE}, digest,
        moment, moment - interval '5 minutes', moment + interval '4 days', bench_der.der, decision_id, 'token:bench',
        CASE WHEN %(are_past)s THEN moment + interval '64 hours' END
      FROM certs, bench_der""",
    "certificate_names": f"""(cluster_id, kind, key, certificate_id)
      SELECT cluster_id, kind, key, id FROM certs CROSS JOIN LATERAL (VALUES
        ('cn', {_NODE}),
        ('dns', 'example.' || cluster || '.' || rack || '.node-' || node || '.'),
        ('ip', '4' || lpad(to_hex(167772160 + node), 8, '0'))) AS names (kind, key)""",
    "decisions": f"""(id, decided_at, cluster_id, requester, action, profile, request_sha256, verdict,
        cluster_version, global_version, considered, identity, serial)
      SELECT decision_id, moment, cluster_id, 'token:bench', 'issue', 'etcd-peer', digest, 'issued', 0, 0, '[]',
        jsonb_build_object('commonName', {_NODE}, 'organizations', '[]'::jsonb, 'dnsNames',
          jsonb_build_array({_NODE}), 'publicKeySha256', digest), serial
      FROM certs""",
}


def _insert(connect: Callable[[], psycopg.Connection], span: Span, start: int, stop: int) -> None:
    milliseconds = (span.end - span.begin) / timedelta(milliseconds=1)
    with closing(connect()) as connection:
        # Foreign keys hold by the way the rows are made; asking each time would take half of the load.
        connection.execute("SET session_replication_role = replica")
        counted = connection.execute("SELECT count(*) FROM bench_clusters").fetchone()
        values = {
            "salt": span.salt,
            "nodes": span.nodes,
            "begin": int(span.begin.timestamp() * 1000),
            "step": milliseconds / span.count,
            "start": start,
            "stop": stop,
            "clusters": counted[0] if counted else 1,
            "racks": RACKS,
            "are_past": span.are_past,
        }
        for table, statement in _INSERTS.items():
            connection.execute(f"{_ROWS} INSERT INTO {table} {statement}", values)
