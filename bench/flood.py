"""Issuing while certificate requests lie in the database by the hundred thousand, beside a database that has none.

    python -m bench.flood [--rows 500000] [--rounds 5]

Two databases of each kind take turns, round by round, in this one process. Limits on requests are passed by: rows are
made inside the database, all of them pending.
"""

from __future__ import annotations

import argparse
import secrets
import statistics
import sys
from datetime import UTC, datetime
from time import perf_counter
from typing import TYPE_CHECKING

from sqlalchemy import text

from bench.databases import Postgres, sqlite_place
from bench.requests import pool
from bench.scratch import fresh_folder
from trivet.authority.approval.submission import Submission
from trivet.authority.approval.submit import submit_request
from trivet.authority.context import Authority, RequestLimits
from trivet.authority.create import create_cluster
from trivet.authority.install import OPERATOR, install
from trivet.authority.issuance.application import Issuance, prepare
from trivet.authority.issue import issue_all
from trivet.pki.names import DnsName, parse_ip_network
from trivet.pki.subjects import ClusterNames
from trivet.signing.encryption import KeyEncryptionKey
from trivet.signing.file import Keyring
from trivet.store import clusters, migrate, requests
from trivet.store.engine import Database
from trivet.store.requests import RequestFilter, RequestState
from trivet.store.tables import certificate_requests

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.requests import NodeRequest

_CLUSTER = "demo"
_PROFILE = "etcd-peer"
_BATCH = 32
_BATCHES = 10
_LOOKS = 20
_LIMITS = RequestLimits()
_SERIES = {
    "sqlite": "WITH RECURSIVE series(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < :rows)",
    "postgresql": "WITH series(n) AS (SELECT generate_series(1, :rows))",
}
_IDS = {"sqlite": "printf('%032x', n)", "postgresql": "lpad(to_hex(n), 32, '0')::uuid"}


def main() -> int:
    """Measure both kinds of database, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.flood")
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    _measure("sqlite", lambda name: sqlite_place(fresh_folder(f"flood-{name}")).url, options)
    with Postgres("flood-pg") as server:
        _measure("postgresql", lambda name: server.make(f"flood_{name}").url, options)
    return 0


def _measure(kind: str, url_of: Callable[[str], str], options: argparse.Namespace) -> None:
    asked = pool(_BATCH)
    quiet, flooded = (fresh_authority(url_of(name)) for name in ("none", "many"))
    began = perf_counter()
    flood(flooded, options.rows)
    _say(f"{kind}: {options.rows} rows in {perf_counter() - began:.0f} s")
    times: dict[str, list[float]] = {}
    for _ in range(options.rounds):
        for name, authority in (("none", quiet), ("many", flooded)):
            times.setdefault(f"issue, {name}", []).append(_issue(authority, asked))
            times.setdefault(f"look, {name}", []).append(_look(authority))
    for what in ("issue", "look"):
        none, many = (statistics.median(times[f"{what}, {name}"]) for name in ("none", "many"))
        _say(f"{kind}: {what:6} none {none:8.3f} ms   many {many:8.3f} ms   ratio {many / none:.2f}")
    for authority in (quiet, flooded):
        authority.database.dispose()


def fresh_authority(url: str) -> Authority:
    """Trivet over an empty database, with one cluster."""
    key = KeyEncryptionKey(secrets.token_bytes(32))
    authority = Authority(Database(url), Keyring(key), key, lambda: datetime.now(UTC), secrets.randbits)
    migrate.upgrade(authority.database)
    install(authority)
    names = ClusterNames(
        DnsName("api.demo.example"), parse_ip_network("10.96.0.0/12"), DnsName("cluster.local")
    )
    create_cluster(authority, OPERATOR, _CLUSTER, names)
    return authority


def flood(authority: Authority, rows: int) -> None:
    """Copy one request that was really submitted, again and again."""
    wanted = Submission(_PROFILE, pool(1)[0].pem, pool(1)[0].node)
    submit_request(authority, OPERATOR, _CLUSTER, wanted)
    kind = authority.database.engine.dialect.name
    own = {"id": _IDS[kind], "name": "'flood-' || n", "username": "'flood-' || (n % 50)"}
    columns = [f'"{column.name}"' for column in certificate_requests.columns]
    values = [own.get(column.name, f't."{column.name}"') for column in certificate_requests.columns]
    statement = (
        f"{_SERIES[kind]} INSERT INTO certificate_requests ({', '.join(columns)})"
        f" SELECT {', '.join(values)} FROM series CROSS JOIN certificate_requests AS t"
    )
    if kind == "sqlite":
        statement = statement.removeprefix(_SERIES[kind])
        statement = statement.replace(" SELECT", f" {_SERIES[kind]} SELECT", 1)
    with authority.database.write() as connection:
        if kind == "postgresql":
            connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text(statement), {"rows": rows})
    # As autovacuum does after a while.
    with authority.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE" if kind == "sqlite" else "VACUUM ANALYZE certificate_requests"))


def _issue(authority: Authority, asked: Sequence[NodeRequest]) -> float:
    """Milliseconds for a certificate, in batches; the signatures of requests are verified beforehand."""
    applications = [prepare(OPERATOR, Issuance(_CLUSTER, _PROFILE, each.pem, each.node)) for each in asked]
    began = perf_counter()
    for _ in range(_BATCHES):
        issue_all(authority, applications)
    return (perf_counter() - began) * 1e3 / (_BATCHES * len(applications))


def _look(authority: Authority) -> float:
    """Milliseconds to list the first page of what waits, to look one up, and to look whether there is room."""
    began = perf_counter()
    for _ in range(_LOOKS):
        with authority.database.read() as connection:
            cluster = clusters.get(connection, _CLUSTER)
            requests.page(connection, cluster.id, RequestFilter(state=RequestState.PENDING), None, 100)
            requests.find(connection, cluster.id, "flood-77")
            requests.has_pending(connection, cluster.id, None, _LIMITS.pending_in_cluster)
            requests.has_kept(connection, cluster.id, None, _LIMITS.kept_in_cluster)
    return (perf_counter() - began) * 1e3 / _LOOKS


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
