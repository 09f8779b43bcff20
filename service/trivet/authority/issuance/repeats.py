"""Idempotency-Keys of a batch: one certificate for each, however often the wish is sent."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING
from uuid import UUID

from trivet.authority import once
from trivet.authority.issuance.case import IssuedCertificate, each
from trivet.pki.errors import IdempotencyError, Refusal, RevokedError
from trivet.store import authorities, certificates, issuing
from trivet.store.idempotency import Claim

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from trivet.authority.context import Authority
    from trivet.authority.issuance.case import Case


def take_keys(authority: Authority, connection: Connection, cases: Sequence[Case], now: datetime) -> None:
    """Take the Idempotency-Keys of all in one order, so that no two transactions wait for each other."""
    for case in cases:
        case.certificate_id, case.decision_id = authority.new_id(now), authority.new_id(now)
    each(cases, lambda case: once.check_key(case.application.wish.idempotency_key))
    keyed = [case for case in cases if case.outcome is None and case.application.wish.idempotency_key]
    held = issuing.claim(connection, [_claim(case) for case in keyed], now)
    for case, claim in zip(keyed, held, strict=True):
        case.holds_key = claim.reference == str(case.certificate_id)
        case.earlier = None if case.holds_key else claim


def _claim(case: Case) -> Claim:
    application = case.application
    key = application.wish.idempotency_key or ""
    return Claim(application.requester.name, key, application.fingerprint(), str(case.certificate_id))


def settle_keys(connection: Connection, cases: Sequence[Case]) -> None:
    """Answer repetitions with what their key made, and give back the keys under which nothing was made."""
    repeated = [case for case in cases if case.earlier is not None]
    each(repeated, lambda case: _answer_again(connection, case, cases))
    for case in cases:
        if case.holds_key and isinstance(case.outcome, Refusal):
            once.give_back(connection, case.application.requester, case.application.wish.idempotency_key)


def _answer_again(connection: Connection, case: Case, cases: Sequence[Case]) -> None:
    if case.earlier is None or case.earlier.fingerprint != case.application.fingerprint():
        raise once.key_reused()
    # Made in this very batch, so not stored yet; or refused in it, for the same reason.
    first = next((other for other in cases if str(other.certificate_id) == case.earlier.reference), None)
    if first is None:
        case.outcome = made_earlier(connection, UUID(case.earlier.reference))
    elif isinstance(first.outcome, IssuedCertificate):
        case.outcome = IssuedCertificate(first.outcome.stored, first.outcome.issuer, replayed=True)
    else:
        case.outcome = copy(first.outcome)  # each is told the id of its own decision record


def made_earlier(connection: Connection, certificate_id: UUID) -> IssuedCertificate:
    """What was made before, to be answered again.

    Raises:
        IdempotencyError: it is no longer kept.
        RevokedError: it was revoked since.
    """
    found = certificates.find_one(connection, certificate_id)
    if found is None:
        message = "the certificate that this Idempotency-Key made is no longer kept; use a new key"
        raise IdempotencyError(message)
    if found.revoked_at is not None:
        message = f"the certificate {found.serial} that this Idempotency-Key made was revoked since"
        raise RevokedError(message)
    generation = authorities.generation(connection, found.generation_id)
    return IssuedCertificate(found, generation.certificate, replayed=True)
