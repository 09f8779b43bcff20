"""The gate of issuing for certificate requests: only what was approved, once, if it still may be.

It stands within the transaction that issues, after the revocation locks. A request whose approval by rule no longer
holds (its token was deleted, its node has a certificate meanwhile, its address was given to another) is refused like
any other application; the request is failed then, in the same transaction.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from trivet.authority.access import Role, check_granted_names
from trivet.authority.approval import steps as request_steps
from trivet.authority.approval.images import log_changes
from trivet.authority.approval.rules import assess, owned_by
from trivet.authority.approval.submit import subject_of
from trivet.authority.issuance.application import Issuance, require_request
from trivet.authority.issuance.case import IssuedCertificate
from trivet.authority.issuance.repeats import made_earlier
from trivet.authority.metrics import measures
from trivet.pki.errors import AccessDeniedError, ConflictError, NotFoundError, Refusal, UnavailableError
from trivet.store import counters, requests
from trivet.store.changes import ChangeKind
from trivet.store.requests import RequestState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection

    from trivet.authority.context import Authority
    from trivet.authority.issuance.case import Case
    from trivet.store.requests import StoredRequest

_log = logging.getLogger(__name__)

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class RequestGround:
    """The requests of a batch as they stand, nobody else's to change until the transaction ends.

    What the batch itself does is not in the database before its end, so it is noted here: of two cases that depend on
    each other the second waits for the next transaction.

    Attributes:
        requests: by their ids.
        admitted: ids of those that are issued for in this batch.
        newcomers: cluster and node of those that a bootstrap token lets in by rule in this batch.
    """

    requests: Mapping[UUID, StoredRequest] = field(default_factory=dict)
    admitted: set[UUID] = field(default_factory=set)
    newcomers: set[tuple[UUID, str | None]] = field(default_factory=set)


def read_ground(connection: Connection, cases: Iterable[Case]) -> RequestGround:
    """Read what the batch needs; where it issues for no request, read nothing."""
    asked = [case for case in cases if _request_id(case) is not None]
    if not asked:
        return RequestGround()
    # One after the other in a cluster: of two tokens for one node the second sees what the first was given.
    for cluster_id in sorted({case.cluster_id for case in asked if case.cluster_id is not None}):
        counters.hold(connection, cluster_id, "requests")
    return RequestGround(requests.take(connection, {each for case in asked if (each := _request_id(case))}))


def _request_id(case: Case) -> UUID | None:
    wish = case.application.wish
    return wish.approved if isinstance(wish, Issuance) else None


def admit(
    authority: Authority, connection: Connection, case: Case, ground: RequestGround, now: datetime
) -> None:
    """Let pass what was approved; and hold nodes that ask without a request to what they own.

    Raises:
        NotFoundError, ConflictError: the request is gone, or was not approved, or is done.
        AccessDeniedError: the approval is none, or the rule that approved it no longer does.
        RejectedIdentifierError: a node asks for more than the inventory grants to it.
        UnavailableError: the batch depends on another of its own cases; the request stays approved.
    """
    application, request_id = case.application, _request_id(case)
    if request_id is None:
        _check_direct(connection, case)
        return
    stored = ground.requests.get(request_id)
    if stored is not None and stored.state is RequestState.ISSUED and stored.certificate_id is not None:
        case.outcome = made_earlier(connection, stored.certificate_id)
        return
    _wait_for_other(ground.admitted, request_id)
    stored = _check_approval(authority, case, stored, now)
    if stored.decided_by is None or case.cluster is None:
        return
    case.within = f"the certificate request {stored.name}: {stored.reason}"
    if stored.decided_by.startswith(request_steps.RULE):
        _, request = require_request(application)
        subject = subject_of(connection, case.cluster, stored, request, now)
        verdict = assess(connection, subject, authority.policy, now)
        if verdict.rule is None:
            raise AccessDeniedError(f"a rule had approved this, and does no longer: {verdict.reason}")
        if stored.submitted.bootstrap_token is not None:
            _wait_for_other(ground.newcomers, (stored.cluster_id, stored.node))


def _wait_for_other(seen: set[_T], own: _T) -> None:
    if own in seen:
        message = "another request of this batch comes first; this one is decided soon after"
        raise UnavailableError(message)
    seen.add(own)


def _check_direct(connection: Connection, case: Case) -> None:
    requester, drafted = case.application.requester, case.require_draft()
    if requester.role is Role.APPROVED:
        message = "nothing was approved"
        raise AccessDeniedError(message)
    is_of_host = bool(drafted.names.dns_names or drafted.names.ip_addresses)
    if requester.role is Role.HOLDER and is_of_host and case.cluster is not None:
        owned = owned_by(connection, case.cluster, drafted.node or "")
        check_granted_names(requester, drafted.names, owned)


def _check_approval(
    authority: Authority, case: Case, stored: StoredRequest | None, now: datetime
) -> StoredRequest:
    if stored is None:
        message = "the certificate request was removed"
        raise NotFoundError(message)
    if stored.state is not RequestState.APPROVED:
        message = f"the certificate request {stored.name} is {stored.state}"
        raise ConflictError(message)
    is_spent = stored.certificate_id is not None or stored.decision_id is not None
    if is_spent or not request_steps.is_sealed(authority, stored) or not _is_what_is_wished(case, stored):
        _log.critical("the request %s is not what was approved; was the database tampered with?", stored.id)
        message = "the stored approval is none; an operator must look at the log"
        raise AccessDeniedError(message)
    if stored.decided_at is None or now - stored.decided_at > request_steps.KEPT_PENDING:
        message = f"the certificate request {stored.name} was approved too long ago; submit it anew"
        raise ConflictError(message)
    return stored


def _is_what_is_wished(case: Case, stored: StoredRequest) -> bool:
    """Whether the wish is what was approved: it was read earlier, and the seal is of the row as read now."""
    wish, requester = case.application.wish, case.application.requester
    lifetime = timedelta(seconds=stored.expiration_seconds) if stored.expiration_seconds else None
    return isinstance(wish, Issuance) and (
        (wish.request, wish.profile, wish.node, wish.lifetime, case.cluster_id)
        == (stored.der, stored.profile, stored.node, lifetime, stored.cluster_id)
        and (requester.role, requester.name) == (Role.APPROVED, stored.submitted.requester)
        and (requester.certificate.id if requester.certificate else None) == stored.submitted.voucher_id
    )


def settle(connection: Connection, cases: Sequence[Case], ground: RequestGround, now: datetime) -> None:
    """Note on each request what became of it, in the transaction in which it did."""
    for case in cases:
        request_id = _request_id(case)
        stored = ground.requests.get(request_id) if request_id is not None else None
        if stored is None or stored.state is not RequestState.APPROVED:
            continue
        outcome, made = case.outcome, {}
        if isinstance(outcome, UnavailableError) or outcome is None:
            continue
        version = counters.advance(connection, stored.cluster_id, "requests")
        if isinstance(outcome, Refusal):
            slug, detail = outcome.slug, outcome.detail
            settled = request_steps.failed(stored, slug, detail, case.decision_id, version, now)
        else:
            issued = outcome.stored
            made = {stored.id: issued.der}
            settled = request_steps.issued(stored, issued.id, issued.decision_id, version, now)
        requests.change(connection, settled)
        log_changes(connection, ChangeKind.MODIFIED, [settled], now, made=made)


def count(case: Case) -> None:
    """Count what became of a request, once it is committed."""
    outcome = case.outcome
    if _request_id(case) is None or case.cluster is None or isinstance(outcome, UnavailableError):
        return
    is_issued = isinstance(outcome, IssuedCertificate)
    if isinstance(outcome, IssuedCertificate) and outcome.replayed:
        return
    state = RequestState.ISSUED if is_issued else RequestState.FAILED
    measures.request_changed(case.cluster, case.application.profile_name, state)
