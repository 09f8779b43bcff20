"""The fleet's database: issue, search, preview and prune among millions of certificates, on PostgreSQL."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from statistics import median
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from bench.databases import Postgres
from bench.figures import Figures, Rounds
from bench.fleet_rows import PAST, FleetCluster, cluster_name, fill
from bench.issuance import issue_load, run_flawless
from bench.requests import pool
from bench.service import Service
from trivet.authority.create import create_cluster
from trivet.authority.install import OPERATOR
from trivet.authority.prune import Pruned, prune
from trivet.bootstrap.composition import build_authority
from trivet.pki.names import DnsName
from trivet.pki.profiles import AuthorityName
from trivet.pki.subjects import ClusterNames
from trivet.settings import ServerSettings, SettingsFile
from trivet.store import authorities, partitions

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from bench.load import Result
    from bench.plan import Plan
    from trivet.authority.context import Authority

_NODES_IN_CLUSTER = 1000
_ASKED = 15  # times each search and preview
_NAMES = ClusterNames(DnsName("localhost"), ip_network("10.96.0.0/12"), DnsName("cluster.local"))


def measure_fleet(plan: Plan, say: Callable[[str], None]) -> Figures:
    """Measure a full database beside an empty one on the same server."""
    with ExitStack() as stack:
        server = stack.enter_context(Postgres("fleet-pg"))
        empty = stack.enter_context(Service("fleet-empty", server.make("fleet_empty")))
        full = stack.enter_context(Service("fleet-full", server.make("fleet_full")))
        authority = build_authority(ServerSettings.load(SettingsFile.read(full.folder / "trivet.toml")))
        stack.callback(authority.database.dispose)
        took = _fill(plan, server, full, authority)
        say(f"  {plan.live} live and {plan.past} past certificates made in {took:.0f} s")
        figures = {"fleet.fill_seconds": took, "fleet.rows": float(plan.live + plan.past)}
        figures |= _issue(plan, empty, full, say)
        figures |= _look(full, say)
        figures |= _prune(plan, full, authority, say)
    return figures


def _fill(plan: Plan, server: Postgres, service: Service, authority: Authority) -> float:
    began = time.monotonic()
    month = partitions.month_of(datetime.now(UTC) - PAST - timedelta(days=1))
    while month <= datetime.now(UTC):
        partitions.ensure_months(authority.database, month, ahead=0)
        month = partitions.next_month(month)
    with service.client() as client:
        chain = service.issue(client, pool(1)[0])
    der = x509.load_pem_x509_certificates(chain)[0].public_bytes(Encoding.DER)
    clusters = [_cluster(authority, number) for number in range(max(1, plan.live // _NODES_IN_CLUSTER))]
    fill(lambda: server.connect("fleet_full"), clusters, der, plan.live, plan.past)
    return time.monotonic() - began


def _cluster(authority: Authority, number: int) -> FleetCluster:
    made = create_cluster(authority, OPERATOR, cluster_name(number), _NAMES)
    with authority.database.read() as connection:
        generation = authorities.active_generation(connection, made.id, AuthorityName.ETCD)
    return FleetCluster(number, made.name, made.id, generation.id)


def _issue(plan: Plan, empty: Service, full: Service, say: Callable[[str], None]) -> Figures:
    rounds = Rounds()
    most = max(plan.connections)
    loads = {"empty": issue_load(plan, empty, most), "full": issue_load(plan, full, most)}
    for _ in range(plan.rounds):
        results = {name: run_flawless(load) for name, load in loads.items()}
        for name, result in results.items():
            rounds.add(f"fleet.issue.{name}.per_second", result.per_second)
            rounds.add(f"fleet.issue.{name}.p99_ms", result.p99_ms)
        rounds.add("fleet.issue.ratio_to_empty", results["full"].per_second / results["empty"].per_second)
    figures = rounds.medians()
    say(
        f"  issuing: {figures['fleet.issue.full.per_second']:.0f}/s, "
        f"{figures['fleet.issue.ratio_to_empty']:.2f} of the empty database's"
    )
    return figures


def _look(service: Service, say: Callable[[str], None]) -> Figures:
    name = cluster_name(0)
    suffix = f".rack-3.{name}.example"
    manifest = {
        "apiVersion": "certificates.microsoft.com/v1",
        "kind": "RenewRevocation",
        "metadata": {"name": "bench", "namespace": "kube-system"},
        "spec": {"description": "", "revocations": [{"kind": "DNS", "dns": suffix}]},
    }
    with service.client() as client:
        figures = {
            "fleet.search_ms": _median_ms(
                lambda: client.get(f"/clusters/{name}/certificates", params={"dnsSuffix": suffix})
            ),
            "fleet.preview_ms": _median_ms(
                lambda: client.post(f"/clusters/{name}/renew-revocations?dryRun=All", json=manifest)
            ),
            "fleet.preview_all_clusters_ms": _median_ms(
                lambda: client.post("/renew-revocations?dryRun=All", json=manifest)
            ),
        }
    say("  " + ", ".join(f"{figure} {value:.1f}" for figure, value in figures.items()))
    return figures


def _median_ms(ask: Callable[[], httpx.Response]) -> float:
    took = []
    for _ in range(_ASKED):
        began = time.perf_counter()
        ask().raise_for_status()
        took.append(1e3 * (time.perf_counter() - began))
    return median(took)


def _prune(plan: Plan, service: Service, authority: Authority, say: Callable[[str], None]) -> Figures:
    """Prune the oldest month while certificates are issued."""
    load = issue_load(plan, service, max(plan.connections))
    before = run_flawless(load)
    issued: list[Result] = []
    issuing = threading.Thread(target=lambda: issued.append(run_flawless(load)))
    issuing.start()
    time.sleep(load.warm_up + 1 + load.seconds / 4)
    began = time.perf_counter()
    pruned = prune(authority, _retention(), time.sleep)
    took = 1e3 * (time.perf_counter() - began)
    issuing.join()
    meanwhile = issued[0]
    say(
        f"  pruned {_told(pruned)} in {took:.0f} ms; issuing meanwhile {meanwhile.per_second:.0f}/s (before"
        f" {before.per_second:.0f}/s), p99 {meanwhile.p99_ms:.0f} ms (before {before.p99_ms:.0f} ms)"
    )
    return {
        "fleet.prune_ms": took,
        "fleet.prune_months": float(len(pruned.months)),
        "fleet.prune.issue_per_second": meanwhile.per_second,
        "fleet.prune.issue_p99_ms": meanwhile.p99_ms,
        "fleet.prune.issue_ratio_to_before": meanwhile.per_second / before.per_second,
    }


def _retention() -> timedelta:
    """The retention under which just the oldest month with certificates is to be pruned."""
    now = datetime.now(UTC)
    return now - (partitions.next_month(partitions.month_of(now - PAST)) + timedelta(days=5))


def _told(pruned: Pruned) -> str:
    return f"{len(pruned.months)} months and {pruned.certificates} single certificates"
