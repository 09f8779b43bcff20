"""Submit a certificate request. What a rule approves is approved at once; all else waits for an approver."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final
from uuid import UUID

from trivet.authority import once
from trivet.authority.access import Permission, authorized_cluster
from trivet.authority.approval import steps as request_steps
from trivet.authority.approval.bootstrap_requester import check_token
from trivet.authority.approval.images import log_changes
from trivet.authority.approval.person import submitted_by, submitter_of
from trivet.authority.approval.pin import pin_at_first_sight
from trivet.authority.approval.room import check_room
from trivet.authority.approval.rules import Subject, assess
from trivet.authority.approval.submission import SUFFIX, checked_node, read_submission
from trivet.authority.deny import record_refusal
from trivet.authority.metrics import measures
from trivet.pki.errors import (
    AccessDeniedError,
    ConflictError,
    Fault,
    IdempotencyError,
    RejectedIdentifierError,
)
from trivet.pki.pem import request_pem
from trivet.pki.usages import usual_usages
from trivet.store import bootstrap_tokens, counters, requests
from trivet.store.changes import ChangeKind
from trivet.store.requests import RequestState, StoredRequest

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from trivet.authority.access import Requester
    from trivet.authority.approval.submission import ReadSubmission, Submission
    from trivet.authority.context import Authority
    from trivet.pki.csr import CertificateRequest
    from trivet.store.clusters import Cluster

GENERATE_NAME: Final = "csr-"
_ALPHABET: Final = (
    "bcdfghjklmnpqrstvwxz2456789"  # Kubernetes' own (apimachinery/pkg/util/rand): no words in it
)


def submit_request(
    authority: Authority,
    requester: Requester,
    cluster: str,
    wanted: Submission,
    idempotency_key: str | None = None,
) -> StoredRequest:
    """Store a request, approved where a rule approves it; issuing it is the next step (`authority.approval.fulfil`).

    Raises:
        AccessDeniedError, RejectedIdentifierError: the requester may not ask for this; a decision record is left.
        BadCSRError, BadPublicKeyError, InvalidError: the request cannot be granted to anybody.
        ConflictError: there is one of that name.
        RateLimitedError: too many wait, or were decided lately.
    """
    read = read_submission(authority, wanted)
    try:
        stored, found, is_new = _stored(authority, requester, cluster, wanted, read, idempotency_key)
    except (AccessDeniedError, RejectedIdentifierError) as refusal:
        record_refusal(authority, requester, "issue", cluster, wanted.request, refusal)
        raise
    if is_new:
        measures.request_changed(found, stored.profile, stored.state)
    return stored


def _stored(
    authority: Authority,
    requester: Requester,
    cluster: str,
    wanted: Submission,
    read: ReadSubmission,
    idempotency_key: str | None,
) -> tuple[StoredRequest, Cluster, bool]:
    with authority.database.read() as connection:
        # Not where it is written, which is everybody's turn to write: limits need not be exact to one or two.
        found = authorized_cluster(
            connection, requester, Permission.SUBMIT_REQUEST, cluster, authority.clock()
        )
        check_room(connection, authority.policy.requests, requester, found)
    with authority.database.write() as connection:
        now = authority.clock()
        found = authorized_cluster(connection, requester, Permission.SUBMIT_REQUEST, cluster, now)
        node = checked_node(requester, found, wanted, read)
        counters.hold(connection, found.id, "requests")
        request = _new(authority, requester, found, wanted, read, node, now)
        asked = once.fingerprint("request.submit", cluster, wanted)
        earlier = once.take(connection, requester, idempotency_key, asked, str(request.id), now)
        if earlier is not None:
            return _made_earlier(connection, UUID(earlier)), found, False
        _refuse_existing(connection, found, request)
        # Its audit record comes after the counter: whoever decides or deletes takes both in that order.
        pin_at_first_sight(authority, connection, requester, found, read.profile, node, read.request)
        request = _judged(authority, connection, found, read.request, request, now)
        request = replace(request, version=counters.advance(connection, found.id, "requests"))
        requests.add(connection, request)
        log_changes(connection, ChangeKind.ADDED, [request], now)
    return request, found, True


def rehearse_submission(
    authority: Authority, requester: Requester, cluster: str, wanted: Submission
) -> StoredRequest:
    """The request that `submit_request` would store, at version 0; without a lock, a decision record or a pin.

    Raises:
        Refusal: as `submit_request`.
    """
    read = read_submission(authority, wanted)
    with authority.database.read() as connection:
        now = authority.clock()
        found = authorized_cluster(connection, requester, Permission.SUBMIT_REQUEST, cluster, now)
        check_room(connection, authority.policy.requests, requester, found)
        node = checked_node(requester, found, wanted, read)
        request = _new(authority, requester, found, wanted, read, node, now)
        _refuse_existing(connection, found, request)
        return _judged(authority, connection, found, read.request, request, now)


def _refuse_existing(connection: Connection, cluster: Cluster, request: StoredRequest) -> None:
    if requests.find(connection, cluster.id, request.name) is not None:
        message = f"there is a certificate request {request.name} in the cluster {cluster.name} already"
        raise ConflictError(message, Fault("/name", "must be new"))


def _made_earlier(connection: Connection, request_id: UUID) -> StoredRequest:
    # Not by its name, which may be another's since.
    known = requests.take(connection, [request_id]).get(request_id)
    if known is None:
        message = "the certificate request that this Idempotency-Key made was removed since; use a new key"
        raise IdempotencyError(message)
    measures.replayed()
    return known


def _new(
    authority: Authority,
    requester: Requester,
    cluster: Cluster,
    wanted: Submission,
    read: ReadSubmission,
    node: str | None,
    now: datetime,
) -> StoredRequest:
    generate_name = wanted.generate_name or (GENERATE_NAME if wanted.name is None else None)
    return StoredRequest(
        id=authority.new_id(now),
        cluster_id=cluster.id,
        name=wanted.name or f"{generate_name}{_suffix(authority)}",
        version=0,
        der=read.request.der,
        profile=read.profile.name,
        node=node,
        signer_name=read.profile.signer_name,
        usages=wanted.usages or usual_usages(read.profile),
        expiration_seconds=int(wanted.lifetime.total_seconds()) if wanted.lifetime else None,
        submitted=submitted_by(requester),
        state=RequestState.PENDING,
        reason="",
        created_at=now,
        collect_at=now + request_steps.KEPT_PENDING,
        generate_name=generate_name,
        labels=dict(wanted.labels),
        annotations=dict(wanted.annotations),
        pem=_unusual(wanted.request, read.request.der),
        managed_fields=wanted.managed_fields,
    )


def _unusual(written: bytes, der: bytes) -> str | None:
    """The PEM that was written, where it is not how it usually looks."""
    is_text = b"-----BEGIN" in written and written.isascii()
    return written.decode() if is_text and written != request_pem(der) else None


def _suffix(authority: Authority) -> str:
    number, letters = authority.random_bits(128), []
    for _ in range(SUFFIX):
        number, letter = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[letter])
    return "".join(letters)


def _judged(
    authority: Authority,
    connection: Connection,
    cluster: Cluster,
    request: CertificateRequest,
    stored: StoredRequest,
    now: datetime,
) -> StoredRequest:
    subject = subject_of(connection, cluster, stored, request, now)
    verdict = assess(connection, subject, authority.policy, now)
    if verdict.rule is None:
        return replace(stored, reason=verdict.reason)
    by = request_steps.RULE + verdict.rule
    return request_steps.approved(authority, stored, by, verdict.reason, stored.version, now)


def subject_of(
    connection: Connection,
    cluster: Cluster,
    stored: StoredRequest,
    request: CertificateRequest,
    now: datetime,
) -> Subject:
    """A request as the rules see it now.

    Raises:
        AuthenticationError: the bootstrap token that it was submitted with lets nobody in any more.
    """
    token_id, bound_to = stored.submitted.bootstrap_token, None
    if token_id is not None:
        bound_to = check_token(bootstrap_tokens.with_ids(connection, [token_id]).get(token_id), now).node
    submitter = submitter_of(stored.submitted, bound_to)
    return Subject(cluster, submitter, stored.profile, stored.node, request, token_id)
