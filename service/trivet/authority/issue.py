"""Issue and renew: the one way by which a certificate leaves Trivet.

In one transaction: take the revocation locks shared, read the entries that could match, decide, sign, check what was
signed, store it with its decision record, commit. Only then does it leave. The transaction takes a list; a lone
request is a list of one.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from trivet.authority import application as applications
from trivet.authority import once
from trivet.authority.access import Permission, authorize, check_names, check_own
from trivet.authority.judge import banned, describe_entry, described_identity, identity_of, judge, keys_of
from trivet.pki.errors import IdempotencyError, NotFoundError, Refusal, RevokedError, UnavailableError
from trivet.pki.pem import from_der
from trivet.pki.plan import WronglySignedError, certificate_builder, check_signed, issuer_of, plan_certificate
from trivet.pki.search import certificate_keys
from trivet.pki.serials import serial_hex
from trivet.pki.validity import plan_validity
from trivet.signing.encryption import WrongKeyError
from trivet.store import authorities, certificates, clusters, decisions, revocations
from trivet.store.clusters import ALL_CLUSTERS
from trivet.store.decisions import Decision
from trivet.store.engine import lock_shared

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from trivet.authority.access import Requester
    from trivet.authority.application import Application, Issuance, Renewal
    from trivet.authority.context import Authority
    from trivet.pki.names import Names
    from trivet.pki.revocation import Identity
    from trivet.store.authorities import Generation
    from trivet.store.certificates import StoredCertificate
    from trivet.store.clusters import Cluster

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """A certificate that may leave, with the CA certificate that signed it (DER each, the latter `issuer`)."""

    stored: StoredCertificate
    issuer: bytes
    replayed: bool = False


@dataclass(slots=True)
class _Case:
    """One application while it is decided."""

    application: Application
    cluster: Cluster | None = None
    names: Names | None = None
    node: str | None = None
    identity: Identity | None = None
    generation: Generation | None = None
    considered: list[dict[str, Any]] | None = None
    outcome: IssuedCertificate | Refusal | None = None
    certificate_id: UUID | None = None
    decision_id: UUID | None = None

    @property
    def cluster_id(self) -> UUID | None:
        return self.cluster.id if self.cluster else None


def issue(authority: Authority, requester: Requester, wish: Issuance | Renewal) -> IssuedCertificate:
    """Sign one certificate, or refuse and leave a decision record.

    Raises:
        AccessDeniedError: the requester may not have this profile or name.
        RevokedError: an entry names the subject, a SAN, the key or the lineage.
        Refusal: any other of `pki.errors`.
    """
    outcome = issue_all(authority, [applications.prepare(requester, wish)])[0]
    if isinstance(outcome, Refusal):
        raise outcome
    return outcome


def issue_all(authority: Authority, batch: Sequence[Application]) -> list[IssuedCertificate | Refusal]:
    """Decide a batch in one transaction; each refusal concerns its own application only.

    Raises:
        UnavailableError: the database cannot be reached; nothing was issued.
    """
    cases = [_Case(item) for item in batch]
    with authority.database.write() as connection:
        for case in cases:
            _attempt(case, lambda case=case: _find_cluster(connection, case))  # type: ignore[misc]
        scopes = {case.cluster.id for case in cases if case.cluster} | {ALL_CLUSTERS}
        lock_shared(connection, scopes)
        vouchers = _vouchers(connection, cases)
        # Only now: what is read and timed after the lock sees every revocation acknowledged before it.
        now = authority.clock()
        versions = revocations.versions(connection, scopes)
        for case in cases:
            _attempt(case, lambda case=case: _qualify(connection, case, vouchers, now))  # type: ignore[misc]
        _judge_all(connection, cases, now)
        for case in cases:
            _attempt(case, lambda case=case: _sign(authority, connection, case, cases, now))  # type: ignore[misc]
        _store(authority, connection, cases, versions, now)
    return [_outcome(case) for case in cases]


def _attempt(case: _Case, step: Callable[[], None]) -> None:
    """Run a step of one case, unless the case is decided; a refusal decides it."""
    if case.outcome is not None:
        return
    try:
        step()
    except Refusal as refusal:
        case.outcome = refusal


def _outcome(case: _Case) -> IssuedCertificate | Refusal:
    if case.outcome is None:  # every path above decides; never let an undecided case out
        return UnavailableError("the request was not decided")
    return case.outcome


def _find_cluster(connection: Connection, case: _Case) -> None:
    wanted = case.application.wish.cluster
    if wanted is not None:
        case.cluster = clusters.find(connection, wanted)


def _vouchers(connection: Connection, cases: Sequence[_Case]) -> dict[UUID, StoredCertificate]:
    """The certificates that vouch for the applications, as they are now that the lock is held.

    The requester was authenticated before; what was read then may have been marked revoked since.
    """
    ids = frozenset[UUID]().union(*(case.application.vouching_ids for case in cases))
    return certificates.find_all(connection, ids) if ids else {}


def _qualify(
    connection: Connection, case: _Case, vouchers: Mapping[UUID, StoredCertificate], now: datetime
) -> None:
    """Everything about the application itself: permission, form, names."""
    application = case.application = case.application.as_of(vouchers)
    requester = application.requester
    permission = Permission.RENEW if application.current else Permission.ISSUE
    try:
        authorize(requester, permission, case.cluster_id, now)
    except RevokedError as error:
        raise RevokedError(f"{error.detail}{_cause(connection, requester)}") from error
    if case.cluster is None and application.wish.cluster is not None:
        message = f"there is no cluster {application.wish.cluster[:80]!r}"
        raise NotFoundError(message)
    if application.current is not None:
        check_own(requester, application.current)
    profile, request = applications.require_request(application)
    case.names, case.node = applications.granted_names(
        application, profile, request, case.cluster.names if case.cluster else None
    )
    if application.current is None:
        check_names(requester, profile, case.names, case.node)
    case.identity = identity_of(case.names, request.spki_sha256, application.voucher)
    case.generation = authorities.active_generation(connection, case.cluster_id, profile.authority)


def _cause(connection: Connection, requester: Requester) -> str:
    """The entry that a revoked certificate's holder can point their administrator to."""
    entry_id = requester.certificate.revoked_by if requester.certificate else None
    standing = revocations.entries_by_id(connection, [entry_id]).get(entry_id) if entry_id else None
    return f". It was named by the {describe_entry(standing)}" if standing else ""


def _judge_all(connection: Connection, cases: Sequence[_Case], now: datetime) -> None:
    """One look-up for the whole batch, then a verdict for each."""
    open_cases = [case for case in cases if case.outcome is None and case.cluster and case.identity]
    keys = {
        key
        for case in open_cases
        if case.identity
        for key in keys_of(case.identity, case.application.voucher)
    }
    candidates = revocations.candidates(connection, keys) if keys else []
    for case in open_cases:
        if case.identity is None or case.cluster is None:
            continue
        case.considered, ban = judge(
            case.identity, case.application.voucher, case.cluster.id, candidates, now
        )
        if ban is not None:
            case.outcome = banned(ban, is_renewal=case.application.current is not None)


def _sign(
    authority: Authority, connection: Connection, case: _Case, cases: Sequence[_Case], now: datetime
) -> None:
    """Take the Idempotency-Key, then plan, sign and check; or give what the key made before."""
    application = case.application
    key = application.wish.idempotency_key
    case.certificate_id, case.decision_id = authority.new_id(now), authority.new_id(now)
    reference = str(case.certificate_id)
    earlier = once.take(connection, application.requester, key, application.fingerprint(), reference, now)
    if earlier is not None:
        case.outcome = _earlier(connection, earlier, cases)
        return
    try:
        case.outcome = _signed(authority, case, now)
    except Refusal:
        once.give_back(connection, application.requester, key)
        raise
    except (WronglySignedError, WrongKeyError) as error:
        once.give_back(connection, application.requester, key)
        _log.critical("nothing was issued: %s", error)
        message = "the authority's signer does not work as it should; an operator must look at the log"
        raise UnavailableError(message) from error


def _earlier(connection: Connection, reference: str, cases: Sequence[_Case]) -> IssuedCertificate:
    for other in cases:  # made in this very batch, so not stored yet
        if str(other.certificate_id) == reference and isinstance(other.outcome, IssuedCertificate):
            return IssuedCertificate(other.outcome.stored, other.outcome.issuer, replayed=True)
    found = certificates.find_one(connection, UUID(reference))
    if found is None:
        message = "the certificate that this Idempotency-Key made is no longer kept; use a new key"
        raise IdempotencyError(message)
    if found.revoked_at is not None:
        message = f"the certificate {found.serial} that this Idempotency-Key made was revoked since"
        raise RevokedError(message)
    generation = authorities.generation(connection, found.generation_id)
    return IssuedCertificate(found, generation.certificate, replayed=True)


def _signed(authority: Authority, case: _Case, now: datetime) -> IssuedCertificate:
    application, generation = case.application, case.generation
    profile, request = applications.require_request(application)
    if case.names is None or generation is None or case.certificate_id is None or case.decision_id is None:
        message = "the application was not qualified"
        raise WronglySignedError(message)
    issuer = issuer_of(from_der(generation.certificate))
    lifetime = application.wish.lifetime
    validity = plan_validity(now, lifetime, profile.longest, issuer.validity, authority.policy.backdate)
    plan = plan_certificate(profile, case.names, request.public_key, validity, authority.new_serial(), issuer)
    signer = authority.keyring.signer(generation.id, generation.certificate, generation.private_key)
    der = signer.sign_certificate(certificate_builder(plan))
    check_signed(plan, der)
    stored = certificates.StoredCertificate(
        id=case.certificate_id,
        cluster_id=case.cluster_id,
        authority=profile.authority.value,
        generation_id=generation.id,
        serial=serial_hex(plan.serial),
        profile=profile.name,
        node=case.node,
        common_name=case.names.common_name,
        spki_sha256=request.spki_sha256,
        issued_at=now,
        not_before=validity.not_before,
        not_after=validity.not_after,
        der=der,
        # What a holder asked for descends from their certificate, too: a thief may ask as well as renew.
        parent_id=application.voucher.id if application.voucher else None,
        decision_id=case.decision_id,
        requester=application.requester.name,
    )
    return IssuedCertificate(stored, generation.certificate)


def _store(
    authority: Authority,
    connection: Connection,
    cases: Sequence[_Case],
    versions: dict[UUID, int],
    now: datetime,
) -> None:
    """One insert for each table: decision records of all, certificates of those that were issued."""
    records = []
    rows = []
    parents = []
    for case in cases:
        if isinstance(case.outcome, IssuedCertificate) and case.outcome.replayed:
            continue
        records.append(_record(authority, case, versions, now))
        if isinstance(case.outcome, IssuedCertificate) and case.names is not None:
            rows.append((case.outcome.stored, certificate_keys(case.names)))
            parents += [case.application.current.id] if case.application.current else []
        elif isinstance(case.outcome, Refusal):
            case.outcome.decision = str(records[-1].id)
    decisions.add_all(connection, records)
    certificates.add_all(connection, rows)
    certificates.supersede(connection, parents, now)


def _record(authority: Authority, case: _Case, versions: dict[UUID, int], now: datetime) -> Decision:
    application, outcome = case.application, case.outcome
    refusal = outcome if isinstance(outcome, Refusal) else None
    consulted = case.considered is not None and case.cluster is not None
    return Decision(
        id=case.decision_id or authority.new_id(now),
        decided_at=now,
        cluster_id=case.cluster_id,
        requester=application.requester.name,
        action=application.action,
        profile=application.profile_name,
        request_sha256=application.request_sha256,
        verdict="refused" if refusal else "issued",
        reason=refusal.slug if refusal else None,
        detail=refusal.detail if refusal else None,
        cluster_version=versions.get(case.cluster.id) if consulted and case.cluster else None,
        global_version=versions.get(ALL_CLUSTERS) if consulted else None,
        considered=case.considered or [],
        identity=described_identity(case.identity) if case.identity else None,
        serial=outcome.stored.serial if isinstance(outcome, IssuedCertificate) else None,
        parent_serial=application.voucher.serial if application.voucher else None,
        request_id=application.requester.request_id,
    )
