"""The herd: after an outage every node renews at once, each with its own certificate on its own new connection."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import load_pem_private_key

from bench.cpu import tree_seconds
from bench.databases import Postgres
from bench.handshake import measure_handshake
from bench.herd_nodes import Herd, Renewals
from bench.issuance import issue_load, run_flawless
from bench.limit import CORES, Limit
from bench.load import Load, collected, run_load
from bench.requests import NodeRequest, key_pem, new_key, node_name, pool, request_for
from bench.scratch import fresh_folder, scratch
from bench.service import Service

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

    from bench.figures import Figures
    from bench.plan import Plan

_OPEN_AT_ONCE = 768
_ARRIVALS = 4000.0  # a second try for the first time
_OUTAGE = 3.0  # seconds of it that they meet
_PATIENCE = 600.0
_KEPT_CONNECTIONS = 128
_KEY = b"-----END PRIVATE KEY-----\n"


class HerdError(Exception):
    """The herd could not be made ready."""


def measure_herd(plan: Plan, say: Callable[[str], None]) -> Figures:
    """Renew all, on PostgreSQL: over new connections after an outage, and over connections that were kept."""
    with ExitStack() as stack:
        limit = stack.enter_context(Limit())
        place = stack.enter_context(Postgres("herd-pg")).make("herd")
        service = stack.enter_context(Service("herd", place))
        say(f"making {plan.herd} nodes")
        pairs = _enrol(plan, service)
        before = limit.measure(plan.limit_seconds)
        figures = _after_outage(plan, service, pairs, say)
        between = limit.measure(plan.limit_seconds)
        kept = run_flawless(_kept_load(plan, service, pairs))
        after = limit.measure(plan.limit_seconds)
    own = (before.per_second + between.per_second) / 2
    figures["herd.ratio_to_limit"] = figures["herd.per_second"] / own
    figures["herd.service_ratio_to_limit"] = before.cpu_us / (
        figures["herd.service_cpu_us"] + figures["herd.database_cpu_us"]
    )
    figures["herd.keepalive.per_second"] = kept.per_second
    figures["herd.keepalive.p99_ms"] = kept.p99_ms
    figures["herd.keepalive.ratio_to_limit"] = kept.per_second * 2 / (between.per_second + after.per_second)
    # What a connection costs the service is what remains when the renewal itself is taken off.
    figures["herd.handshake_cpu_us"] = figures["herd.service_cpu_us"] - kept.cpu_us["service"]
    say(f"  the limit meanwhile: {own:.0f}/s; keep-alive: {kept.per_second:.0f}/s")
    return figures | _floor(before.cpu_us, say)


def _floor(limit_us: float, say: Callable[[str], None]) -> Figures:
    """What handshakes leave of the limit, were nothing else to do: the nodes do their side on the same cores."""
    handshake = measure_handshake()
    both = handshake.client_us + handshake.server_us
    say(
        f"  a handshake in memory: client {handshake.client_us:.0f}, server {handshake.server_us:.0f} µs;"
        f" the limit with it: {limit_us / (limit_us + both):.2f}"
    )
    return {
        "herd.handshake.client_floor_us": handshake.client_us,
        "herd.handshake.server_floor_us": handshake.server_us,
        "herd.floor_ratio_to_limit": limit_us / (limit_us + both),
        "herd.service_floor_ratio_to_limit": limit_us / (limit_us + handshake.server_us),
    }


def _enrol(plan: Plan, service: Service) -> list[str]:
    """Give every node a key and a certificate; the keys are made once and kept between runs."""
    keys = _keys(plan.herd)
    named = [NodeRequest(node_name(number), request_for(number, key)) for number, key in enumerate(keys)]
    answers = service.folder / "enrolled"
    load = replace(issue_load(plan, service, 64), requests=[service.issuance(request) for request in named])
    run_load(replace(load, signing_requests=[], collect=str(answers)))
    folder = fresh_folder("herd-nodes")
    pairs = []
    for number, (key, chain) in enumerate(zip(keys, collected(answers), strict=True)):
        if not chain:
            message = f"node {number} was not enrolled"
            raise HerdError(message)
        file = folder / f"{number}.pem"
        file.write_bytes(chain + key_pem(key))
        pairs.append(str(file))
    return pairs


def _keys(count: int) -> list[EllipticCurvePrivateKey]:
    file = scratch() / "node-keys.pem"
    made = file.read_bytes().split(_KEY)[:-1] if file.exists() else []
    if len(made) < count:
        made += [key_pem(new_key()).removesuffix(_KEY) for _ in range(count - len(made))]
        file.write_bytes(b"".join(key + _KEY for key in made))
    return [load_pem_private_key(key + _KEY, None) for key in made[:count]]  # type: ignore[misc]  # all EC


def _after_outage(plan: Plan, service: Service, pairs: list[str], say: Callable[[str], None]) -> Figures:
    issuer = service.issuer()
    nodes = [_start_nodes(plan, service, pairs[share::CORES], issuer) for share in range(CORES)]
    service.stop()
    for process in nodes:
        _tell(process, "go")
    time.sleep(_OUTAGE)
    service.start()
    back, trees = time.perf_counter(), service.trees
    before = {name: tree_seconds(pids) for name, pids in trees.items()}
    came = [Renewals(**json.loads(process.communicate(timeout=_PATIENCE + 60)[0])) for process in nodes]
    took = time.perf_counter() - back
    cpu = {name: tree_seconds(pids) - before[name] for name, pids in trees.items()}
    return _figures(plan, came, took, cpu, say)


def _figures(
    plan: Plan, came: list[Renewals], took: float, cpu: dict[str, float], say: Callable[[str], None]
) -> Figures:
    retries: dict[str, int] = {}
    for one in came:
        for reason, count in one.retries.items():
            retries[reason] = retries.get(reason, 0) + count
    done = sum(len(one.finished) for one in came)
    client = sum(one.cpu_seconds for one in came)
    say(
        f"  {done} of {plan.herd} nodes renewed {took:.1f} s after the service was back, {done / took:.0f}/s;"
        f" retries {retries}; {sum(one.checked for one in came)} answers verified; CPU s: service"
        f" {cpu['service']:.1f}, database {cpu['database']:.1f}, nodes {client:.1f}"
    )
    return {
        "herd.nodes": float(plan.herd),
        "herd.seconds": took,
        "herd.per_second": done / took,
        "herd.retries": float(sum(retries.values())),
        "herd.retries_by_refused_connection": float(retries.get("ConnectionRefusedError", 0)),
        "herd.retries_by_503": float(retries.get("503", 0)),
        "herd.failures": float(sum(one.failures for one in came)),
        "herd.service_cpu_us": 1e6 * cpu["service"] / max(done, 1),
        "herd.database_cpu_us": 1e6 * cpu["database"] / max(done, 1),
        "herd.client_cpu_us": 1e6 * client / max(done, 1),
    }


def _start_nodes(plan: Plan, service: Service, pairs: list[str], issuer: str) -> subprocess.Popen[str]:
    requests = pool(plan.requests, named=False)
    own = [requests[number % len(requests)] for number in range(len(pairs))]
    herd = Herd(
        port=service.port,
        pairs=pairs,
        requests=[service.renewal(request) for request in own],
        signing_requests=[request.pem.decode() for request in own],
        issuer=issuer,
        open_at_once=_OPEN_AT_ONCE // CORES,
        arrival=plan.herd / _ARRIVALS,
        patience=_PATIENCE,
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.herd_nodes"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    _tell(process, json.dumps(asdict(herd)))
    if process.stdout is None or process.stdout.readline() != "ready\n":
        raise HerdError("the nodes did not get ready")
    return process


def _tell(process: subprocess.Popen[str], line: str) -> None:
    if process.stdin is None:
        raise HerdError("the nodes cannot be spoken to")
    process.stdin.write(line + "\n")
    process.stdin.flush()


def _kept_load(plan: Plan, service: Service, pairs: list[str]) -> Load:
    """The same renewals by nodes that keep their connections."""
    requests = pool(plan.requests, named=False)
    connections = min(_KEPT_CONNECTIONS, len(pairs) // 8)
    return replace(
        issue_load(plan, service, connections),
        requests=[service.renewal(request) for request in requests],
        signing_requests=[request.pem.decode() for request in requests],
        client_pairs=pairs[:connections],
    )
