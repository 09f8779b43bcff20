"""The outage budget: how long a cluster, and each of its nodes, survives if contact with Trivet is lost now.

It is the least time until notAfter over what they hold. A revoked certificate counts like any other: without contact
nobody learns that it was revoked, and with contact it cannot renew.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Final

from trivet.authority.access import Permission, authorized_cluster
from trivet.authority.metrics.measures import cluster_label, tells_clusters_apart
from trivet.authority.renewals.identities import holdings
from trivet.store import clusters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime, timedelta
    from uuid import UUID

    from trivet.authority.access import Requester
    from trivet.authority.context import Authority
    from trivet.store.identities import CurrentCertificate

_SLICE_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class NodeBudget:
    """When the first certificate of a node ends; `node` is None for what was noted without one."""

    node: str | None
    first: CurrentCertificate
    identities: int


@dataclass(frozen=True, slots=True)
class OutageBudget:
    """When the first certificate of a cluster ends.

    Attributes:
        now: the time that it is told from.
        first: the certificate that ends first; None where nothing is held.
        nodes: each node, the shortest budget first.
        abandoned: how many identities were given up, and are not counted.
    """

    now: datetime
    first: CurrentCertificate | None
    nodes: tuple[NodeBudget, ...]
    abandoned: int = 0


def outage_budget(authority: Authority, requester: Requester, cluster: str) -> OutageBudget:
    """Tell how long a cluster and its nodes survive without Trivet.

    Raises:
        NotFoundError: there is no such cluster.
    """
    with authority.database.read() as connection:
        now = authority.clock()
        found = authorized_cluster(connection, requester, Permission.READ_REPAIR, cluster, now)
        held = holdings(connection, found.id)
    nodes = _by_node(held.waited_for)
    return OutageBudget(now, nodes[0].first if nodes else None, nodes, len(held.abandoned))


def _by_node(held: Iterable[CurrentCertificate]) -> tuple[NodeBudget, ...]:
    groups: dict[str | None, list[CurrentCertificate]] = {}
    for one in held:
        groups.setdefault(one.node, []).append(one)
    found = [
        NodeBudget(node, min(group, key=lambda one: one.not_after), len(group))
        for node, group in groups.items()
    ]
    return tuple(sorted(found, key=lambda one: (one.first.not_after, one.node or "")))


class BudgetMonitor:
    """Looks at one cluster after the other for a scrape, a second at a time, and remembers what it found.

    Attributes:
        firsts: by the name of its cluster, the end of the certificate that ends first, and its lifetime.
    """

    def __init__(self, authority: Authority, clock: Callable[[], float] = monotonic) -> None:
        """Take the context, and what tells how long it takes; nothing is read yet."""
        self._authority = authority
        self._clock = clock
        self._todo: list[tuple[UUID, str]] = []
        self.firsts: dict[str, tuple[datetime, timedelta]] = {}

    def read(self) -> None:
        """Go on where the last reading stopped; not from two threads at once.

        Raises:
            UnavailableError: the database cannot be reached.
        """
        if not tells_clusters_apart():
            return
        until = self._clock() + _SLICE_SECONDS
        with self._authority.database.read() as connection:
            if not self._todo:
                self._begin(clusters.names_by_id(connection))
            while self._todo and self._clock() < until:
                cluster_id, name = self._todo.pop()
                self._note(name, holdings(connection, cluster_id).waited_for)

    def _begin(self, names: dict[UUID, str]) -> None:
        self._todo = list(names.items())
        known = set(names.values())
        self.firsts = {name: first for name, first in self.firsts.items() if name in known}

    def _note(self, name: str, held: Iterable[CurrentCertificate]) -> None:
        first = min(held, key=lambda one: one.not_after, default=None)
        if first is not None:
            self.firsts[name] = (first.not_after, first.not_after - first.issued_at)
        else:
            self.firsts.pop(name, None)

    def ends(self) -> list[tuple[dict[str, str], float]]:
        """For a scrape: when each cluster's first certificate ends."""
        return [
            ({"cluster": cluster_label(name)}, end.timestamp())
            for name, (end, _) in sorted(self.firsts.items())
        ]

    def lifetimes(self) -> list[tuple[dict[str, str], float]]:
        """For a scrape: how long that certificate lives in all."""
        return [
            ({"cluster": cluster_label(name)}, lifetime.total_seconds())
            for name, (_, lifetime) in sorted(self.firsts.items())
        ]
