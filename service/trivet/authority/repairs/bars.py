"""What still bars the way of a repair, in plain words, each with the command that clears it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from trivet.authority.issuance.judge import describe_entry
from trivet.authority.repairs.plights import Pending, Plight
from trivet.store.clusters import ALL_CLUSTERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from trivet.store.clusters import Cluster
    from trivet.store.identities import CurrentCertificate
    from trivet.store.repairs import RepairWindow
    from trivet.store.revocations import StandingEntry

_MOST_NAMED: Final = 10


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


def bars_of(cluster: Cluster, found: Iterable[Pending], window: RepairWindow, now: datetime) -> list[Bar]:
    """What bars the way, by kind, those first that bar most."""
    groups: dict[tuple[Plight, object], list[Pending]] = {}
    for one in found:
        groups.setdefault((one.plight, _group(one)), []).append(one)
    order = list(Plight)
    bars = [
        _bar(cluster, plight, group, window, now)
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


def _bar(
    cluster: Cluster, plight: Plight, group: Sequence[Pending], window: RepairWindow, now: datetime
) -> Bar:
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
            return _too_old(cluster, group, where, window, now)
        case Plight.REFUSED:
            told = first.heard.detail if first.heard else ""
            return Bar(plight, f"{where} asked and was refused: {told}", None, len(group))
        case _:
            return _silent(cluster, group, where)


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


def _too_old(
    cluster: Cluster, group: Sequence[Pending], where: str, window: RepairWindow, now: datetime
) -> Bar:
    oldest = min(one.held.not_after for one in group)
    detail = (
        f"expired longer ago than the {window.longest_expired.days} days that the window takes, the first at"
        f" {oldest:%Y-%m-%dT%H:%M:%SZ}: {where}."
        " Close this window and open one that takes more, make one-time tokens, or give up the nodes"
    )
    command = f"trivet repair {cluster.name} --expired-for {(now - oldest).days + 2}d"
    return Bar(Plight.TOO_OLD, detail, command, len(group))


def _silent(cluster: Cluster, group: Sequence[Pending], where: str) -> Bar:
    nodes = {one.held.node for one in group}
    node = nodes.pop() if len(nodes) == 1 else None
    detail = (
        f"not heard of since the window was opened: {where}. Is the agent running, can it reach Trivet?"
        " What has no agent: trivet repair-node on the node. A node that is no more: give it up"
    )
    given_up = shlex.quote(node) if node else "NODE"
    return Bar(Plight.SILENT, detail, f"trivet repair abandon {cluster.name} {given_up}", len(group))


def named(held: Iterable[CurrentCertificate]) -> str:
    """The nodes and profiles, as many as can be read."""
    groups: dict[str, list[str]] = {}
    for one in held:
        groups.setdefault(one.node or "no node noted", []).append(one.profile)
    shown = [f"{node} ({', '.join(sorted(set(profiles)))})" for node, profiles in sorted(groups.items())]
    rest = len(shown) - _MOST_NAMED
    return ", ".join(shown[:_MOST_NAMED]) + (f", and {rest} more" if rest > 0 else "")
