"""Trivet and its peers in turn: the same CSRs, the same TLS, a database file on the same disk."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.databases import sqlite_place
from bench.figures import Figures, Rounds
from bench.issuance import figures_of, issue_load, run_flawless
from bench.load import Load, Result, run_load
from bench.peers.cfssl import Cfssl, CfsslWal
from bench.peers.django_ca import DjangoCa
from bench.peers.openssl_ca import is_installed, measure_openssl_ca
from bench.requests import pool
from bench.scratch import fresh_folder
from bench.service import Service

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.plan import Plan

_PEERS = (Cfssl, CfsslWal, DjangoCa)
_OPENSSL_REQUESTS = 64


def measure_peers(plan: Plan, say: Callable[[str], None]) -> Figures:
    """Measure Trivet on SQLite with cryptography's signatures, and every peer that is installed."""
    rounds = Rounds()
    with ExitStack() as stack:
        loads = _loads(plan, stack, say)
        for _ in range(plan.rounds):
            for name, load in loads.items():
                for connections in plan.connections:
                    result = _run(name, replace(load, connections=connections))
                    rounds.add_all(f"peers.{name}.c{connections}", figures_of(result))
                    _tell(say, name, connections, result)
    figures = rounds.medians()
    if is_installed():
        rate = measure_openssl_ca(pool(_OPENSSL_REQUESTS), plan.seconds)
        say(f"  openssl_ca: {rate:.0f}/s, one process after the other")
        figures["peers.openssl_ca.c1.per_second"] = rate
    else:
        say("openssl_ca: not installed")
    return figures | _ratios(figures, max(plan.connections))


def _loads(plan: Plan, stack: ExitStack, say: Callable[[str], None]) -> dict[str, Load]:
    requests, most = pool(plan.requests), max(plan.connections)
    trivet = stack.enter_context(Service("peers-trivet", sqlite_place(fresh_folder("peers-trivet-db"))))
    loads = {"trivet": issue_load(plan, trivet, most)}
    for kind in _PEERS:
        if kind.is_installed():
            loads[kind.name] = stack.enter_context(kind()).load(plan, requests, most)
        else:
            say(f"{kind.name}: not installed")
    return loads


def _run(name: str, load: Load) -> Result:
    # A peer that refuses some is measured by what it did answer, and the rest is told.
    return run_flawless(load) if name == "trivet" else run_load(load)


def _tell(say: Callable[[str], None], name: str, connections: int, result: Result) -> None:
    failures = f"; FAILED {result.failures}" if result.failures else ""
    say(
        f"  {name} c{connections}: {result.per_second:.0f}/s; p50 {result.p50_ms:.1f} p99 {result.p99_ms:.1f} ms; "
        f"{result.checked} answers verified{failures}"
    )


def _ratios(figures: Figures, most: int) -> Figures:
    """Trivet at the most connections, beside each peer at the number of connections that suits it best."""
    own = figures[f"peers.trivet.c{most}.per_second"]
    best: Figures = {}
    for figure, value in figures.items():
        _, peer, *_, last = figure.split(".")
        if last == "per_second" and peer != "trivet":
            best[peer] = max(best.get(peer, 0.0), value)
    return {f"peers.{peer}.ratio": own / value for peer, value in best.items() if value}
