"""What the database tells a scrape: when authorities end, how its clock differs, whether it answers at all."""

from __future__ import annotations

import resource
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from trivet.authority.metrics.measures import cluster_label
from trivet.authority.renewals.budget import BudgetMonitor
from trivet.pki.pem import from_der
from trivet.store import chains, clusters, monitoring, ocsp_responders, requests

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime, timedelta
    from uuid import UUID

    from prometheus_client.metrics_core import Metric
    from sqlalchemy import Connection

    from trivet.authority.context import Authority
    from trivet.store.monitoring import TrustedGeneration

Series = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Standing:
    """What was found.

    Attributes:
        ends: by cluster, authority and state, the earliest end of a CA certificate, and its lifetime.
        clusters: how many there are.
        crls: by cluster and authority, the earliest thisUpdate and nextUpdate of a CRL.
        budgets: when the first certificate of each cluster ends, as samples.
        budget_lifetimes: the lifetimes of those certificates, as samples.
        pending: by cluster, how many certificate requests wait for an approver.
        sealed: when the last checkpoint was made.
        responder: when the OCSP responder's certificate ends that ends first, and its lifetime; None without.
    """

    ends: dict[Series, tuple[datetime, timedelta]] = field(default_factory=dict)
    clusters: int = 0
    crls: dict[tuple[str, str], tuple[datetime, datetime]] = field(default_factory=dict)
    budgets: list[tuple[dict[str, str], float]] = field(default_factory=list)
    budget_lifetimes: list[tuple[dict[str, str], float]] = field(default_factory=list)
    pending: dict[str, int] = field(default_factory=dict)
    sealed: datetime | None = None
    responder: tuple[datetime, timedelta] | None = None


class Monitor:
    """Looks at the database. It remembers when each CA certificate ends, as that never changes.

    Attributes:
        standing: what was read last.
    """

    def __init__(self, authority: Authority) -> None:
        """Nothing is read yet."""
        self._authority = authority
        self.standing = Standing()
        self._ends: dict[UUID, tuple[datetime, timedelta]] = {}
        self._budgets = BudgetMonitor(authority)

    def read(self) -> None:
        """Read what stands now; not from two threads at once. With 10,000 clusters it takes a second or two.

        Raises:
            UnavailableError: the database cannot be reached.
        """
        with self._authority.database.read() as connection:
            found = monitoring.trusted_generations(connection)
            self._learn(connection, found)
            pending = self._pending(connection)
            checkpoint = chains.last_checkpoint(connection)
            times = monitoring.crl_times(connection)
            responder = ocsp_responders.first_to_end(connection)
        ends: dict[Series, tuple[datetime, timedelta]] = {}
        for generation in found:
            series = (cluster_label(generation.cluster), generation.authority, generation.state)
            ends[series] = min(self._ends[generation.id], ends.get(series, self._ends[generation.id]))
        self._budgets.read()
        known = {generation.cluster for generation in found} - {None}
        sealed = checkpoint.made_at if checkpoint else None
        self.standing = Standing(
            ends,
            len(known),
            _earliest(times),
            self._budgets.ends(),
            self._budgets.lifetimes(),
            pending,
            sealed,
            responder,
        )

    def _pending(self, connection: Connection) -> dict[str, int]:
        waiting = requests.pending_by_cluster(connection)
        names = clusters.names_by_id(connection) if waiting else {}
        found: dict[str, int] = {}
        for cluster_id, count in waiting.items():
            label = cluster_label(names.get(cluster_id))
            found[label] = found.get(label, 0) + count
        return found

    def clock_ahead(self) -> float | None:
        """By how many seconds the database's clock is ahead of the service's; None where it has none of its own.

        Raises:
            UnavailableError: the database cannot be reached.
        """
        with self._authority.database.read() as connection:
            before = self._authority.clock()
            theirs = monitoring.server_time(connection)
            after = self._authority.clock()
        return (theirs - before - (after - before) / 2).total_seconds() if theirs else None

    def _learn(self, connection: Connection, found: Sequence[TrustedGeneration]) -> None:
        new = [generation.id for generation in found if generation.id not in self._ends]
        for key, der in monitoring.certificates_of(connection, new).items():
            certificate = from_der(der)
            end = certificate.not_valid_after_utc
            self._ends[key] = (end, end - certificate.not_valid_before_utc)


def _earliest(
    times: Iterable[tuple[str, str, datetime, datetime]],
) -> dict[tuple[str, str], tuple[datetime, datetime]]:
    found: dict[tuple[str, str], tuple[datetime, datetime]] = {}
    for cluster, name, this_update, next_update in times:
        series = (cluster_label(cluster), name)
        known = found.get(series, (this_update, next_update))
        found[series] = (min(known[0], this_update), min(known[1], next_update))
    return found


@dataclass(frozen=True, slots=True, eq=False)  # a registry asks for its hash
class StandingCollector(Collector):
    """One scrape's view: what was found last, and what this process knows by itself.

    Attributes:
        labels: of the build: version, Python, database.
        now: the service's time.
        is_up: whether the database answered lately; what stands is shown from memory all the same.
        ahead: by how many seconds the database's clock is ahead; None where it is not known.
    """

    labels: dict[str, str]
    now: datetime
    standing: Standing
    is_up: bool
    ahead: float | None = None

    def collect(self) -> Iterator[Metric]:
        """The samples."""
        yield from self._service()
        yield from _authorities(self.standing)
        yield from _revocation(self.standing)
        yield from _certificates(self.standing)

    def _service(self) -> Iterator[Metric]:
        yield _gauge("trivet_build_info", "What is running; always 1.", [(self.labels, 1)])
        yield _gauge("trivet_clock_timestamp_seconds", "The service's time.", [({}, self.now.timestamp())])
        yield _gauge("trivet_database_up", "Whether the database answered.", [({}, float(self.is_up))])
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        yield _gauge("process_max_fds", "How many files a worker may open.", [({}, files)])
        if self.ahead is not None:
            text = "By how much the database's clock is ahead of the service's."
            yield _gauge("trivet_database_clock_ahead_seconds", text, [({}, self.ahead)])


def _authorities(standing: Standing) -> Iterator[Metric]:
    yield _gauge("trivet_clusters", "Clusters.", [({}, standing.clusters)])
    roots = [(dict(zip(_LABELS, key, strict=True)), *first) for key, first in standing.ends.items()]
    yield _gauge(
        "trivet_ca_not_after_timestamp_seconds",
        "End of a CA certificate that is in a trust bundle.",
        [(labels, end.timestamp()) for labels, end, _ in roots],
    )
    yield _gauge(
        "trivet_ca_lifetime_seconds",
        "Lifetime of that CA certificate.",
        [(labels, lifetime.total_seconds()) for labels, _, lifetime in roots],
    )
    yield _gauge(
        "trivet_audit_checkpoint_timestamp_seconds",
        "When the last checkpoint sealed what was decided until then.",
        [] if standing.sealed is None else [({}, standing.sealed.timestamp())],
    )


def _revocation(standing: Standing) -> Iterator[Metric]:
    for place, (name, text) in enumerate(_CRL_TIMES):
        samples = [
            (dict(zip(_LABELS, key, strict=False)), times[place].timestamp())
            for key, times in standing.crls.items()
        ]
        yield _gauge(name, text, samples)
    responder = standing.responder
    yield _gauge(
        "trivet_ocsp_responder_not_after_timestamp_seconds",
        "End of the OCSP responder's certificate that ends first.",
        [] if responder is None else [({}, responder[0].timestamp())],
    )
    yield _gauge(
        "trivet_ocsp_responder_lifetime_seconds",
        "Lifetime of that certificate.",
        [] if responder is None else [({}, responder[1].total_seconds())],
    )


def _certificates(standing: Standing) -> Iterator[Metric]:
    yield _gauge(
        "trivet_outage_budget_end_timestamp_seconds",
        "When a cluster's first certificate ends if contact with Trivet is lost now.",
        standing.budgets,
    )
    yield _gauge(
        "trivet_outage_budget_lifetime_seconds",
        "Lifetime of that certificate.",
        standing.budget_lifetimes,
    )
    yield _gauge(
        "trivet_certificate_requests_pending",
        "Certificate requests that wait for an approver.",
        [({"cluster": cluster}, count) for cluster, count in standing.pending.items()],
    )


_LABELS: Final = ("cluster", "authority", "state")
_CRL_TIMES: Final = (
    ("trivet_crl_this_update_timestamp_seconds", "thisUpdate of an authority's oldest CRL or shard."),
    (
        "trivet_crl_next_update_timestamp_seconds",
        "nextUpdate of an authority's CRL or shard that ends first.",
    ),
)


def _gauge(name: str, text: str, samples: Iterable[tuple[dict[str, str], float]]) -> Metric:
    family = GaugeMetricFamily(name, text)
    for labels, value in samples:
        family.add_sample(name, labels, value)
    return family
