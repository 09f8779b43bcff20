"""Lists at one version, and what has changed since: how a Kubernetes client keeps up with RenewRevocations."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from trivet.authority.access import Permission, Role, authorized_cluster
from trivet.authority.preview import scope_cluster
from trivet.authority.revocations.drafts import image_of
from trivet.store import changes, revocations
from trivet.store.changes import RENEW_REVOCATIONS, Change, ObjectImage
from trivet.store.clusters import ALL_CLUSTERS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from sqlalchemy import Connection

    from trivet.authority.access import Requester
    from trivet.authority.context import Authority
    from trivet.store.clusters import Cluster

CHANGES_KEPT: Final = timedelta(minutes=10)  # as long as kube-apiserver lets etcd keep them, twice
MOST_CHANGES: Final = 5_000
_CHANGES_READ: Final = 500
_TRIES: Final = 5


@dataclass(frozen=True, slots=True)
class Listing:
    """Some of the objects of a scope.

    Attributes:
        version: of the scope; every change after it will be among the changes after it.
        remaining: how many objects follow.
    """

    version: int
    items: Sequence[ObjectImage]
    remaining: int


@dataclass(frozen=True, slots=True)
class News:
    """The next changes of a scope.

    Attributes:
        changes: in their order; maybe not yet all.
        version: up to which they tell all.
        lost: the log no longer has all that changed.
    """

    changes: Sequence[Change]
    version: int
    lost: bool = False


def list_objects(
    authority: Authority,
    requester: Requester,
    cluster: str | None,
    namespace: str | None,
    after: tuple[str, str] | None,
    limit: int,
) -> Listing:
    """Standing RenewRevocations of a scope, or of one namespace of it, by namespace and name."""
    with authority.database.read() as connection:
        scope = _readable_scope(authority, connection, requester, cluster)
        for _ in range(_TRIES):
            version = _version(connection, scope)
            found = revocations.page(connection, scope, after, limit, namespace)
            items = [image_of(stored) for stored in found]
            last = (found[-1].namespace, found[-1].name) if found else after
            remaining = revocations.count(connection, scope, last, namespace) if len(found) == limit else 0
            # On PostgreSQL each statement has its own snapshot: nothing may have changed in between.
            if _version(connection, scope) == version:
                break
        return Listing(version, items, remaining)


def list_namespaces(authority: Authority, requester: Requester, cluster: str | None) -> list[str]:
    """The namespaces that hold a RenewRevocation."""
    with authority.database.read() as connection:
        return revocations.namespaces(connection, _readable_scope(authority, connection, requester, cluster))


def watched_scope(authority: Authority, requester: Requester, cluster: str | None) -> tuple[UUID, int]:
    """The scope whose changes the requester may read, and the version that it is at."""
    with authority.database.read() as connection:
        scope = _readable_scope(authority, connection, requester, cluster)
        return scope, _version(connection, scope)


def changes_after(authority: Authority, scope: UUID, version: int) -> News:
    """What has changed in a scope after a version; for whoever has passed `watched_scope`."""
    with authority.database.read() as connection:
        present = _version(connection, scope)
        found = changes.after(connection, scope, RENEW_REVOCATIONS, version, _CHANGES_READ)
        if not found:
            return News((), max(version, present), lost=present > version)
        # Every version has its change: where the first is not the next one, the log was cut.
        return News(found, found[-1].version, lost=found[0].version != version + 1)


def news_of(authority: Authority, places: Mapping[UUID, int]) -> dict[UUID, News]:
    """What has changed in each scope after its version; scopes in which nothing has are left out."""
    with authority.database.read() as connection:
        present = revocations.versions(connection, places)
    return {
        scope: changes_after(authority, scope, version)
        for scope, version in places.items()
        if present.get(scope, version) != version
    }


def known_cluster(authority: Authority, requester: Requester, cluster: str) -> Cluster:
    """The cluster of that name, for whoever may know of it.

    Raises:
        NotFoundError, AccessDeniedError, ExpiredError, RevokedError: as `access.authorized_cluster`.
    """
    # Whoever has a bootstrap token may read no cluster, but is known in its own.
    permission = Permission.SUBMIT_REQUEST if requester.role is Role.BOOTSTRAP else Permission.READ_CLUSTER
    with authority.database.read() as connection:
        return authorized_cluster(connection, requester, permission, cluster, authority.clock())


def forget_changes(authority: Authority) -> int:
    """Cut the log; watches that are further behind are told to list again. Counts what was cut."""
    with authority.database.write() as connection:
        return changes.forget(connection, authority.clock() - CHANGES_KEPT, MOST_CHANGES)


def _readable_scope(
    authority: Authority, connection: Connection, requester: Requester, cluster: str | None
) -> UUID:
    now = authority.clock()
    found = scope_cluster(connection, requester, Permission.READ_REVOCATION, cluster, now)
    return found.id if found else ALL_CLUSTERS


def _version(connection: Connection, scope: UUID) -> int:
    return revocations.versions(connection, {scope})[scope]
