"""What the gate of a repair decides on (`authority.repairs.gate`), read within the transaction that issues.

Nothing is read unless somebody in the batch holds an expired certificate or a one-time token.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from trivet.authority.memory import SeenTurns
from trivet.authority.renewals.identities import has_expired, holdings, newest
from trivet.authority.repairs.tally import tallies_of
from trivet.pki.pem import from_der
from trivet.pki.repair import STAGES, Stage, earlier_stages, has_turn, stage_of, turns
from trivet.pki.subjects import names_of
from trivet.store import identities, repair_tokens, repairs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection

    from trivet.authority.context import Authority
    from trivet.authority.issuance.case import Case
    from trivet.pki.names import Names
    from trivet.pki.repair import StageEvent
    from trivet.store.certificates import StoredCertificate
    from trivet.store.identities import CurrentCertificate
    from trivet.store.repair_tokens import RepairToken
    from trivet.store.repairs import RepairWindow

_MOST_OF_A_NODE: Final = 2_000
_LOOK_EVERY: Final = timedelta(seconds=1)
"""How often a process counts for a window whose turn it is, however many agents ask in the wrong order."""


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


def read_ground(
    authority: Authority, connection: Connection, cases: Iterable[Case], now: datetime
) -> RepairGround:
    """Read what the batch needs; where it needs nothing, read nothing."""
    late = [case for case in cases if is_late(case.application.current, now)]
    told = [case for case in cases if case.application.requester.repair_token is not None]
    if not late and not told:
        return NOTHING
    windows, begun = _read_windows(authority, connection, late, now)
    tokens, uses, held = _read_tokens(connection, told)
    keys = {case.draft.identity.spki_sha256 for case in told if case.draft is not None}
    known_keys = frozenset(key for key in keys if identities.knows_key(connection, key))
    return RepairGround(windows, begun, tokens, uses, held, known_keys)


def is_late(held: StoredCertificate | None, now: datetime) -> bool:
    """Whether a certificate vouches for the wish that has expired."""
    return held is not None and has_expired(held.not_after, now)


def _read_windows(
    authority: Authority, connection: Connection, late: Sequence[Case], now: datetime
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
        cluster: _begun(authority, connection, window, events[window.id], wanted[cluster], now)
        for cluster, window in windows.items()
    }


def _begun(
    authority: Authority,
    connection: Connection,
    window: RepairWindow,
    events: Mapping[Stage, StageEvent],
    wanted: set[Stage],
    now: datetime,
) -> frozenset[Stage]:
    """The stages, of those wanted, whose turn has come."""
    begun = {each for each in wanted if set(earlier_stages(each)) <= events.keys()}
    if begun == wanted:
        return frozenset(begun)
    # A stage may be over without anybody having noted it yet.
    return frozenset(begun | (_seen_turns(authority, connection, window, events, now) & wanted))


def _seen_turns(
    authority: Authority,
    connection: Connection,
    window: RepairWindow,
    events: Mapping[Stage, StageEvent],
    now: datetime,
) -> frozenset[Stage]:
    """The stages whose turn has come, counted no more often than is of use: thousands may wait and ask."""
    last, noted = authority.memory.turns.get(window.id), frozenset(events)
    if last is not None and last.noted == noted and timedelta(0) <= now - last.at < _LOOK_EVERY:
        return last.begun
    tallies = tallies_of(holdings(connection, window.cluster_id), window, now)
    found = turns(tallies, events, window.opened_at, window.patience, now)
    # Whoever was told to begin is not stopped again.
    begun = frozenset(each for each in STAGES if has_turn(found, each)) | (
        last.begun if last else frozenset()
    )
    authority.memory.turns.put(window.id, SeenTurns(now, begun, noted))
    return begun


def _read_tokens(
    connection: Connection, told: Sequence[Case]
) -> tuple[dict[UUID, RepairToken], dict[UUID, frozenset[UUID]], dict[UUID, list[Held]]]:
    ids = {case.application.requester.repair_token for case in told} - {None}
    wanted = {each for each in ids if each is not None}
    tokens = repair_tokens.with_ids(connection, wanted) if wanted else {}
    # Before the uses: whoever uses a token meanwhile supersedes what its node holds, and is seen there then.
    before = {each: _held_before(connection, token) for each, token in tokens.items()}
    uses = repair_tokens.uses(connection, wanted) if wanted else {}
    return tokens, uses, {each: _held(connection, before[each], uses[each]) for each in tokens}


def _held_before(connection: Connection, token: RepairToken) -> list[CurrentCertificate]:
    """What the node holds and held when the token was made: what was issued since is not that."""
    current = identities.each(connection, token.window.cluster_id, _MOST_OF_A_NODE, {token.node})
    return [one for one in newest(connection, current) if one.issued_at < token.created_at]


def _held(connection: Connection, before: Sequence[CurrentCertificate], used: frozenset[UUID]) -> list[Held]:
    """With what the token was used for already."""
    known = {one.id for one in before}
    found = [*before, *(one for one in identities.with_ids(connection, used - known))]
    ders = identities.ders(connection, [one.id for one in found])
    return [Held(one, names_of(from_der(ders[one.id]))) for one in found]
