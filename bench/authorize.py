"""The authorization webhook over HTTPS keep-alive, with none and very many revoked certificates, beside its limit."""

from __future__ import annotations

import hashlib
import json
import ssl
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
import psutil
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import text

from bench.authorize_limit import BareServer
from bench.databases import POSTGRESQL, SQLITE, Place, Postgres, sqlite_place
from bench.figures import Figures, Rounds
from bench.issuance import run_flawless
from bench.load import Load
from bench.ocsp_rows import add_revoked, serials
from bench.requests import CLUSTER, new_key, request_for, write_pair
from bench.scratch import fresh_folder
from bench.service import Service
from trivet.authority.review import REVIEWER_PROFILE
from trivet.store.engine import Database

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.plan import Plan

PATH = f"/kubernetes/{CLUSTER}/authorize?timeout=3s"
_CONNECTIONS = 64
_DISTINCT = 256  # reviews in turn, of which an eighth is about what is revoked
_REVOKED_EACH = 8
_TIMES = 5
_PATIENCE = 120.0


@dataclass(frozen=True)
class Side:
    """A service on one database, and the API server that asks it."""

    kind: str
    service: Service
    database: Database
    pair: Path

    def client(self) -> httpx.Client:
        """The API server."""
        context = ssl.create_default_context(cafile=self.service.ca_file)
        context.load_cert_chain(self.pair)
        url = f"https://localhost:{self.service.port}"
        return httpx.Client(base_url=url, verify=context, timeout=_PATIENCE, trust_env=False)


def measure_authorize(plan: Plan, say: Callable[[str], None]) -> Figures:
    """Measure both databases, first empty, then with many revoked certificates, with the limit around each."""
    rounds = Rounds()
    with ExitStack() as stack:
        for kind in plan.databases:
            side = _side(stack, kind)
            for rows in (0, plan.live):
                _fill(side, rows)
                name = f"authorize.{kind}.rows{rows}"
                rounds.add(f"{name}.first_answer_seconds", _first_answer(side))
                for _ in range(max(1, plan.rounds // 2)):
                    _measure(plan, side, name, rows, rounds, say)
                rounds.add(f"{name}.rss_mb", _resident(side.service))
            rounds.add(f"authorize.{kind}.revoked_to_denied_seconds", max(_delays(side)))
    figures = rounds.medians()
    per_second = [value for figure, value in figures.items() if figure.endswith(".per_second")]
    ratios = [value for figure, value in figures.items() if figure.endswith(".ratio_to_limit")]
    delays = [value for figure, value in figures.items() if figure.endswith("_to_denied_seconds")]
    return figures | {
        "authorize.answers.per_second": min(per_second),
        "authorize.answers.ratio_to_limit": min(ratios),
        "authorize.revoked_to_denied_seconds": max(delays),
    }


def _side(stack: ExitStack, kind: str) -> Side:
    server = stack.enter_context(Postgres("authorize-pg")) if kind == POSTGRESQL else None
    place: Place = (
        server.make("authorize") if server else sqlite_place(fresh_folder(f"authorize-{SQLITE}-db"))
    )
    service = Service(f"authorize-{kind}", place)
    stack.enter_context(service)
    database = Database(place.url)
    stack.callback(database.dispose)
    key = new_key()
    chain = _issued(service, REVIEWER_PROFILE, request_for(0, key, named=False))
    return Side(kind, service, database, write_pair(service.folder / "api-server.pem", chain, key))


def _issued(service: Service, profile: str, csr: bytes, **query: str) -> bytes:
    with service.client() as client:
        answer = client.post(
            f"/clusters/{CLUSTER}/certificates",
            params={"profile": profile} | query,
            content=csr,
            headers={"Content-Type": "application/pkcs10"},
        )
        return answer.raise_for_status().content


def _fill(side: Side, rows: int) -> None:
    """Add revoked certificates, each with octets of its own; and start anew, as a view is read once."""
    add_revoked(side.database, CLUSTER, "cluster", rows)
    own = "CAST(serial AS BLOB)" if side.database.is_sqlite else "convert_to(serial, 'UTF8')"
    with side.database.write() as connection:
        connection.execute(text(f"UPDATE certificates SET der = {own} WHERE requester = 'bench'"))
    side.service.stop()
    side.service.start()


def _first_answer(side: Side) -> float:
    """How long it takes to read what is revoked: every worker answers then."""
    began = time.perf_counter()
    for _ in range(8):
        with side.client() as client:
            while client.post(PATH, content=_review(bytes(32))).is_error:
                time.sleep(0.1)
    return time.perf_counter() - began


def _measure(
    plan: Plan, side: Side, name: str, rows: int, rounds: Rounds, say: Callable[[str], None]
) -> None:
    reviews = _reviews(rows)
    with BareServer() as bare:
        load = Load(
            bare.port, reviews, _CONNECTIONS, plan.limit_seconds, warm_up=plan.warm_up, expected=200,
            tls=str(bare.ca_file), trees={"service": [bare.pid]},
        )  # fmt: skip
        limit = run_flawless(load)
    load = Load(
        side.service.port, reviews, _CONNECTIONS, plan.seconds, warm_up=plan.warm_up, expected=200,
        tls=side.service.ca_file, client_pairs=[str(side.pair)], trees=side.service.trees,
    )  # fmt: skip
    found = run_flawless(load)
    service_us = found.cpu_us["service"] + found.cpu_us.get("database", 0.0)
    figures = {
        "per_second": found.per_second,
        "p50_ms": found.p50_ms,
        "p99_ms": found.p99_ms,
        "cpu_us": service_us,
        "client_cpu_us": found.cpu_us["client"],
        "ratio_to_limit": found.per_second / limit.per_second,
        "cpu_ratio_to_limit": limit.cpu_us["service"] / service_us,
    }
    rounds.add_all(name, figures)
    rounds.add("authorize.limit.rate", limit.per_second)
    rounds.add("authorize.limit.cpu_us", limit.cpu_us["service"])
    say(
        f"{side.kind}, {rows} revoked: {found.per_second:.0f}/s, limit {limit.per_second:.0f}/s;"
        f" CPU {service_us:.0f} µs, limit {limit.cpu_us['service']:.0f} µs; p99 {found.p99_ms:.0f} ms"
    )


def _delays(side: Side) -> list[float]:
    """From the acknowledgement of a revocation until every connection, of whatever worker, is told `denied`."""
    return [_delay(side, number) for number in range(_TIMES)]


def _delay(side: Side, number: int) -> float:
    node = f"delayed-{number}"
    pem = _issued(side.service, "kubelet-client", request_for(number, new_key(), named=False), node=node)
    leaf = x509.load_pem_x509_certificates(pem)[0].public_bytes(Encoding.DER)
    review = _review(hashlib.sha256(leaf).digest())
    with ExitStack() as stack:
        clients = [stack.enter_context(side.client()) for _ in range(8)]
        for client in clients:
            client.post(PATH, content=review).raise_for_status()
        with side.service.client() as administrator:
            administrator.post(
                f"/clusters/{CLUSTER}/renew-revocations", json=_revocation(node)
            ).raise_for_status()
        began = time.perf_counter()
        waiting = clients
        while waiting and time.perf_counter() - began < _PATIENCE:
            waiting = [one for one in waiting if "denied" not in one.post(PATH, content=review).text]
        return time.perf_counter() - began


def _revocation(node: str) -> dict[str, object]:
    return {
        "apiVersion": "certificates.microsoft.com/v1",
        "kind": "RenewRevocation",
        "metadata": {"name": node},
        "spec": {"revocations": [{"kind": "CommonName", "commonName": f"system:node:{node}"}]},
    }


def _reviews(rows: int) -> list[str]:
    """Whole HTTP requests."""
    revoked = [hashlib.sha256(f"{serial:x}".encode()).digest() for serial in serials(rows, _DISTINCT)]
    found = []
    for number in range(_DISTINCT):
        unknown = hashlib.sha256(number.to_bytes(8)).digest()
        is_revoked = revoked and number % _REVOKED_EACH == 0
        body = _review(revoked[number] if is_revoked else unknown)
        head = (
            f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json, */*\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        found.append(head + body.decode())
    return found


def _review(digest: bytes) -> bytes:
    """As kube-apiserver sends it."""
    spec = {
        "resourceAttributes": {"namespace": "kube-node-lease", "verb": "update", "group": "coordination.k8s.io",
                               "version": "v1", "resource": "leases", "name": "node-1"},
        "user": "system:node:node-1",
        "groups": ["system:nodes", "system:authenticated"],
        "extra": {"authentication.kubernetes.io/credential-id": [f"X509SHA256={digest.hex()}"]},
    }  # fmt: skip
    review = {
        "kind": "SubjectAccessReview",
        "apiVersion": "authorization.k8s.io/v1",
        "metadata": {"creationTimestamp": None},
        "spec": spec,
        "status": {"allowed": False},
    }
    return json.dumps(review, separators=(",", ":")).encode()


def _resident(service: Service) -> float:
    """Resident memory of the largest worker, in MB."""
    workers = psutil.Process(service.pid).children(recursive=True)
    return max(worker.memory_info().rss for worker in workers) / 1e6
