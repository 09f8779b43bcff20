"""What a process knows of the revoked certificates of clusters, in memory: as of when, and how it keeps up.

All that marks a certificate as revoked takes a new version of the revocation set of its cluster or of all clusters in
the same transaction (`store.status`). So a view that covers a version is right while the version stands, and asking for
the versions of all clusters, some times a second, is one small query. Where a version is new, what it marked is read:
little of it into the view that there is, else all that is revoked in the cluster, anew.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from trivet.pki.fingerprints import KEPT_AFTER_END, Fingerprints
from trivet.store import fingerprints, status
from trivet.store.clusters import ALL_CLUSTERS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection

    from trivet.authority.context import Authority
    from trivet.store.clusters import Cluster
    from trivet.store.fingerprints import RevokedCertificate

    Monotonic = Callable[[], float]


LITTLE: Final = 2000
"""So many marks are read within some 30 ms."""


@dataclass(slots=True, eq=False)
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

    def covers(self, versions: Mapping[UUID, int], now: datetime) -> bool:
        """Whether nothing was marked beyond what is known here, and none of it is missing."""
        return (self.own_version, self.global_version) == _wanted(self, versions) and (
            not self.fingerprints.lack(now)
        )

    def add(self, revoked: RevokedCertificate) -> None:
        """Hold what is revoked."""
        self.fingerprints.add(hashlib.sha256(revoked.der).digest(), revoked.not_after)


@dataclass(frozen=True, slots=True)
class Behind:
    """What was found to be out of date, and the versions that it is to cover; both are as of `as_of`, at `now`."""

    views: Sequence[RevokedView]
    versions: Mapping[UUID, int]
    as_of: float
    now: datetime


def open_view(authority: Authority, cluster: Cluster, monotonic: Monotonic) -> RevokedView:
    """Read all that is revoked in a cluster.

    Raises:
        UnavailableError: the database cannot be reached.
    """
    as_of, now = monotonic(), authority.clock()
    with authority.database.read() as connection:
        # Before the certificates: what is marked meanwhile is read again, not missed.
        versions = status.versions(connection, (cluster.id, ALL_CLUSTERS))
        view = RevokedView(cluster, versions.get(cluster.id, 0), versions.get(ALL_CLUSTERS, 0), as_of)
        view.fingerprints.forget_ended(now)  # they are not even read
        for part in fingerprints.revoked(connection, cluster.id, now - KEPT_AFTER_END):
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
        if view.covers(versions, now):
            view.as_of = max(view.as_of, as_of)
        else:
            behind.append(view)
    return Behind(behind, versions, as_of, now)


def catch_up(authority: Authority, view: RevokedView, behind: Behind) -> bool:
    """Read what was marked since, if it is little, and let a view cover it.

    Returns:
        False where the view does not cover it, and is to be reopened: much was marked, or reading on would not do.

    Raises:
        UnavailableError: the database cannot be reached.
    """
    view.fingerprints.forget_ended(behind.now)
    if _went_back(view, behind.versions) or view.fingerprints.lack(behind.now):
        return False
    left = LITTLE
    with authority.database.read() as connection:
        for part in _marked(connection, view, behind):
            left -= len(part)
            if left < 0:
                return False
            for revoked in part:
                if revoked.cluster_id == view.cluster.id:
                    view.add(revoked)
    view.own_version, view.global_version = _wanted(view, behind.versions)
    view.as_of = max(view.as_of, behind.as_of)
    return True


def reopen(authority: Authority, view: RevokedView, monotonic: Monotonic) -> None:
    """Read all that is revoked in its cluster once more.

    Raises:
        UnavailableError: the database cannot be reached.
    """
    fresh = open_view(authority, view.cluster, monotonic)
    view.fingerprints = fresh.fingerprints
    view.own_version, view.global_version = fresh.own_version, fresh.global_version
    view.as_of = fresh.as_of


def _marked(
    connection: Connection, view: RevokedView, behind: Behind
) -> Iterator[Sequence[RevokedCertificate]]:
    """What the versions marked that the view does not cover, of any cluster."""
    known = {view.cluster.id: view.own_version, ALL_CLUSTERS: view.global_version}
    for scope, version in known.items():
        if version != behind.versions.get(scope, 0):
            yield from fingerprints.revoked_after(connection, scope, version, behind.now - KEPT_AFTER_END)


def _went_back(view: RevokedView, versions: Mapping[UUID, int]) -> bool:
    """Whether the database is older than what is known: a backup was put back, and its versions mean something else."""
    own_version, global_version = _wanted(view, versions)
    return own_version < view.own_version or global_version < view.global_version


def _wanted(view: RevokedView, versions: Mapping[UUID, int]) -> tuple[int, int]:
    return versions.get(view.cluster.id, 0), versions.get(ALL_CLUSTERS, 0)
