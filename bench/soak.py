"""The soak: at 80 % of what the service can do, for ten minutes; nothing may grow."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from statistics import median
from typing import TYPE_CHECKING

import psutil

from bench.cpu import tree
from bench.databases import Postgres
from bench.issuance import issue_load, run_flawless
from bench.load import run_load
from bench.service import Service

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.figures import Figures
    from bench.load import Result
    from bench.plan import Plan

_SHARE = 0.8
# As long as other measurements: 80 % of a lucky moment's capacity may be all that there is later.
_CAPACITY_TAKES = 5
_WINDOW = 30.0
_WARM_UP = 60.0
_SAMPLES = 120


@dataclass
class Samples:
    """What the service's processes hold, sample after sample."""

    rss_mb: list[float] = field(default_factory=list)
    open_files: list[int] = field(default_factory=list)
    connections: list[int] = field(default_factory=list)


def measure_soak(plan: Plan, say: Callable[[str], None]) -> Figures:
    """Measure the capacity on PostgreSQL, then send 80 % of it at a steady rate."""
    with ExitStack() as stack:
        place = stack.enter_context(Postgres("soak-pg")).make("soak")
        service = stack.enter_context(Service("soak", place))
        load = issue_load(plan, service, max(plan.connections))
        capacity = run_flawless(replace(load, seconds=_CAPACITY_TAKES * load.seconds)).per_second
        rate = _SHARE * capacity
        say(f"capacity {capacity:.0f}/s; {rate:.0f}/s for {plan.soak_seconds:.0f} s")
        steady = replace(
            load,
            rate=rate,
            seconds=plan.soak_seconds,
            warm_up=min(_WARM_UP, plan.soak_seconds / 4),
            window=min(_WINDOW, plan.soak_seconds / 8),
        )
        result, samples = _run(steady.warm_up, steady.seconds, service.pid, lambda: run_load(steady))
    figures = _figures(result, samples, rate)
    _verdict(figures, say)
    return figures


def _run(warm_up: float, seconds: float, pid: int, run: Callable[[], Result]) -> tuple[Result, Samples]:
    samples, ended = Samples(), threading.Event()
    sampling = threading.Thread(target=_sample, args=(samples, pid, warm_up, seconds / _SAMPLES, ended))
    sampling.start()
    try:
        return run(), samples
    finally:
        ended.set()
        sampling.join()


def _sample(samples: Samples, pid: int, delay: float, interval: float, ended: threading.Event) -> None:
    time.sleep(delay)
    while not ended.wait(interval):
        processes = tree([pid])
        try:
            samples.rss_mb.append(sum(process.memory_info().rss for process in processes) / 1e6)
            samples.open_files.append(sum(process.num_fds() for process in processes))
            samples.connections.append(sum(len(process.net_connections("tcp")) for process in processes))
        except psutil.NoSuchProcess:
            continue


def _figures(result: Result, samples: Samples, rate: float) -> Figures:
    first, last = _ends(samples.rss_mb)
    files = _ends([float(count) for count in samples.open_files])
    connections = _ends([float(count) for count in samples.connections])
    windows = _ends(result.windows)
    return {
        "soak.rate": rate,
        "soak.seconds": result.seconds,
        "soak.per_second": result.per_second,
        "soak.failures": float(sum(result.failures.values())),
        "soak.p50_ms": result.p50_ms,
        "soak.p99_ms": result.p99_ms,
        "soak.p99_first_ms": windows[0],
        "soak.p99_last_ms": windows[1],
        "soak.p99_worst_ms": max(result.windows),
        "soak.p99_growth_ratio": windows[1] / windows[0],
        "soak.rss_first_mb": first,
        "soak.rss_last_mb": last,
        "soak.rss_growth_ratio": last / first,
        "soak.open_files_growth": files[1] - files[0],
        "soak.connections_growth": connections[1] - connections[0],
    }


def _ends(values: list[float]) -> tuple[float, float]:
    """The medians of the first and of the last quarter."""
    quarter = max(1, len(values) // 4)
    return median(values[:quarter]), median(values[-quarter:])


def _verdict(figures: Figures, say: Callable[[str], None]) -> None:
    say(
        f"  memory {figures['soak.rss_first_mb']:.0f} → {figures['soak.rss_last_mb']:.0f} MB; open files"
        f" {figures['soak.open_files_growth']:+.0f}, connections {figures['soak.connections_growth']:+.0f}; p99"
        f" {figures['soak.p99_first_ms']:.1f} → {figures['soak.p99_last_ms']:.1f} ms,"
        f" at worst {figures['soak.p99_worst_ms']:.1f};"
        f" {figures['soak.failures']:.0f} failures at {figures['soak.per_second']:.0f}/s"
    )
