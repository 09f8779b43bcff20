"""The Kubernetes API with a hundred thousand certificate requests in the table, and how fast they are collected.

    python -m bench.signing_requests [--rows 100000] [--rounds 20]

On SQLite and on PostgreSQL, in this process: the whole application, but no TLS. Limits on requests are passed by: rows
are made inside the database.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from datetime import UTC, datetime
from time import perf_counter
from typing import TYPE_CHECKING

from sqlalchemy import text
from starlette.testclient import TestClient

from bench.databases import Postgres, sqlite_place
from bench.flood import flood, fresh_authority
from bench.scratch import fresh_folder
from trivet.authority.access import Role
from trivet.authority.approval.collect import collect
from trivet.authority.install import OPERATOR
from trivet.authority.tokens import create_token
from trivet.web.app import WebOptions, create_app

if TYPE_CHECKING:
    from collections.abc import Callable

    from trivet.authority.context import Authority

_PLACE = "/kubernetes/demo/apis/certificates.k8s.io/v1/certificatesigningrequests"
_TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
_ASKED = {
    "get": "/flood-77",
    "list, limit=500": "?limit=500",
    "list, limit=500, as Table": "?limit=500",
    "list, by metadata.name": "?fieldSelector=metadata.name%3Dflood-77&limit=500",
    "list, by another signer": "?fieldSelector=spec.signerName%3Dkubernetes.io/kubelet-serving&limit=500",
    "list, by a label that none has": "?labelSelector=nobody&limit=500",
}


def main() -> int:
    """Measure both kinds of database, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.signing_requests")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), help="one of them only")
    parser.add_argument("--keep", action="store_true", help="do not collect them at the end")
    options = parser.parse_args()
    if options.database != "postgresql":
        _measure("sqlite", sqlite_place(fresh_folder("signing-requests")).url, options)
    if options.database != "sqlite":
        with Postgres("signing-requests-pg") as server:
            _measure("postgresql", server.make("requests").url, options)
    return 0


def _measure(kind: str, url: str, options: argparse.Namespace) -> None:
    authority = fresh_authority(url)
    flood(authority, options.rows)
    _, secret = create_token(authority, OPERATOR, role=Role.ADMIN)
    limits = WebOptions(rate_per_second=1e6, burst=10**6)
    with TestClient(create_app(authority, options=limits), base_url="https://localhost") as client:
        client.headers["Authorization"] = f"Bearer {secret}"
        for name, query in _ASKED.items():
            accept = _TABLE if name.endswith("Table") else "application/json"
            _say(kind, name, _times(lambda: _get(client, query, accept), options.rounds))  # noqa: B023
    if not options.keep:
        _collect(kind, authority)
    authority.database.dispose()


def _get(client: TestClient, query: str, accept: str) -> None:
    client.get(_PLACE + query, headers={"Accept": accept}).raise_for_status()


def _times(run: Callable[[], None], rounds: int) -> list[float]:
    times = []
    for _ in range(rounds):
        began = perf_counter()
        run()
        times.append((perf_counter() - began) * 1e3)
    return times


def _collect(kind: str, authority: Authority) -> None:
    """Let all be due, and remove them as the chore does, with its pauses."""
    with authority.database.write() as connection:
        connection.execute(
            text("UPDATE certificate_requests SET collect_at = :moment"),
            {
                "moment": datetime(2020, 1, 1, tzinfo=UTC)
                if kind == "postgresql"
                else "2020-01-01 00:00:00.000000"
            },
        )
    began, pauses, rounds = perf_counter(), 0.0, 0

    def pause(seconds: float) -> None:
        nonlocal pauses
        pauses += seconds

    while not collect(authority, pause):
        rounds += 1
    taken = perf_counter() - began
    line = f"{kind:11} {'collect all':32} {taken:8.1f} s at work, {pauses:.1f} s of pauses, {rounds + 1} rounds\n"
    sys.stdout.write(line)


def _say(kind: str, what: str, times: list[float]) -> None:
    worst = max(times)
    sys.stdout.write(
        f"{kind:11} {what:32} median {statistics.median(times):8.1f} ms   worst {worst:8.1f} ms\n"
    )
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
