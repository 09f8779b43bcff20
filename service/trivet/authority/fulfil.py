"""From an approved request to its certificate: what is handed to `authority.issue`, the one way to a certificate."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from trivet.authority.access import Requester, Role
from trivet.authority.application import Issuance
from trivet.authority.issue import issue
from trivet.pki.errors import NotFoundError, Refusal, UnavailableError
from trivet.store import certificates, clusters, requests
from trivet.store.requests import RequestState

if TYPE_CHECKING:
    from trivet.authority.context import Authority
    from trivet.store.requests import StoredRequest

_GRACE: Final = timedelta(seconds=30)
_AT_ONCE: Final = 100


def wish_for(authority: Authority, stored: StoredRequest) -> tuple[Requester, Issuance]:
    """Who the certificate is issued to, and what; whether it was approved is looked at by the gate.

    Raises:
        NotFoundError: the cluster, or the certificate that vouches for the request, is no longer kept.
    """
    submitted = stored.submitted
    with authority.database.read() as connection:
        cluster = clusters.with_id(connection, stored.cluster_id)
        held = certificates.find_one(connection, submitted.voucher_id) if submitted.voucher_id else None
    if cluster is None or (submitted.voucher_id is not None and held is None):
        message = f"what vouches for the certificate request {stored.name} is no longer kept; submit it anew"
        raise NotFoundError(message)
    lifetime = timedelta(seconds=stored.expiration_seconds) if stored.expiration_seconds else None
    requester = Requester(submitted.requester, Role.APPROVED, stored.cluster_id, held)
    return requester, Issuance(
        cluster.name, stored.profile, stored.der, stored.node, lifetime, approved=stored.id
    )


def as_it_stands(authority: Authority, stored: StoredRequest) -> StoredRequest:
    """The request as the database has it now; as it was, where it was removed meanwhile."""
    with authority.database.read() as connection:
        found = requests.find(connection, stored.cluster_id, stored.name)
    return found if found is not None and found.id == stored.id else stored


def fulfil(authority: Authority, stored: StoredRequest) -> StoredRequest:
    """Issue for a request if it is approved, and give it as it is then: issued, failed, or (database away) approved."""
    if stored.state is not RequestState.APPROVED:
        return stored
    with suppress(Refusal):  # it stands on the request
        issue(authority, *wish_for(authority, stored))
    return as_it_stands(authority, stored)


def fulfil_left_over(authority: Authority) -> int:
    """Issue for requests that were approved and then left alone, as where a process ended in between; count them.

    Raises:
        UnavailableError: the database cannot be reached.
    """
    moment = authority.clock() - _GRACE
    with authority.database.read() as connection:
        found = requests.approved_before(connection, moment, _AT_ONCE)
    done = [fulfil(authority, stored) for stored in found]
    left = [stored for stored in done if stored.state is RequestState.APPROVED]
    if left:
        message = f"{len(left)} approved certificate requests could not be issued"
        raise UnavailableError(message)
    return len(done)
