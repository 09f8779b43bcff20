"""Lists of certificate requests at one version, and who may follow what changes after it (`authority.follow`)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from trivet.authority.access import Permission, authorized_cluster
from trivet.authority.approval.images import images_of, place_of
from trivet.authority.approval.person import only_own
from trivet.authority.follow import MOST_COUNTED, Listing, View
from trivet.pki.names import is_plain
from trivet.store import counters, requests

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy import Connection

    from trivet.authority.access import Requester
    from trivet.authority.context import Authority
    from trivet.store.changes import ObjectImage
    from trivet.store.requests import RequestFilter, StoredRequest

_TRIES: Final = 5


def list_objects(
    authority: Authority,
    requester: Requester,
    cluster: str,
    wanted: RequestFilter,
    after: str | None,
    limit: int,
) -> Listing:
    """Requests of a cluster by their names; nodes and bootstrap tokens see their own."""
    with authority.database.read() as connection:
        now = authority.clock()
        found = authorized_cluster(connection, requester, Permission.READ_REQUEST, cluster, now)
        own = only_own(requester)
        wanted = replace(wanted, username=own) if own is not None else wanted
        if not is_plain((wanted.name or "") + (wanted.profile or "")):
            # PostgreSQL refuses to compare with what it cannot hold.
            return Listing(_version(connection, found.id), (), 0)
        for _ in range(_TRIES):
            version = _version(connection, found.id)
            page = requests.page_by_name(connection, found.id, wanted, after, limit)
            last = page[-1].name if page else after
            full = len(page) == limit
            most = MOST_COUNTED + 1
            remaining = requests.count_by_name(connection, found.id, wanted, last, most) if full else 0
            # On PostgreSQL each statement has its own snapshot: nothing may have changed in between.
            if _version(connection, found.id) == version:
                break
        return Listing(version, images_of(connection, page), remaining)


def image(authority: Authority, stored: StoredRequest) -> ObjectImage:
    """A request that the requester has seen, with its certificate."""
    with authority.database.read() as connection:
        return images_of(connection, [stored])[0]


def view(authority: Authority, requester: Requester, cluster: str) -> View:
    """The place whose changes the requester may read, whose requests of it, and the version that it is at."""
    with authority.database.read() as connection:
        now = authority.clock()
        found = authorized_cluster(connection, requester, Permission.READ_REQUEST, cluster, now)
        return View(place_of(found.id), _version(connection, found.id), only_own(requester))


def _version(connection: Connection, cluster_id: UUID) -> int:
    return counters.values(connection, [cluster_id], "requests")[cluster_id]
