"""From an approved request to its certificate: what is handed to `authority.issue`, the one way to a certificate."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from trivet.authority.access import Requester, Role
from trivet.authority.approval import steps as request_steps
from trivet.authority.approval.images import log_changes
from trivet.authority.issuance.application import Issuance
from trivet.authority.issue import issue
from trivet.authority.metrics import measures
from trivet.pki.errors import NotFoundError, Refusal, UnavailableError
from trivet.store import certificates, clusters, counters, requests
from trivet.store.changes import ChangeKind
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
    try:
        requester, wish = wish_for(authority, stored)
    except NotFoundError as refusal:
        _fail(authority, stored, refusal)
    else:
        with suppress(Refusal):  # it stands on the request
            issue(authority, requester, wish)
    return as_it_stands(authority, stored)


def _fail(authority: Authority, stored: StoredRequest, refusal: Refusal) -> None:
    """Note that a request can never be issued for, unless somebody else was faster."""
    with authority.database.write() as connection:
        counters.hold(connection, stored.cluster_id, "requests")
        found = requests.take(connection, [stored.id]).get(stored.id)
        cluster = clusters.with_id(connection, stored.cluster_id)
        if found is None or found.state is not RequestState.APPROVED:
            return
        version, now = counters.advance(connection, stored.cluster_id, "requests"), authority.clock()
        failed = request_steps.failed(found, refusal.slug, refusal.detail, None, version, now)
        requests.change(connection, failed)
        log_changes(connection, ChangeKind.MODIFIED, [failed], now)
    if cluster is not None:
        measures.request_changed(cluster, failed.profile, failed.state)


def fulfil_left_over(authority: Authority) -> int:
    """Issue for requests that were approved and then left alone, as where a process ended in between; count them.

    Raises:
        UnavailableError: the database cannot be reached, or some could not be issued; the others were.
    """
    moment = authority.clock() - _GRACE
    done, left, after = 0, 0, None
    while True:
        with authority.database.read() as connection:
            found = requests.approved_before(connection, moment, after, _AT_ONCE)
        for stored in found:
            left += fulfil(authority, stored).state is RequestState.APPROVED
        done += len(found)
        if len(found) < _AT_ONCE:
            break
        after = (found[-1].decided_at or moment, found[-1].id)
    if left:
        message = f"{left} approved certificate requests could not be issued"
        raise UnavailableError(message)
    return done
