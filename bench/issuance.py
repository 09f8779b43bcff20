"""Issue and renew over HTTPS keep-alive, on both databases, beside the limit, in turn."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bench.databases import POSTGRESQL, Postgres, sqlite_place
from bench.figures import Figures, Rounds
from bench.limit import CORES, Limit
from bench.load import Load, Result, run_load
from bench.requests import pool
from bench.scratch import fresh_folder
from bench.service import CRYPTOGRAPHY, Service, has_engines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bench.plan import Plan

ISSUE, RENEW = "issue", "renew"


class WrongLoadError(Exception):
    """Not every request was answered as it should be, so the throughput says nothing."""


@dataclass(frozen=True)
class Contender:
    """A service that runs, the load for each kind of request, and how its figures are called."""

    name: str
    service: Service
    loads: dict[str, Load]


def measure_issuance(plan: Plan, say: Callable[[str], None]) -> Figures:
    """Measure every contender in turn, round by round, with the limit before and after each."""
    rounds = Rounds()
    with ExitStack() as stack:
        limit = stack.enter_context(Limit())
        contenders = list(_contenders(plan, stack, say))
        for number in range(plan.rounds):
            before = limit.measure(plan.limit_seconds)
            alone = limit.measure(plan.limit_seconds, processes=1)
            rounds.add("limit.per_second", before.per_second)
            rounds.add("limit.cpu_us", before.cpu_us)
            rounds.add("limit.alone_ms", 1e3 / alone.per_second)
            say(f"round {number + 1}: the limit {before.per_second:.0f}/s on {CORES} cores")
            for contender in contenders:
                results = _measure(plan, contender)
                after = limit.measure(plan.limit_seconds)
                rounds.add("limit.per_second", after.per_second)
                _note(rounds, contender, results, (before.per_second + after.per_second) / 2)
                _tell(say, contender, results, (before.per_second + after.per_second) / 2)
                before = after
    figures = rounds.medians()
    return figures | _over_crypto(figures)


def _contenders(plan: Plan, stack: ExitStack, say: Callable[[str], None]) -> Iterable[Contender]:
    engines = [engine for engine in plan.engines if engine == CRYPTOGRAPHY or has_engines()]
    if len(engines) < len(plan.engines):
        say("the fast engine is not in this Trivet: left out")
    server = stack.enter_context(Postgres()) if POSTGRESQL in plan.databases else None
    for database in plan.databases:
        for engine in engines:
            fast = "" if engine == CRYPTOGRAPHY else ".fast"
            name = f"{database}{fast}"
            label = f"issuance-{name.replace('.', '-')}"
            if database == POSTGRESQL and server is not None:
                place = server.make(label.replace("-", "_"))
            else:
                place = sqlite_place(fresh_folder(f"{label}-db"))
            service = stack.enter_context(Service(label, place, engine))
            say(f"{name}: serves on port {service.port}, process {service.pid}")
            yield Contender(name, service, loads_for(plan, service))


def loads_for(plan: Plan, service: Service) -> dict[str, Load]:
    """The load for each kind of request, with as many connections as the plan has at most."""
    loads = {}
    most = max(plan.connections)
    if ISSUE in plan.kinds:
        loads[ISSUE] = issue_load(plan, service, most)
    if RENEW in plan.kinds:
        requests = pool(plan.requests, named=False)
        loads[RENEW] = replace(
            issue_load(plan, service, most),
            requests=[service.renewal(request) for request in requests],
            signing_requests=[request.pem.decode() for request in requests],
            client_pairs=service.enrol(most),
        )
    return loads


def issue_load(plan: Plan, service: Service, connections: int) -> Load:
    """The load that asks for certificates."""
    requests = pool(plan.requests)
    return Load(
        port=service.port,
        requests=[service.issuance(request) for request in requests],
        signing_requests=[request.pem.decode() for request in requests],
        issuer=service.issuer(),
        connections=connections,
        seconds=plan.seconds,
        warm_up=plan.warm_up,
        tls=service.ca_file,
        trees=service.trees,
    )


def run_flawless(load: Load) -> Result:
    """Run a load of which every request must be answered as it should be.

    Raises:
        WrongLoadError: one was not.
    """
    result = run_load(load)
    if result.failures or not result.answered:
        message = f"answers that were not {load.expected}: {result.failures}, good ones: {result.answered}"
        raise WrongLoadError(message)
    return result


def _measure(plan: Plan, contender: Contender) -> dict[tuple[str, int], Result]:
    return {
        (kind, connections): run_flawless(
            replace(load, connections=connections, client_pairs=load.client_pairs[:connections])
        )
        for kind, load in contender.loads.items()
        for connections in plan.connections
    }


def figures_of(result: Result) -> Figures:
    """What every load is reported by."""
    cpu = {f"{name}_cpu_us": value for name, value in result.cpu_us.items()}
    return {"per_second": result.per_second, "p50_ms": result.p50_ms, "p99_ms": result.p99_ms} | cpu


def _note(rounds: Rounds, contender: Contender, results: dict[tuple[str, int], Result], limit: float) -> None:
    for (kind, connections), result in results.items():
        prefix = f"{kind}.{contender.name}.c{connections}"
        rounds.add_all(prefix, figures_of(result))
        rounds.add(f"{prefix}.ratio_to_limit", result.per_second / limit)


def _tell(
    say: Callable[[str], None], contender: Contender, results: dict[tuple[str, int], Result], limit: float
) -> None:
    for (kind, connections), result in results.items():
        cpu = ", ".join(f"{name} {value:.0f}" for name, value in result.cpu_us.items())
        say(
            f"  {kind} {contender.name} c{connections}: {result.per_second:.0f}/s = {result.per_second / limit:.2f}"
            f" of the limit; p50 {result.p50_ms:.1f} p99 {result.p99_ms:.1f} ms; CPU µs {cpu};"
            f" {result.checked} answers verified"
        )


def _over_crypto(figures: Figures) -> Figures:
    """How the slowest of a lone client's requests compare with the cryptography alone."""
    return {
        figure.replace("p99_ms", "p99_over_crypto"): value / figures["limit.alone_ms"]
        for figure, value in figures.items()
        if figure.endswith(".c1.p99_ms")
    }
