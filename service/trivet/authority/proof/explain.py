"""Explain why a certificate was issued or a request refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trivet.authority.access import Permission, Requester, authorize, authorized_cluster
from trivet.authority.search import readable_certificate
from trivet.pki.errors import NotFoundError
from trivet.store import decisions

if TYPE_CHECKING:
    from uuid import UUID

    from trivet.authority.context import Authority
    from trivet.store.decisions import Decision


def explain_certificate(authority: Authority, requester: Requester, cluster: str, serial: str) -> Decision:
    """The decision behind a certificate.

    Raises:
        NotFoundError: there is no such certificate.
    """
    with authority.database.read() as connection:
        now = authority.clock()
        found = authorized_cluster(connection, requester, Permission.READ_DECISION, cluster, now)
        stored = readable_certificate(connection, requester, found, serial)
        decision = decisions.get(connection, stored.decision_id)
    if decision is None:
        message = f"the decision behind {stored.serial} is no longer kept"
        raise NotFoundError(message)
    return decision


def explain_decision(authority: Authority, requester: Requester, decision_id: UUID) -> Decision:
    """A decision by its id, as a refusal names it.

    Raises:
        NotFoundError: there is none of that id, or it was made in another cluster.
    """
    with authority.database.read() as connection:
        authorize(requester, Permission.READ_DECISION, requester.cluster_id, authority.clock())
        decision = decisions.get(connection, decision_id)
    if decision is None or requester.cluster_id not in {None, decision.cluster_id}:
        message = f"there is no decision {decision_id}"
        raise NotFoundError(message)
    return decision
