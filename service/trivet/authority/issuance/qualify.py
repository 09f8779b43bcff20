"""Everything about an application itself, and the judgement: may this requester have this certificate, now?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trivet.authority.access import Permission, authorize, check_own, check_own_names
from trivet.authority.approval import gate as request_gate
from trivet.authority.external_signer import check_signer
from trivet.authority.issuance.application import Issuance, require_request
from trivet.authority.issuance.certify import signers_at_work
from trivet.authority.issuance.judge import banned, describe_entry, judge
from trivet.authority.memory import known_generation
from trivet.authority.metrics import measures
from trivet.authority.repairs.gate import admit_expired, admit_token
from trivet.pki.errors import AuthenticationError, ExpiredError, NotFoundError, RevokedError
from trivet.store import revocations

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from trivet.authority.access import Requester
    from trivet.authority.approval.gate import RequestGround
    from trivet.authority.context import Authority
    from trivet.authority.issuance.case import Case
    from trivet.authority.repairs.ground import RepairGround
    from trivet.store.authorities import Generation
    from trivet.store.issuing import Ground


def qualify(
    authority: Authority,
    connection: Connection,
    case: Case,
    ground: Ground,
    repair: RepairGround,
    requests: RequestGround,
    now: datetime,
) -> None:
    """Ask about permission, form and names, and find who would sign.

    Raises:
        Refusal: any but that of an entry.
    """
    application = case.application = case.application.as_of(ground.vouchers)
    requester = application.requester
    _check_token(requester, ground, now)
    permission = Permission.RENEW if application.current else Permission.ISSUE
    try:
        authorize(requester, permission, case.cluster_id, now)
    except RevokedError as error:
        raise RevokedError(f"{error.detail}{_cause(connection, requester)}") from error
    except ExpiredError as error:
        admit_expired(case, repair, error, now)
    if case.cluster is None and application.wish.cluster is not None:
        message = f"there is no cluster {application.wish.cluster[:80]!r}"
        raise NotFoundError(message)
    if application.current is not None:
        check_own(requester, application.current)
    drafted = case.require_draft()
    admit_token(case, repair, now)
    if application.current is None and application.profile is not None:
        check_own_names(requester, application.profile, drafted.names, drafted.node)
        profile, request = require_request(application)
        check_signer(requester, profile, drafted.names, request.names)
        request_gate.admit(authority, connection, case, requests, now)
    case.generation = generation = _generation(authority, connection, case, ground)
    with signers_at_work():
        case.opened = authority.keyring.open(generation.id, generation.certificate, generation.private_key)


def _check_token(requester: Requester, ground: Ground, now: datetime) -> None:
    """The token may have been remembered; whether it still stands is asked here.

    Raises:
        AuthenticationError: it was deleted, or has expired since.
    """
    if requester.token_id is None:
        return
    if requester.token_id not in ground.tokens:
        measures.authentication_failed("unknown")
        message = "the access token was deleted; ask an administrator for a new one"
        raise AuthenticationError(message)
    if requester.expires_at is not None and requester.expires_at <= now:
        measures.authentication_failed("expired")
        message = f"the access token expired at {requester.expires_at:%Y-%m-%dT%H:%M:%SZ}; ask for a new one"
        raise AuthenticationError(message)


def _cause(connection: Connection, requester: Requester) -> str:
    """The entry that a revoked certificate's holder can point their administrator to."""
    entry_id = requester.certificate.revoked_by if requester.certificate else None
    standing = revocations.entries_by_id(connection, [entry_id]).get(entry_id) if entry_id else None
    return f". It was named by the {describe_entry(standing)}" if standing else ""


def _generation(authority: Authority, connection: Connection, case: Case, ground: Ground) -> Generation:
    """Which generation is active was read in this transaction; what it is never changes."""
    wish = case.application.wish
    if isinstance(wish, Issuance) and wish.responder_of is not None:
        return wish.responder_of
    active = ground.generations.get(case.authority) if case.authority else None
    if active is None:
        message = f"the authority {case.authority[1] if case.authority else ''} has no active generation"
        raise NotFoundError(message)
    return known_generation(authority, connection, active)


def judge_all(connection: Connection, cases: Sequence[Case], ground: Ground, now: datetime) -> None:
    """One look-up was made for the whole batch; a verdict for each."""
    found = revocations.entries_by_id(connection, sorted(ground.entries)) if ground.entries else {}
    candidates = list(found.values())
    for case in cases:
        if case.outcome is not None or case.cluster is None or case.draft is None:
            continue
        case.considered, ban = judge(case.draft, case.cluster.id, candidates, now)
        if ban is not None:
            case.outcome = banned(ban, is_renewal=case.application.current is not None)
