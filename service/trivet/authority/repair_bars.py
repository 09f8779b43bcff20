"""What still bars the way of a repair, in plain words, each with the command that clears it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from trivet.authority.identities import stage
from trivet.authority.judge import describe_entry
from trivet.pki.kubernetes import ALL_PROFILES
from trivet.pki.pem import from_der
from trivet.pki.repair import has_turn
from trivet.pki.revocation import Identity, identity_keys, matches
from trivet.pki.subjects import names_of
from trivet.store import authorities, identities, repairs, revocations
from trivet.store.authorities import GenerationState
from trivet.store.clusters import ALL_CLUSTERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime, timedelta
    from uuid import UUID

    from sqlalchemy import Connection

    from trivet.pki.names import Names
    from trivet.pki.repair import Turn
    from trivet.store.clusters import Cluster
    from trivet.store.identities import CurrentCertificate
    from trivet.store.repairs import Heard, RepairWindow
    from trivet.store.revocations import StandingEntry

MOST_JUDGED: Final = 2_000
_MOST_NAMED: Final = 10
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
class Bar:
    """One thing that bars the way.

    Attributes:
        kind: of the plight that it puts identities in.
        detail: what it is, in plain words.
        command: what clears it; None where it is not a command of Trivet's.
        identities: how many it concerns.
    """

    kind: Plight
    detail: str
    command: str | None
    identities: int


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
    first: UUID,
    now: datetime,
) -> list[Pending]:
    """How each identity that is not fresh stands; `first` is the least id of a decision within the window."""
    judged = _judge(connection, cluster, late[:MOST_JUDGED], now)
    active = _active(connection, cluster.id)
    heard = repairs.refusals_since(connection, cluster.id, first)
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


def bars_of(cluster: Cluster, found: Iterable[Pending], longest_expired: timedelta) -> list[Bar]:
    """What bars the way, those first that bar most."""
    groups: dict[tuple[Plight, object], list[Pending]] = {}
    for one in found:
        groups.setdefault((one.plight, _group(one)), []).append(one)
    order = list(Plight)
    bars = [
        _bar(cluster, plight, group, longest_expired)
        for (plight, _), group in groups.items()
        if plight not in {Plight.FRESH, Plight.WAITING}
    ]
    return sorted(bars, key=lambda bar: (order.index(bar.kind), -bar.identities, bar.detail))


def _group(one: Pending) -> object:
    match one.plight:
        case Plight.BANNED:
            return one.entry.id if one.entry else None
        case Plight.REVOKED | Plight.REFUSED:
            return one.held.node or one.held.id
        case Plight.NO_GENERATION:
            return one.held.authority
        case _:
            return None


def _bar(cluster: Cluster, plight: Plight, group: Sequence[Pending], longest_expired: timedelta) -> Bar:
    first = group[0]
    where = named(one.held for one in group)
    match plight:
        case Plight.BANNED:
            return _ban(cluster, first.entry, len(group), where)
        case Plight.NO_GENERATION:
            detail = (
                f"the authority {first.held.authority} has no active generation, so it signs nothing: {where}"
            )
            return Bar(plight, detail, None, len(group))
        case Plight.REVOKED:
            return _revoked(cluster, group, where)
        case Plight.TOO_OLD:
            return _too_old(cluster, group, where, longest_expired)
        case Plight.REFUSED:
            told = first.heard.detail if first.heard else ""
            return Bar(plight, f"{where} asked and was refused: {told}", None, len(group))
        case _:
            detail = f"not heard of since the window was opened: {where}. Is the agent running, can it reach Trivet?"
            return Bar(plight, detail, f"trivet repair abandon {cluster.name} NODE", len(group))


def _ban(cluster: Cluster, standing: StandingEntry | None, count: int, where: str) -> Bar:
    if standing is None:
        return Bar(Plight.BANNED, where, None, count)
    entry = standing.entry
    until = (
        "has no notBefore, so it bars every new certificate until it is deleted or gets one"
        if entry.not_before is None
        else f"bars new certificates until {entry.not_before:%Y-%m-%dT%H:%M:%SZ}"
    )
    namespace, _, name = standing.object_name.partition("/")
    scope = "--all-clusters" if standing.scope == ALL_CLUSTERS else f"--cluster {cluster.name}"
    command = f"trivet revocations delete {shlex.quote(name)} --namespace {shlex.quote(namespace)} {scope}"
    return Bar(Plight.BANNED, f"the {describe_entry(standing)} {until}: {where}", command, count)


def _revoked(cluster: Cluster, group: Sequence[Pending], where: str) -> Bar:
    first = group[0]
    why = f" by the {describe_entry(first.entry)}" if first.entry else ""
    node = first.held.node
    if node is None:
        detail = (
            f"revoked{why}: {where}. No node was noted with it, so no one-time token can be made for it:"
            " an issuer gives its holder a new one"
        )
        command = f"trivet sign CSR --profile {first.held.profile} --cluster {cluster.name}"
        return Bar(Plight.REVOKED, detail, command, len(group))
    detail = f"revoked{why}, so its key proves nothing any more: {where}. The node needs a one-time token"
    return Bar(Plight.REVOKED, detail, f"trivet repair token {cluster.name} {shlex.quote(node)}", len(group))


def _too_old(cluster: Cluster, group: Sequence[Pending], where: str, longest_expired: timedelta) -> Bar:
    oldest = min(one.held.not_after for one in group)
    detail = (
        f"expired longer ago than the {longest_expired.days} days that the window takes, the first at"
        f" {oldest:%Y-%m-%dT%H:%M:%SZ}: {where}."
        " Open a window that takes more, make one-time tokens, or give up the nodes"
    )
    return Bar(Plight.TOO_OLD, detail, f"trivet repair {cluster.name} --expired-for SPAN", len(group))


def named(held: Iterable[CurrentCertificate]) -> str:
    """The nodes and profiles, as many as can be read."""
    groups: dict[str, list[str]] = {}
    for one in held:
        groups.setdefault(one.node or "no node noted", []).append(one.profile)
    shown = [f"{node} ({', '.join(sorted(set(profiles)))})" for node, profiles in sorted(groups.items())]
    rest = len(shown) - _MOST_NAMED
    return ", ".join(shown[:_MOST_NAMED]) + (f", and {rest} more" if rest > 0 else "")
