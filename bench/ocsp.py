"""OCSP over plain HTTP, uncached and cached, with no certificate revoked and with very many, beside its limit."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from bench.databases import POSTGRESQL, SQLITE, Place, Postgres, sqlite_place
from bench.figures import Figures, Rounds
from bench.issuance import run_flawless
from bench.load import Load, Result
from bench.ocsp_limit import OcspLimit
from bench.ocsp_rows import add_revoked, generation_of, serials
from bench.requests import CLUSTER, pool
from bench.scratch import free_port, fresh_folder
from bench.service import Service
from trivet.store.engine import Database

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.plan import Plan

AUTHORITY = "etcd"
_CONNECTIONS = 64
_DISTINCT = 256  # requests in turn; as many certificates
_NONCE_BYTES = 32
_FILLING_SECONDS = 2.0


@dataclass(frozen=True)
class Side:
    """A service on one database."""

    kind: str
    service: Service
    database: Database
    port: int


def measure_ocsp(plan: Plan, say: Callable[[str], None]) -> Figures:
    """Measure both databases, first empty, then with many revoked certificates, with the limit around each."""
    rounds = Rounds()
    with ExitStack() as stack:
        limit = stack.enter_context(OcspLimit())
        for kind in plan.databases:
            side = _side(stack, kind)
            for rows in (0, plan.live):
                add_revoked(side.database, CLUSTER, AUTHORITY, rows)
                for _ in range(max(1, plan.rounds // 2)):
                    _measure(plan, side, rows, limit, rounds, say)
    figures = rounds.medians()
    return figures | _worst(figures)


def _side(stack: ExitStack, kind: str) -> Side:
    server = stack.enter_context(Postgres("ocsp-pg")) if kind == POSTGRESQL else None
    place: Place = server.make("ocsp") if server else sqlite_place(fresh_folder(f"ocsp-{SQLITE}-db"))
    port = free_port()
    service = Service(f"ocsp-{kind}", place, settings={"TRIVET_HTTP_PORT": str(port)})
    stack.enter_context(service)
    database = Database(place.url)
    stack.callback(database.dispose)
    return Side(kind, service, database, port)


def _measure(
    plan: Plan, side: Side, rows: int, limit: OcspLimit, rounds: Rounds, say: Callable[[str], None]
) -> None:
    before = limit.measure(plan.limit_seconds)
    found = {name: _run(plan, side, rows, cached=name == "cached") for name in ("uncached", "cached")}
    after = limit.measure(plan.limit_seconds)
    per_second, cpu_us = (before.per_second + after.per_second) / 2, (before.cpu_us + after.cpu_us) / 2
    rounds.add("ocsp.limit.per_second", per_second)
    rounds.add("ocsp.limit.cpu_us", cpu_us)
    for name, result in found.items():
        service_us = result.cpu_us["service"] + result.cpu_us.get("database", 0.0)
        figures = {
            "per_second": result.per_second,
            "p50_ms": result.p50_ms,
            "p99_ms": result.p99_ms,
            "cpu_us": service_us,
            "client_cpu_us": result.cpu_us["client"],
            "ratio_to_limit": result.per_second / per_second,
            # What the service itself takes of the cores, whatever the load generator takes of them.
            "cpu_ratio_to_limit": cpu_us / service_us,
        }
        rounds.add_all(f"ocsp.{side.kind}.rows{rows}.{name}", figures)
        say(
            f"{side.kind}, {rows} revoked, {name}: {result.per_second:.0f}/s, limit {per_second:.0f}/s;"
            f" CPU {service_us:.0f} µs, limit {cpu_us:.0f} µs"
        )


def _run(plan: Plan, side: Side, rows: int, *, cached: bool) -> Result:
    load = Load(
        side.port,
        _requests(side, rows, cached=cached),
        _CONNECTIONS,
        plan.seconds,
        # Every worker signs every answer once, before what is kept is measured.
        warm_up=max(plan.warm_up, _FILLING_SECONDS) if cached else plan.warm_up,
        expected=200,
        trees=side.service.trees,
    )
    return run_flawless(load)


def _requests(side: Side, rows: int, *, cached: bool) -> list[str]:
    """Whole HTTP requests: with a nonce, which nothing kept can answer, or without one."""
    generation = generation_of(side.database, CLUSTER, AUTHORITY)
    issuer = x509.load_der_x509_certificate(generation.certificate)
    stated = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest.hex()
    about = serials(rows, _DISTINCT) if rows else [_issued(side.service)] * _DISTINCT
    return [_post(f"/pki/{CLUSTER}/{AUTHORITY}/{stated}/ocsp", _body(issuer, one, cached)) for one in about]


def _issued(service: Service) -> int:
    with service.client() as client:
        chain = service.issue(client, pool(1)[0])
    return x509.load_pem_x509_certificates(chain)[0].serial_number


def _body(issuer: x509.Certificate, serial: int, cached: bool) -> bytes:  # noqa: FBT001
    named = ocsp.OCSPRequestBuilder().add_certificate(issuer, issuer, hashes.SHA1()).build()  # noqa: S303
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
        named.issuer_name_hash,
        named.issuer_key_hash,
        serial,
        hashes.SHA1(),  # noqa: S303
    )
    if not cached:
        builder = builder.add_extension(x509.OCSPNonce(os.urandom(_NONCE_BYTES)), critical=False)
    return builder.build().public_bytes(Encoding.DER)


def _post(path: str, body: bytes) -> str:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/ocsp-request\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head + body.decode("latin-1")


def _worst(figures: Figures) -> Figures:
    """Of each ratio the worst over databases and numbers of rows; and how throughput changes with the rows."""
    found: Figures = {}
    for name in ("uncached", "cached"):
        for ratio in ("ratio_to_limit", "cpu_ratio_to_limit"):
            values = [value for figure, value in figures.items() if figure.endswith(f".{name}.{ratio}")]
            found[f"ocsp.{name}.{ratio}"] = min(values)
    return found
