"""The identities of a cluster: what its nodes hold, each by its newest certificate, expired and revoked ones included.

An identity is a (cluster, node, profile, names). A renewal supersedes what it renewed. Where an identity was issued
anew instead, the newer certificate counts. An identity that an administrator gave up (its node was removed) is kept
apart; once it renews after all, it is one again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from trivet.authority import record
from trivet.authority.access import Permission, authorized_cluster
from trivet.pki.errors import NotFoundError
from trivet.pki.kubernetes import ALL_PROFILES, RESPONDER_PROFILES
from trivet.pki.pem import from_der
from trivet.pki.repair import Stage, stage_of
from trivet.pki.subjects import names_of
from trivet.store import identities

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection

    from trivet.authority.access import Requester
    from trivet.authority.context import Authority
    from trivet.store.clusters import Cluster
    from trivet.store.identities import CurrentCertificate

MOST: Final = 50_000
"""How many certificates of a cluster are looked at: Kubernetes has 5,000 nodes at most, with a few identities each."""

_SECOND: Final = timedelta(seconds=1)
_OWN: Final = frozenset(profile.name for profile in RESPONDER_PROFILES.values())
"""Trivet's own certificates in a cluster, which it looks after itself: they are nobody's identity."""
USERS: Final = "kube-apiserver-client"
"""The profile of people and programs; where no node is noted nobody waits for their certificates."""


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a cluster holds.

    Attributes:
        waited_for: the identities that a repair waits for and that an outage ends, newest first.
        others: of users, who come and go.
        abandoned: those that were given up.
        is_complete: False where there are more than are looked at.
    """

    waited_for: tuple[CurrentCertificate, ...]
    others: tuple[CurrentCertificate, ...] = ()
    abandoned: tuple[CurrentCertificate, ...] = ()
    is_complete: bool = True


def holdings(
    connection: Connection, cluster_id: UUID, nodes: Collection[str] | None = None, most: int = MOST
) -> Holdings:
    """Read what a cluster (or some of its nodes) holds now."""
    found = list(identities.each(connection, cluster_id, most, nodes))
    given_up = identities.abandoned(connection, cluster_id)
    waited_for, others, abandoned = [], [], []
    for one in newest(connection, found):
        if one.profile in _OWN:
            continue
        if one.id in given_up:
            abandoned.append(one)
        elif one.profile == USERS and one.node is None:
            others.append(one)
        else:
            waited_for.append(one)
    return Holdings(tuple(waited_for), tuple(others), tuple(abandoned), len(found) < most)


def newest(connection: Connection, found: Iterable[CurrentCertificate]) -> list[CurrentCertificate]:
    """The newest of each identity, in the order given (which is newest first)."""
    ordered = list(found)
    alike: dict[tuple[str, str | None, str], list[CurrentCertificate]] = {}
    for one in ordered:
        alike.setdefault((one.profile, one.node, one.common_name), []).append(one)
    # Only where there are several their names have to be read, which are in the DER.
    several = [one for group in alike.values() if len(group) > 1 for one in group]
    names = {
        key: _names(der) for key, der in identities.ders(connection, [one.id for one in several]).items()
    }
    kept: set[UUID] = set()
    for group in alike.values():
        seen: set[object] = set()
        for one in group:
            told = names.get(one.id)
            if told not in seen:
                seen.add(told)
                kept.add(one.id)
    return [one for one in ordered if one.id in kept]


def _names(der: bytes) -> tuple[frozenset[object], ...]:
    names = names_of(from_der(der))
    return frozenset(names.organizations), frozenset(names.dns_names), frozenset(names.ip_addresses)


def is_fresh(one: CurrentCertificate, now: datetime) -> bool:
    """Whether an identity needs nothing: its certificate is in force."""
    return one.revoked_at is None and not has_expired(one.not_after, now)


def has_expired(not_after: datetime, now: datetime) -> bool:
    """Whether notAfter has passed; its whole second belongs to the validity."""
    return now >= not_after + _SECOND


def stage(one: CurrentCertificate) -> Stage:
    """The stage of repair that an identity belongs to."""
    profile = ALL_PROFILES.get(one.profile)
    return stage_of(profile) if profile else Stage.REST


def list_identities(
    authority: Authority, requester: Requester, cluster: str, node: str | None = None
) -> tuple[Cluster, Holdings]:
    """What a cluster, or one of its nodes, holds now.

    Raises:
        NotFoundError: there is no such cluster.
    """
    with authority.database.read() as connection:
        found = authorized_cluster(connection, requester, Permission.READ_REPAIR, cluster, authority.clock())
        return found, holdings(connection, found.id, None if node is None else {node})


def abandon(authority: Authority, requester: Requester, cluster: str, node: str) -> int:
    """Give up a node that was removed: nobody waits for what it holds. Says how many identities that were.

    It is no revocation: if the node comes back it may renew, and counts again.

    Raises:
        NotFoundError: the node holds nothing.
    """
    with authority.database.write() as connection:
        now = authority.clock()
        found = authorized_cluster(connection, requester, Permission.WRITE_REPAIR, cluster, now)
        held = holdings(connection, found.id, {node})
        if not held.waited_for and not held.abandoned:
            message = f"the node {node[:80]!r} of the cluster {found.name} holds no certificate that is kept"
            raise NotFoundError(message)
        identities.abandon(connection, found.id, held.waited_for, now, requester.name)
        given_up = len(held.waited_for)
        record.change(
            authority, connection, requester, "node.abandon", node, found.id, {"identities": given_up}
        )
    return given_up


def take_back(authority: Authority, requester: Requester, cluster: str, node: str) -> int:
    """Wait for a node again that was given up. Says for how many identities.

    Raises:
        NotFoundError: nothing of the node was given up.
    """
    with authority.database.write() as connection:
        now = authority.clock()
        found = authorized_cluster(connection, requester, Permission.WRITE_REPAIR, cluster, now)
        given_up = holdings(connection, found.id, {node}).abandoned
        if not given_up:
            message = f"nothing of the node {node[:80]!r} of the cluster {found.name} was given up"
            raise NotFoundError(message)
        identities.take_back(connection, found.id, {one.id for one in given_up})
        details = {"identities": len(given_up)}
        record.change(authority, connection, requester, "node.take-back", node, found.id, details)
    return len(given_up)
