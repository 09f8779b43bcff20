"""The gate of a repair: who may have a certificate by an expired one, or by a one-time token.

It stands within the transaction that issues, after the locks: a window that was closed, a token that was used, count
from the next batch on. Nothing is read unless somebody in the batch holds an expired certificate or a one-time token.
All else of an issuance (permission, names, every entry, signature, decision record) is as always.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from trivet.authority import measures
from trivet.authority.access import Role, way_out_of_expiry
from trivet.authority.application import Issuance, Renewal
from trivet.authority.authenticate import check_token_window
from trivet.authority.case import IssuedCertificate
from trivet.authority.identities import has_expired, holdings, newest
from trivet.authority.repair_tally import tallies_of
from trivet.pki.errors import (
    AccessDeniedError,
    AuthenticationError,
    BadPublicKeyError,
    ExpiredError,
    RejectedIdentifierError,
    StageWaitsError,
)
from trivet.pki.pem import from_der
from trivet.pki.repair import RETRY_AFTER, Stage, earlier_stages, has_turn, stage_of, turns
from trivet.pki.subjects import names_of
from trivet.store import identities, repairs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection

    from trivet.authority.case import Case
    from trivet.pki.names import Names
    from trivet.pki.repair import StageEvent
    from trivet.store.certificates import StoredCertificate
    from trivet.store.identities import CurrentCertificate
    from trivet.store.repairs import RepairToken, RepairWindow


@dataclass(frozen=True, slots=True)
class Held:
    """A certificate that a node held when its one-time token was made, and its names."""

    certificate: CurrentCertificate
    names: Names


@dataclass(frozen=True, slots=True)
class RepairGround:
    """What the gate decides on, read after the locks were granted.

    Attributes:
        windows: the open windows, by cluster.
        begun: for each of those windows, the stages whose turn has come.
        tokens: the one-time tokens of the batch's requesters, with their windows as they stand.
        uses: the ids of the held certificates that each token was used for.
        held: what each token's node held.
        known_keys: those of the requests' keys that certificates have already.
    """

    windows: Mapping[UUID, RepairWindow] = field(default_factory=dict)
    begun: Mapping[UUID, frozenset[Stage]] = field(default_factory=dict)
    tokens: Mapping[UUID, RepairToken] = field(default_factory=dict)
    uses: Mapping[UUID, frozenset[UUID]] = field(default_factory=dict)
    held: Mapping[UUID, Sequence[Held]] = field(default_factory=dict)
    known_keys: frozenset[str] = frozenset()


NOTHING = RepairGround()


def read_ground(connection: Connection, cases: Iterable[Case], now: datetime) -> RepairGround:
    """Read what the batch needs; where it needs nothing, read nothing."""
    late = [case for case in cases if _is_expired(case.application.current, now)]
    told = [case for case in cases if case.application.requester.repair_token is not None]
    if not late and not told:
        return NOTHING
    windows, begun = _read_windows(connection, late, now)
    tokens, uses, held = _read_tokens(connection, told)
    keys = {case.draft.identity.spki_sha256 for case in told if case.draft is not None}
    known_keys = frozenset(key for key in keys if identities.knows_key(connection, key))
    return RepairGround(windows, begun, tokens, uses, held, known_keys)


def _is_expired(held: StoredCertificate | None, now: datetime) -> bool:
    return held is not None and has_expired(held.not_after, now)


def _read_windows(
    connection: Connection, late: Sequence[Case], now: datetime
) -> tuple[dict[UUID, RepairWindow], dict[UUID, frozenset[Stage]]]:
    clusters = {case.cluster_id for case in late if case.cluster_id is not None}
    found = repairs.unclosed(connection, clusters) if clusters else {}
    windows = {cluster: window for cluster, window in found.items() if window.is_open(now)}
    events = repairs.stages(connection, [window.id for window in windows.values()]) if windows else {}
    wanted: dict[UUID, set[Stage]] = {cluster: set() for cluster in windows}
    for case in late:
        if case.cluster_id in wanted and case.application.profile is not None:
            wanted[case.cluster_id].add(stage_of(case.application.profile))
    return windows, {
        cluster: _begun(connection, window, events[window.id], wanted[cluster], now)
        for cluster, window in windows.items()
    }


def _begun(
    connection: Connection,
    window: RepairWindow,
    events: Mapping[Stage, StageEvent],
    wanted: Iterable[Stage],
    now: datetime,
) -> frozenset[Stage]:
    """The stages, of those wanted, whose turn has come."""
    begun = {each for each in wanted if set(earlier_stages(each)) <= events.keys()}
    if begun >= set(wanted):
        return frozenset(begun)
    # A stage may be over without anybody having noted it yet.
    tallies = tallies_of(holdings(connection, window.cluster_id), window, now)
    found = turns(tallies, events, window.opened_at, window.patience, now)
    return frozenset(each for each in wanted if has_turn(found, each))


def _read_tokens(
    connection: Connection, told: Sequence[Case]
) -> tuple[dict[UUID, RepairToken], dict[UUID, frozenset[UUID]], dict[UUID, list[Held]]]:
    ids = {case.application.requester.repair_token for case in told} - {None}
    wanted = {each for each in ids if each is not None}
    tokens = repairs.tokens(connection, wanted) if wanted else {}
    uses = repairs.uses(connection, wanted) if wanted else {}
    return tokens, uses, {each: _held(connection, token, uses[each]) for each, token in tokens.items()}


def _held(connection: Connection, token: RepairToken, used: frozenset[UUID]) -> list[Held]:
    """What the node held when the token was made: what was issued since, by this token or otherwise, is not that."""
    current = identities.each(connection, token.window.cluster_id, _MOST_OF_A_NODE, {token.node})
    before = [one for one in newest(connection, current) if one.issued_at < token.created_at]
    known = {one.id for one in before}
    found = [*before, *(one for one in identities.with_ids(connection, used - known))]
    ders = identities.ders(connection, [one.id for one in found])
    return [Held(one, names_of(from_der(ders[one.id]))) for one in found]


_MOST_OF_A_NODE = 2_000


def admit_expired(case: Case, ground: RepairGround, refusal: ExpiredError, now: datetime) -> None:
    """Let a certificate that has expired renew, within an open window of its cluster and in its turn.

    Raises:
        ExpiredError: there is no such window, it takes no certificate like this one, or there is nothing to renew.
        StageWaitsError: an earlier stage has the turn.
    """
    wish, held = case.application.wish, case.application.requester.certificate
    is_own = isinstance(wish, Renewal) and held is not None and held.id == wish.current.id
    if not is_own or held is None or not _is_expired(held, now):
        raise refusal
    window = ground.windows.get(case.cluster_id) if case.cluster_id is not None else None
    ended = f"the certificate {held.serial} expired at {held.not_after:%Y-%m-%dT%H:%M:%SZ}"
    if window is None:
        name = case.cluster.name if case.cluster else None
        raise ExpiredError(f"{ended}; {way_out_of_expiry(name)}") from refusal
    _check_own(held, window, ended, now)
    profile = case.application.profile
    own = stage_of(profile) if profile is not None else Stage.REST
    if own not in ground.begun.get(window.cluster_id, frozenset()):
        message = (
            f"{ended}. In the repair window {window.id} the stage {own} waits until the stages before it"
            f" ({', '.join(earlier_stages(own))}) are over; ask again"
        )
        raise StageWaitsError(message, RETRY_AFTER)
    case.within = f"{ended}; it was renewed in the repair window {window.id}"


def _check_own(held: StoredCertificate, window: RepairWindow, ended: str, now: datetime) -> None:
    token = "the way out is a one-time token: trivet repair token CLUSTER NODE"  # noqa: S105  words, not a secret
    if held.superseded_at is not None:
        # Whoever has its successor is the holder. This may be a backup of the node, or what a thief copied from it.
        message = (
            f"{ended}, and was replaced at {held.superseded_at:%Y-%m-%dT%H:%M:%SZ} by a newer one, which alone may"
            f" renew in a repair. If this node was restored from a backup, {token}"
        )
        raise ExpiredError(message)
    if now - held.not_after > window.longest_expired:
        message = (
            f"{ended}, longer ago than the {window.longest_expired.days} days that the repair window"
            f" {window.id} takes; an administrator opens one with a larger --expired-for, or {token}"
        )
        raise ExpiredError(message)


def admit_token(case: Case, ground: RepairGround, now: datetime) -> None:
    """Hold whoever has a one-time token to what its node held, with a new key, each once, while the window is open.

    Raises:
        AuthenticationError: the token is gone, or its window is over.
        AccessDeniedError: the node held nothing like this.
        RejectedIdentifierError: the request names another node.
        BadPublicKeyError: the key is not new.
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
    if drafted.identity.spki_sha256 in ground.known_keys:
        message = (
            "a one-time token gives certificates to new keys only; make a key that no certificate has yet"
        )
        raise BadPublicKeyError(message)
    held = _match(ground.held[token.id], wish.profile, drafted.names)
    if held is None:
        message = (
            f"the node {token.node} held no certificate of the profile {wish.profile} with these names when this"
            " one-time token was made; ask for the names that it held, or for fewer"
        )
        raise AccessDeniedError(message)
    case.replaces = held.id
    case.within = (
        f"by the one-time token {token.id} for the node {token.node}, in the repair window {token.window.id}"
    )
    if held.id in ground.uses[token.id]:
        # Said once it is known that this is not the same request, sent again: that gets the same certificate.
        case.spent = spent(held.profile)


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
    """Refuse what a one-time token was used for before, unless it is the same request once more."""
    for case in cases:
        if case.outcome is None and case.spent is not None and case.earlier is None:
            case.outcome = case.spent


def use_tokens(connection: Connection, cases: Iterable[Case], now: datetime) -> None:
    """Note what one-time tokens were used for, in one order for all transactions; of two at once only one has it.

    What was signed for the other is neither stored nor sent.
    """
    used = [
        (token, case.replaces, case.outcome.stored.id, case)
        for case in cases
        if (token := case.application.requester.repair_token) is not None
        and case.replaces is not None
        and case.earlier is None
        and isinstance(case.outcome, IssuedCertificate)
    ]
    for token, held, certificate, case in sorted(used, key=lambda one: one[:2]):
        if not repairs.use(connection, token, held, certificate, now):
            case.outcome = spent(case.application.profile_name)
