"""Lists of RenewRevocations at one version, and who may follow what changes after it (`authority.follow`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trivet.authority.access import Permission, Role, authorized_cluster
from trivet.authority.follow import Listing, View
from trivet.authority.preview import scope_cluster
from trivet.authority.revocations.drafts import image_of
from trivet.store import revocations
from trivet.store.changes import RENEW_REVOCATIONS, Place
from trivet.store.clusters import ALL_CLUSTERS

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy import Connection

    from trivet.authority.access import Requester
    from trivet.authority.context import Authority
    from trivet.store.clusters import Cluster

_TRIES: Final = 5


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


def view(authority: Authority, requester: Requester, cluster: str | None) -> View:
    """The place whose changes the requester may read, and the version that it is at."""
    with authority.database.read() as connection:
        scope = _readable_scope(authority, connection, requester, cluster)
        return View(Place(scope, RENEW_REVOCATIONS), _version(connection, scope))


def known_cluster(authority: Authority, requester: Requester, cluster: str) -> Cluster:
    """The cluster of that name, for whoever may know of it.

    Raises:
        NotFoundError, AccessDeniedError, ExpiredError, RevokedError: as `access.authorized_cluster`.
    """
    # Whoever has a bootstrap token may read no cluster, but is known in its own.
    permission = Permission.SUBMIT_REQUEST if requester.role is Role.BOOTSTRAP else Permission.READ_CLUSTER
    with authority.database.read() as connection:
        return authorized_cluster(connection, requester, permission, cluster, authority.clock())


def _readable_scope(
    authority: Authority, connection: Connection, requester: Requester, cluster: str | None
) -> UUID:
    now = authority.clock()
    found = scope_cluster(connection, requester, Permission.READ_REVOCATION, cluster, now)
    return found.id if found else ALL_CLUSTERS


def _version(connection: Connection, scope: UUID) -> int:
    return revocations.versions(connection, {scope})[scope]
