"""What a process knows of the revoked certificates of clusters, in memory: as of when, and how it keeps up.

All that marks a certificate as revoked takes a new version of the revocation set of its cluster or of all clusters in
the same transaction (`store.status`). So a view that covers a version is right while the version stands, and asking for
the versions of all clusters, some times a second, is one small query. Where a version is new, what it marked is read.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trivet.pki.fingerprints import KEPT_AFTER_END, Fingerprints
from trivet.store import fingerprints, status
from trivet.store.clusters import ALL_CLUSTERS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from uuid import UUID

    from sqlalchemy import Connection

    from trivet.authority.context import Authority
    from trivet.store.clusters import Cluster
    from trivet.store.fingerprints import RevokedCertificate

    Monotonic = Callable[[], float]


@dataclass(slots=True)
class RevokedView:
    """The revoked certificates of a cluster.

    Attributes:
        cluster: whose.
        own_version: of the cluster's revocation set that is covered.
        global_version: of the set of all clusters.
        as_of: seconds of a monotonic clock: what was committed before then is known.
    """

    cluster: Cluster
    own_version: int
    global_version: int
    as_of: float
    fingerprints: Fingerprints = field(default_factory=Fingerprints)

    def covers(self, versions: Mapping[UUID, int]) -> bool:
        """Whether nothing was marked beyond what is known here."""
        return (self.own_version, self.global_version) == _wanted(self, versions)

    def add(self, revoked: RevokedCertificate) -> None:
        """Hold what is revoked."""
        self.fingerprints.add(hashlib.sha256(revoked.der).digest(), revoked.not_after)


@dataclass(frozen=True, slots=True)
class Behind:
    """What was found to be out of date, and the versions that it is to cover; both are as of `as_of`."""

    views: Sequence[RevokedView]
    versions: Mapping[UUID, int]
    as_of: float


def open_view(authority: Authority, cluster: Cluster, monotonic: Monotonic) -> RevokedView:
    """Read all that is revoked in a cluster.

    Raises:
        UnavailableError: the database cannot be reached.
    """
    as_of = monotonic()
    with authority.database.read() as connection:
        # Before the certificates: what is marked meanwhile is read again, not missed.
        versions = status.versions(connection, (cluster.id, ALL_CLUSTERS))
        view = RevokedView(cluster, versions.get(cluster.id, 0), versions.get(ALL_CLUSTERS, 0), as_of)
        for part in fingerprints.revoked(connection, cluster.id, authority.clock() - KEPT_AFTER_END):
            for revoked in part:
                view.add(revoked)
    return view


def look(authority: Authority, views: Collection[RevokedView], monotonic: Monotonic) -> Behind:
    """Ask for the versions; views that cover them are as of now, the others are returned.

    Raises:
        UnavailableError: the database cannot be reached.
    """
    as_of, now = monotonic(), authority.clock()
    with authority.database.read() as connection:
        versions = status.versions(connection, [*(view.cluster.id for view in views), ALL_CLUSTERS])
    behind = []
    for view in views:
        view.fingerprints.forget_ended(now)
        if view.covers(versions):
            view.as_of = max(view.as_of, as_of)
        else:
            behind.append(view)
    return Behind(behind, versions, as_of)


def catch_up(authority: Authority, behind: Behind, monotonic: Monotonic) -> None:
    """Read what was marked since, and let the views cover it.

    Raises:
        UnavailableError: the database cannot be reached.
    """
    for view in behind.views:
        if _went_back(view, behind.versions):
            _reopen(authority, view, monotonic)
    rest = [view for view in behind.views if not view.covers(behind.versions)]
    if not rest:
        return
    by_cluster = {view.cluster.id: view for view in rest}
    with authority.database.read() as connection:
        for scope, version in _spans(rest, behind.versions).items():
            _read_marks(authority, connection, scope, version, by_cluster)
    for view in rest:
        view.own_version, view.global_version = _wanted(view, behind.versions)
        view.as_of = max(view.as_of, behind.as_of)


def _spans(views: Sequence[RevokedView], versions: Mapping[UUID, int]) -> dict[UUID, int]:
    """The scopes that have new versions, and the version after which to read."""
    spans = {
        view.cluster.id: view.own_version
        for view in views
        if view.own_version != versions.get(view.cluster.id, 0)
    }
    # Read once for all: what a view knows already is added in vain.
    least = min(view.global_version for view in views)
    return spans | ({ALL_CLUSTERS: least} if least != versions.get(ALL_CLUSTERS, 0) else {})


def _read_marks(
    authority: Authority,
    connection: Connection,
    scope: UUID,
    version: int,
    by_cluster: Mapping[UUID, RevokedView],
) -> None:
    cutoff = authority.clock() - KEPT_AFTER_END
    for part in fingerprints.revoked_after(connection, scope, version, cutoff):
        for revoked in part:
            view = by_cluster.get(revoked.cluster_id) if revoked.cluster_id is not None else None
            if view is not None:
                view.add(revoked)


def _went_back(view: RevokedView, versions: Mapping[UUID, int]) -> bool:
    """Whether the database is older than what is known: a backup was put back, and its versions mean something else."""
    own_version, global_version = _wanted(view, versions)
    return own_version < view.own_version or global_version < view.global_version


def _reopen(authority: Authority, view: RevokedView, monotonic: Monotonic) -> None:
    fresh = open_view(authority, view.cluster, monotonic)
    view.fingerprints = fresh.fingerprints
    view.own_version, view.global_version = fresh.own_version, fresh.global_version
    view.as_of = fresh.as_of


def _wanted(view: RevokedView, versions: Mapping[UUID, int]) -> tuple[int, int]:
    return versions.get(view.cluster.id, 0), versions.get(ALL_CLUSTERS, 0)
