"""Ask a whole cluster to renew early, before it is shut down for a while; and see how far it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from uuid import UUID

from trivet.authority import once, record
from trivet.authority.access import Permission, authorized_cluster
from trivet.authority.renewals.identities import holdings
from trivet.authority.renewals.suggest import renewal_window
from trivet.pki.errors import Fault, InvalidError, NotFoundError
from trivet.store import certificates, renewals
from trivet.store.renewals import StoredEarlyRenewal

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from trivet.authority.access import Requester
    from trivet.authority.context import Authority
    from trivet.store.identities import CurrentCertificate

LONGEST: Final = timedelta(days=4)
"""The longest time to spread over: by then all have renewed anyway."""

_MOST_LATE: Final = 500


@dataclass(frozen=True, slots=True)
class LateIdentity:
    """An identity that has not renewed yet, and since when it should have; None where its time has not come."""

    held: CurrentCertificate
    since: datetime | None


@dataclass(frozen=True, slots=True)
class RenewalProgress:
    """How far a cluster is.

    Attributes:
        total: how many identities are waited for.
        fresh: how many got a certificate since.
        late: those that did not, the longest overdue first; at most 500.
    """

    wish: StoredEarlyRenewal
    total: int
    fresh: int
    late: tuple[LateIdentity, ...]


def ask_cluster(
    authority: Authority,
    requester: Requester,
    cluster: str,
    over: timedelta,
    idempotency_key: str | None = None,
) -> RenewalProgress:
    """Give what the cluster's certificates issued until now windows that are spread over a time from now on.

    Raises:
        NotFoundError: there is no such cluster.
        InvalidError: the time is negative, or longer than four days.
    """
    if not timedelta(0) <= over <= LONGEST:
        message = f"the time to spread over is up to {LONGEST.days} days"
        raise InvalidError(message, Fault("/overSeconds", message))
    with authority.database.write() as connection:
        now = authority.clock()
        found = authorized_cluster(connection, requester, Permission.ASK_RENEWAL, cluster, now)
        wish = StoredEarlyRenewal(authority.new_id(now), found.id, now, now + over, requester.name)
        asked = once.fingerprint("cluster.renew", cluster, over)
        earlier = once.take(connection, requester, idempotency_key, asked, str(wish.id), now)
        if earlier is not None:
            return _progress(connection, _found(connection, found.id, UUID(earlier)), now)
        renewals.add(connection, wish)
        details = {"until": wish.ends_at.isoformat()}
        record.change(authority, connection, requester, "cluster.renew", str(wish.id), found.id, details)
        return _progress(connection, wish, now)


def renewal_progress(
    authority: Authority, requester: Requester, cluster: str, wish_id: UUID | None = None
) -> RenewalProgress:
    """How far a cluster is with a wish, or with the last one.

    Raises:
        NotFoundError: there is no such wish, or none at all.
    """
    with authority.database.read() as connection:
        now = authority.clock()
        found = authorized_cluster(connection, requester, Permission.READ_REPAIR, cluster, now)
        if wish_id is not None:
            return _progress(connection, _found(connection, found.id, wish_id), now)
        latest = renewals.latest(connection, found.id)
        if not latest:
            message = (
                f"the cluster {found.name} was not asked to renew; trivet cluster renew {found.name} does"
            )
            raise NotFoundError(message)
        return _progress(connection, latest[0], now)


def list_wishes(
    authority: Authority, requester: Requester, cluster: str, before: UUID | None, limit: int
) -> list[StoredEarlyRenewal]:
    """The wishes about a cluster, newest first."""
    with authority.database.read() as connection:
        now = authority.clock()
        found = authorized_cluster(connection, requester, Permission.READ_REPAIR, cluster, now)
        return renewals.page(connection, found.id, before, limit)


def _found(connection: Connection, cluster_id: UUID, wish_id: UUID) -> StoredEarlyRenewal:
    wish = renewals.find(connection, cluster_id, wish_id)
    if wish is None:
        message = f"there is no early renewal {wish_id} of this cluster"
        raise NotFoundError(message)
    return wish


def _progress(connection: Connection, wish: StoredEarlyRenewal, now: datetime) -> RenewalProgress:
    held = holdings(connection, wish.cluster_id).waited_for
    old = [one for one in held if one.issued_at < wish.asked_at]
    stored = certificates.find_all(connection, [one.id for one in old[:_MOST_LATE]])
    late = []
    for one in old[:_MOST_LATE]:
        window = renewal_window(stored[one.id], [wish])
        late.append(LateIdentity(one, window.not_before if window.not_before <= now else None))
    late.sort(key=lambda one: (one.since is None, one.since or now, one.held.serial))
    return RenewalProgress(wish, len(held), len(held) - len(old), tuple(late))
