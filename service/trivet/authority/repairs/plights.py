"""How each identity that is not fresh stands in a repair, and why."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from trivet.authority.renewals.identities import stage
from trivet.pki.kubernetes import ALL_PROFILES
from trivet.pki.pem import from_der
from trivet.pki.repair import has_turn
from trivet.pki.revocation import Identity, identity_keys, matches
from trivet.pki.subjects import names_of
from trivet.store import authorities, identities, repairs, revocations
from trivet.store.authorities import GenerationState
from trivet.store.clusters import ALL_CLUSTERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection

    from trivet.pki.names import Names
    from trivet.pki.repair import Turn
    from trivet.store.clusters import Cluster
    from trivet.store.identities import CurrentCertificate
    from trivet.store.repairs import Heard, RepairWindow
    from trivet.store.revocations import StandingEntry

MOST_JUDGED: Final = 2_000
_COMES_AGAIN: Final = frozenset({"stageWaits", "unavailable", "rateLimited"})


class Plight(StrEnum):
    """How an identity stands in a repair."""

    FRESH = "fresh"
    BANNED = "banned"
    NO_GENERATION = "no-active-generation"
    REVOKED = "revoked"
    TOO_OLD = "expired-too-long-ago"
    WAITING = "waiting"
    REFUSED = "refused"
    SILENT = "not-heard-of"


@dataclass(frozen=True, slots=True)
class Pending:
    """An identity that is not fresh, why, and what its holder was last told."""

    held: CurrentCertificate
    plight: Plight
    entry: StandingEntry | None = None
    heard: Heard | None = None


@dataclass(frozen=True, slots=True)
class _Judged:
    """The entry that bars whatever is asked for, and the one that only bars the certificate that is held."""

    always: StandingEntry | None = None
    held: StandingEntry | None = None


def pending_of(
    connection: Connection,
    cluster: Cluster,
    late: Sequence[CurrentCertificate],
    window: RepairWindow,
    turns: tuple[Turn, ...],
    heard: Mapping[str, Heard],
    now: datetime,
) -> list[Pending]:
    """How each identity that is not fresh stands; `heard` has what its holder was told within the window."""
    judged = _judge(connection, cluster, late[:MOST_JUDGED], now)
    active = _active(connection, cluster.id)
    return [
        _pending(one, judged.get(one.id, _Judged()), active, window, turns, heard.get(one.serial), now)
        for one in late
    ]


def _pending(
    one: CurrentCertificate,
    judged: _Judged,
    active: frozenset[str],
    window: RepairWindow,
    turns: tuple[Turn, ...],
    heard: Heard | None,
    now: datetime,
) -> Pending:
    profile = ALL_PROFILES.get(one.profile)
    entry: StandingEntry | None = None
    if profile is None or profile.authority.value not in active:
        plight = Plight.NO_GENERATION
    elif judged.always is not None:
        plight, entry = Plight.BANNED, judged.always
    elif one.revoked_at is not None or judged.held is not None:
        plight, entry = Plight.REVOKED, judged.held
    elif now - one.not_after > window.longest_expired:
        plight = Plight.TOO_OLD
    elif not has_turn(turns, stage(one)):
        plight = Plight.WAITING
    else:
        plight = _told(heard)
    return Pending(one, plight, entry, heard)


def _told(heard: Heard | None) -> Plight:
    if heard is None:
        return Plight.SILENT
    return Plight.WAITING if heard.reason in _COMES_AGAIN else Plight.REFUSED


def _active(connection: Connection, cluster_id: UUID) -> frozenset[str]:
    return frozenset(
        one.name.value
        for one in authorities.all_generations(connection, cluster_id)
        if one.state is GenerationState.ACTIVE
    )


def _judge(
    connection: Connection, cluster: Cluster, late: Sequence[CurrentCertificate], now: datetime
) -> dict[UUID, _Judged]:
    """What the standing entries say to a renewal, and to a certificate issued anew, of each identity."""
    scopes = {cluster.id, ALL_CLUSTERS}
    if not late or not repairs.has_revocations(connection, scopes):
        return {}
    names = {
        key: names_of(from_der(der))
        for key, der in identities.ders(connection, [one.id for one in late]).items()
    }
    held = {one.id: _held(one, names[one.id]) for one in late}
    keys = frozenset().union(*(identity_keys(identity) for identity in held.values()))
    found = [entry for entry in revocations.candidates(connection, keys) if entry.scope in scopes]
    return {one.id: _judged(one, held[one.id], names[one.id], found, now) for one in late}


def _held(one: CurrentCertificate, names: Names) -> Identity:
    return Identity(names, one.spki_sha256, serials=frozenset({one.serial}))


def _judged(
    one: CurrentCertificate, held: Identity, names: Names, found: Iterable[StandingEntry], now: datetime
) -> _Judged:
    anew = Identity(names, "")  # by a one-time token: a key that no entry names yet, descended from nothing
    always, existing = None, None
    for standing in found:
        if matches(standing.entry, anew) and standing.entry.covers(now):
            always = always or standing
        elif matches(standing.entry, held) and standing.entry.covers(one.issued_at):
            existing = existing or standing
    return _Judged(always, existing)
