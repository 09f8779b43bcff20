"""The gate of a repair: who may have a certificate by an expired one, or by a one-time token.

It stands within the transaction that issues, after the locks: a window that was closed, a token that was used, count
from the next batch on. Nothing is read unless somebody in the batch holds an expired certificate or a one-time token.
All else of an issuance (permission, names, every entry, signature, decision record) is as always.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from trivet.authority.access import Role, way_out_of_expiry
from trivet.authority.authenticate import check_token_window
from trivet.authority.issuance.application import Issuance, Renewal
from trivet.authority.issuance.case import IssuedCertificate
from trivet.authority.metrics import measures
from trivet.authority.repairs.ground import is_late
from trivet.pki.errors import (
    AccessDeniedError,
    AuthenticationError,
    BadPublicKeyError,
    ExpiredError,
    RejectedIdentifierError,
    StageWaitsError,
)
from trivet.pki.repair import Stage, earlier_stages, retry_after, stage_of
from trivet.store import certificates, repair_tokens

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from trivet.authority.issuance.case import Case
    from trivet.authority.repairs.ground import Held, RepairGround
    from trivet.pki.names import Names
    from trivet.store.certificates import StoredCertificate
    from trivet.store.identities import CurrentCertificate
    from trivet.store.repairs import RepairWindow


def admit_expired(case: Case, ground: RepairGround, refusal: ExpiredError, now: datetime) -> None:
    """Let a certificate that has expired renew, within an open window of its cluster and in its turn.

    Raises:
        ExpiredError: there is no such window, it takes no certificate like this one, or there is nothing to renew.
        StageWaitsError: an earlier stage has the turn.
    """
    wish, held = case.application.wish, case.application.requester.certificate
    is_own = isinstance(wish, Renewal) and held is not None and held.id == wish.current.id
    if not is_own or held is None or not is_late(held, now):
        raise refusal
    window = ground.windows.get(case.cluster_id) if case.cluster_id is not None else None
    ended = _ended(held)
    if window is None:
        name = case.cluster.name if case.cluster else None
        raise ExpiredError(f"{ended}; {way_out_of_expiry(name)}") from refusal
    case.within = f"{ended}; it was renewed in the repair window {window.id}"
    if held.superseded_at is not None:
        # Said once it is known that this is not the same request, sent again: that gets the same certificate.
        case.spent = _replaced(ended, held.superseded_at)
        return
    _check_reach(held, window, ended, now)
    profile = case.application.profile
    own = stage_of(profile) if profile is not None else Stage.REST
    if own not in ground.begun.get(window.cluster_id, frozenset()):
        message = (
            f"{ended}. In the repair window {window.id} the stage {own} waits until the stages before it"
            f" ({', '.join(earlier_stages(own))}) are over; ask again"
        )
        raise StageWaitsError(message, retry_after(window.pending))


def _ended(held: StoredCertificate) -> str:
    return f"the certificate {held.serial} expired at {held.not_after:%Y-%m-%dT%H:%M:%SZ}"


_TOKEN = "the way out is a one-time token: trivet repair token CLUSTER NODE"  # noqa: S105  words, not a secret


def _replaced(ended: str, at: datetime) -> ExpiredError:
    # Whoever has its successor is the holder. This may be a backup of the node, or what a thief copied from it.
    message = (
        f"{ended}, and was replaced at {at:%Y-%m-%dT%H:%M:%SZ} by a newer one, which alone may renew in a repair."
        f" If this node was restored from a backup, or lost the answer, {_TOKEN}"
    )
    return ExpiredError(message)


def _check_reach(held: StoredCertificate, window: RepairWindow, ended: str, now: datetime) -> None:
    if now - held.not_after > window.longest_expired:
        message = (
            f"{ended}, longer ago than the {window.longest_expired.days} days that the repair window"
            f" {window.id} takes; an administrator opens one with a larger --expired-for, or {_TOKEN}"
        )
        raise ExpiredError(message)


def admit_token(case: Case, ground: RepairGround, now: datetime) -> None:
    """Hold whoever has a one-time token to what its node held, with a new key, each once, while the window is open.

    Raises:
        AuthenticationError: the token is gone, or its window is over.
        AccessDeniedError: the node held nothing like this.
        RejectedIdentifierError: the request names another node.
    """
    requester, wish = case.application.requester, case.application.wish
    if requester.role is not Role.REPAIR:
        return
    token = ground.tokens.get(requester.repair_token) if requester.repair_token else None
    if token is None or not isinstance(wish, Issuance):
        message = "the one-time token is unknown; ask an administrator for another: trivet repair token CLUSTER NODE"
        raise AuthenticationError(message)
    try:
        check_token_window(token, now)
    except AuthenticationError:
        measures.authentication_failed("expired")
        raise
    drafted = case.require_draft()
    if drafted.node not in {None, token.node}:
        message = f"this one-time token is for the node {token.node} only"
        raise RejectedIdentifierError(message)
    # What the profile does not name is noted all the same: it is this node's.
    case.draft = drafted = replace(drafted, node=token.node)
    held = _match(ground.held[token.id], wish.profile, drafted.names)
    if held is None:
        message = (
            f"the node {token.node} held no certificate of the profile {wish.profile} with these names when this"
            " one-time token was made, or has renewed it since; ask for the names that it held, or for fewer"
        )
        raise AccessDeniedError(message)
    case.replaces = held.id
    case.within = (
        f"by the one-time token {token.id} for the node {token.node}, in the repair window {token.window.id}"
    )
    # Said once it is known that this is not the same request, sent again: that gets the same certificate.
    if held.id in ground.uses[token.id]:
        case.spent = spent(held.profile)
    elif drafted.identity.spki_sha256 in ground.known_keys:
        message = (
            "a one-time token gives certificates to new keys only; make a key that no certificate has yet"
        )
        case.spent = BadPublicKeyError(message)


def spent(profile: str) -> AccessDeniedError:
    """The refusal of a second use."""
    message = (
        f"this one-time token was used for this {profile} certificate already, and gives each once;"
        " an administrator makes another: trivet repair token CLUSTER NODE"
    )
    return AccessDeniedError(message)


def _match(held: Sequence[Held], profile: str, wanted: Names) -> CurrentCertificate | None:
    """The certificate whose names are those wanted, or that has more."""
    alike = [one for one in held if one.certificate.profile == profile and _within(wanted, one.names)]
    alike.sort(key=lambda one: (one.names != wanted, len(one.names.dns_names) + len(one.names.ip_addresses)))
    return alike[0].certificate if alike else None


def _within(wanted: Names, held: Names) -> bool:
    return (
        wanted.common_name == held.common_name
        and set(wanted.organizations) <= set(held.organizations)
        and set(wanted.dns_names) <= set(held.dns_names)
        and set(wanted.ip_addresses) <= set(held.ip_addresses)
    )


def refuse_spent(cases: Iterable[Case]) -> None:
    """Refuse a second use of a token or of an expired certificate, unless it is the same request once more."""
    for case in cases:
        if case.outcome is None and case.spent is not None and case.earlier is None:
            case.outcome = case.spent


def use_up(connection: Connection, cases: Iterable[Case], now: datetime) -> None:
    """Note what one-time tokens and expired certificates were used for: each once, so of two at once only one has it.

    In one order for all transactions. What was signed for the other is neither stored nor sent.
    """
    admitted = [case for case in cases if case.within and isinstance(case.outcome, IssuedCertificate)]
    late = [(case.application.current, case) for case in admitted if case.application.current]
    for held, case in sorted(late, key=lambda one: one[0].id):
        if case.earlier is None and not certificates.supersede_first(connection, held.id, now):
            case.outcome = _replaced(_ended(held), now)
    _use_tokens(connection, admitted, now)


def _use_tokens(connection: Connection, admitted: Iterable[Case], now: datetime) -> None:
    used = [
        (token, case.replaces, case.outcome.stored.id, case)
        for case in admitted
        if (token := case.application.requester.repair_token) is not None
        and case.replaces is not None
        and case.earlier is None
        and isinstance(case.outcome, IssuedCertificate)
    ]
    for token, held, certificate, case in sorted(used, key=lambda one: one[:2]):
        if not repair_tokens.use(connection, token, held, certificate, now):
            case.outcome = spent(case.application.profile_name)
