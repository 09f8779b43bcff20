"""The check on every issuance, with more and more revocation entries of which none matches."""

from __future__ import annotations

import ipaddress
import time
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING
from unittest.mock import patch

from bench.databases import POSTGRESQL, SQLITE, Place, Postgres, sqlite_place
from bench.entries import add_entries, open_cluster
from bench.figures import Figures, Rounds
from bench.issuance import issue_load, run_flawless
from bench.requests import CLUSTER, PROFILE, node_address, node_name, pool
from bench.scratch import fresh_folder
from bench.service import Service
from trivet.authority.install import OPERATOR
from trivet.authority.issuance.application import Issuance, prepare
from trivet.authority.issue import IssuedCertificate, issue_all
from trivet.authority.metrics import measures
from trivet.bootstrap.composition import build_authority
from trivet.pki.kubernetes import profile_named
from trivet.pki.names import DnsName, Names
from trivet.pki.revocation import Identity, identity_keys
from trivet.settings import ServerSettings, SettingsFile
from trivet.store import issuing
from trivet.store.clusters import ALL_CLUSTERS
from trivet.store.engine import Database

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.load import Load
    from bench.plan import Plan
    from trivet.authority.context import Authority
    from trivet.authority.issuance.application import Application

_BATCH = 64  # applications checked together, as at 64 connections
_CHECKS = 40  # of each database in a round
_DECIDED = 16  # batches of each database in a round that are issued
_SIZES = {1_000: "1k", 100_000: "100k", 1_000_000: "1m"}


@dataclass(frozen=True)
class Side:
    """One of two services that take turns: one whose entries grow, and one without."""

    service: Service
    database: Database
    wanted: tuple[issuing.Wanted, ...]
    load: Load
    authority: Authority
    applications: tuple[tuple[Application, ...], ...]


def measure_check(plan: Plan, say: Callable[[str], None]) -> Figures:
    """Measure both databases; what counts of each size is the worse of the two."""
    figures: Figures = {}
    for kind in plan.databases:
        with ExitStack() as stack:
            server = stack.enter_context(Postgres("check-pg")) if kind == POSTGRESQL else None
            places = [_place(kind, server, name) for name in ("check_empty", "check_full")]
            empty, full = (
                _side(plan, stack, place, f"check-{number}") for number, place in enumerate(places)
            )
            figures |= _grow(plan, kind, empty, full, say)
    for size in filter(None, plan.entries):
        name = f"entries{_SIZES.get(size, size)}.ratio_to_empty"
        figures[f"check.{name}"] = max(figures[f"check.{kind}.{name}"] for kind in plan.databases)
    return figures


def _place(kind: str, server: Postgres | None, name: str) -> Place:
    if kind == SQLITE or server is None:
        return sqlite_place(fresh_folder(f"{name.replace('_', '-')}-db"))
    return server.make(name)


def _side(plan: Plan, stack: ExitStack, place: Place, name: str) -> Side:
    service = stack.enter_context(Service(name, place))
    database = Database(place.url)
    stack.callback(database.dispose)
    authority = build_authority(ServerSettings.load(SettingsFile.read(service.folder / "trivet.toml")))
    stack.callback(authority.database.dispose)
    load = issue_load(plan, service, max(plan.connections))
    return Side(service, database, _wishes(database), load, authority, _applications())


def _applications() -> tuple[tuple[Application, ...], ...]:
    """Batches of applications, read and verified."""
    requests = pool(_DECIDED * _BATCH)
    read = [prepare(OPERATOR, Issuance(CLUSTER, PROFILE, one.pem, one.node)) for one in requests]
    return tuple(tuple(read[start : start + _BATCH]) for start in range(0, len(read), _BATCH))


def _wishes(database: Database) -> tuple[issuing.Wanted, ...]:
    """What batches of applications look up; none is looked up twice in a row."""
    cluster = open_cluster(database)
    return tuple(
        issuing.Wanted(
            scopes=frozenset({cluster, ALL_CLUSTERS}),
            authorities=frozenset({(cluster, profile_named(PROFILE).authority)}),
            vouchers=frozenset(),
            tokens=frozenset(),
            keys=frozenset[object]().union(*map(_keys, range(start, start + _BATCH))),  # type: ignore[arg-type]
        )
        for start in range(0, _CHECKS * _BATCH, _BATCH)
    )


def _keys(number: int) -> frozenset[object]:
    names = Names(
        node_name(number), (), (DnsName(node_name(number)),), (ipaddress.ip_address(node_address(number)),)
    )
    return frozenset(identity_keys(Identity(names, f"{number:064x}")))


def _grow(plan: Plan, kind: str, empty: Side, full: Side, say: Callable[[str], None]) -> Figures:
    figures: Figures = {}
    stand = 0
    for size in plan.entries:
        add_entries(full.database, stand, size)
        stand = size
        prefix = f"check.{kind}.entries{_SIZES.get(size, size)}"
        rounds = Rounds()
        for _ in range(max(plan.rounds, 3)):
            without, with_all = _check_us(empty, full)
            rounds.add(f"{prefix}.check_us", with_all)
            rounds.add(f"{prefix}.ratio_to_empty", with_all / without)
            without, with_all = _phase_us(empty, full)
            rounds.add(f"{prefix}.phase_us", with_all)
            rounds.add(f"{prefix}.phase_ratio_to_empty", with_all / without)
        for number in range(plan.rounds):
            # Whoever comes first finds the caches cold: they take turns at that, too.
            order = (empty, full) if number % 2 else (full, empty)
            rates = {side.service.name: run_flawless(side.load).per_second for side in order}
            rate_without, rate_with = rates[empty.service.name], rates[full.service.name]
            rounds.add(f"{prefix}.per_second", rate_with)
            rounds.add(f"{prefix}.issue_ratio_to_empty", rate_without / rate_with)
        found = rounds.medians()
        say(
            f"  {kind}, {size} entries: the check {found[f'{prefix}.check_us']:.1f} µs,"
            f" {found[f'{prefix}.ratio_to_empty']:.2f} of without; with the decision"
            f" {found[f'{prefix}.phase_us']:.1f} µs, {found[f'{prefix}.phase_ratio_to_empty']:.2f};"
            f" issuing {found[f'{prefix}.per_second']:.0f}/s, takes"
            f" {found[f'{prefix}.issue_ratio_to_empty']:.2f} of without"
        )
        figures |= found
    return figures


def _check_us(empty: Side, full: Side) -> tuple[float, float]:
    """Microseconds for one application's share of a batch's check (locks, versions, look-up), on each side.

    Batch by batch in turn, so that whatever else the machine does meets both alike.
    """
    pairs = list(zip(empty.wanted, full.wanted, strict=True))
    took = [(_read_seconds(empty, one), _read_seconds(full, other)) for one, other in pairs]
    return (
        1e6 * median(without for without, _ in took) / _BATCH,
        1e6 * median(with_all for _, with_all in took) / _BATCH,
    )


def _phase_us(empty: Side, full: Side) -> tuple[float, float]:
    """The same of all that stands between the lock and the signature, the look-up with it: one decision."""
    took = [
        (_decision_seconds(empty, one), _decision_seconds(full, other))
        for one, other in zip(empty.applications, full.applications, strict=True)
    ]
    return (
        1e6 * median(without for without, _ in took) / _BATCH,
        1e6 * median(with_all for _, with_all in took) / _BATCH,
    )


def _decision_seconds(side: Side, applications: tuple[Application, ...]) -> float:
    """Issue a batch, and tell what the service's own metrics would say of its phase `check`."""
    phases: dict[str, float] = {}
    with patch.object(measures, "phase", phases.__setitem__):
        outcomes = issue_all(side.authority, applications)
    if not all(isinstance(outcome, IssuedCertificate) for outcome in outcomes):
        raise ValueError("an application was refused")
    return phases["check"]


def _read_seconds(side: Side, wanted: issuing.Wanted) -> float:
    with side.database.read() as connection:
        began = time.perf_counter()
        found = issuing.read(connection, wanted)
        took = time.perf_counter() - began
    if found.entries:
        raise ValueError("an entry was found, though none should match")
    return took
