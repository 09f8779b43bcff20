"""How a repair stands: stage by stage, identity by identity, and what bars the way."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final
from uuid import UUID

from trivet.authority.renewals.identities import holdings, is_fresh, stage
from trivet.authority.repairs.bars import Bar, bars_of
from trivet.authority.repairs.plights import MOST_JUDGED, Pending, Plight, pending_of
from trivet.authority.repairs.tally import tallies_of
from trivet.pki.repair import STAGES, turns
from trivet.store import repairs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from sqlalchemy import Connection

    from trivet.authority.renewals.identities import Holdings
    from trivet.pki.repair import Stage, StageEvent, Turn
    from trivet.store.clusters import Cluster
    from trivet.store.identities import CurrentCertificate
    from trivet.store.repairs import Heard, RepairWindow

_RANDOM_BITS: Final = 80  # of a UUIDv7, after the milliseconds (RFC 9562 section 5.7)
_MOST_STRANGERS: Final = 20


@dataclass(frozen=True, slots=True)
class Progress:
    """How a repair stands.

    Attributes:
        cluster: which.
        window: of the repair; for a rehearsal one that is not stored.
        turns: the stages in their order.
        recorded: the ends of stages that are noted already.
        pending: the identities that are not fresh, in the order of their stages.
        bars: what bars the way.
        warnings: what an administrator should know besides.
        abandoned: how many identities were given up.
        is_rehearsal: whether nothing was opened.
    """

    cluster: Cluster
    window: RepairWindow
    turns: tuple[Turn, ...]
    recorded: dict[Stage, StageEvent]
    pending: tuple[Pending, ...]
    bars: tuple[Bar, ...]
    warnings: tuple[str, ...] = ()
    abandoned: int = 0
    is_rehearsal: bool = False
    now: datetime | None = field(default=None)

    @property
    def total(self) -> int:
        """How many identities are waited for."""
        return sum(turn.tally.total for turn in self.turns)

    @property
    def fresh(self) -> int:
        """How many of them are fresh."""
        return sum(turn.tally.fresh for turn in self.turns)

    @property
    def state(self) -> str:
        """`rehearsal`, `open`, `completed`, `ended` (by time) or `closed` (by an administrator)."""
        if self.is_rehearsal:
            return "rehearsal"
        if self.window.outcome is not None:
            return self.window.outcome
        return "open" if self.now is None or self.window.is_open(self.now) else "ended"


def survey(
    connection: Connection,
    cluster: Cluster,
    window: RepairWindow,
    retention: timedelta | None,
    now: datetime,
    *,
    is_rehearsal: bool = False,
) -> Progress:
    """Look at all that a cluster holds, and at what its holders were told.

    Args:
        connection: to read with.
        cluster: which.
        window: of the repair.
        retention: how long expired certificates are kept; None where that is not known.
        now: the time.
        is_rehearsal: the window is not stored.
    """
    held = holdings(connection, cluster.id)
    recorded = repairs.stages(connection, [window.id])[window.id] if not is_rehearsal else {}
    found = turns(tallies_of(held, window, now), recorded, window.opened_at, window.patience, now)
    late = [one for one in held.waited_for if not is_fresh(one, now)]
    late.sort(key=lambda one: (STAGES.index(stage(one)), one.node or "", one.profile, one.serial))
    heard = _heard(connection, window) if not is_rehearsal else {}
    pending = pending_of(connection, cluster, late, window, found, heard, now)
    if is_rehearsal:
        # Nobody can have been heard of in a window that is not open.
        pending = [
            replace(one, plight=Plight.WAITING) if one.plight is Plight.SILENT else one for one in pending
        ]
    bars = bars_of(cluster, pending, window, now)
    warnings = _warnings(held, late, window, retention, now) + _strangers(held, heard, cluster)
    return Progress(
        cluster, window, found, recorded, tuple(pending), tuple(bars), tuple(warnings), len(held.abandoned),
        is_rehearsal, now,
    )  # fmt: skip


def _heard(connection: Connection, window: RepairWindow) -> dict[str, Heard]:
    """What holders were told since the window was opened: the ids of decisions begin with their time."""
    first = UUID(int=int(window.opened_at.timestamp() * 1000) << _RANDOM_BITS)
    return repairs.refusals_since(connection, window.cluster_id, first)


def _warnings(
    held: Holdings,
    late: Sequence[CurrentCertificate],
    window: RepairWindow,
    retention: timedelta | None,
    now: datetime,
) -> list[str]:
    found = []
    if retention is not None and _may_be_forgotten(held, window, retention, now):
        found.append(
            f"certificates are kept for {retention.days} days after they expired (retention_days): what expired longer"
            " ago can neither renew nor be listed here; its holders need new certificates from an issuer"
        )
    if not held.is_complete:
        found.append(
            f"the cluster holds more certificates than are looked at; these are the {len(held.waited_for)} newest"
        )
    if len(late) > MOST_JUDGED:
        found.append(
            f"revocation entries were compared with the first {MOST_JUDGED} of {len(late)} identities only"
        )
    without = {one.profile for one in held.waited_for if one.node is None}
    if without:
        found.append(
            f"no node is noted with certificates of the profiles {', '.join(sorted(without))}: of several nodes that"
            " hold one only the newest counts here; provision with a node (?node=) to tell them apart"
        )
    return found


def _may_be_forgotten(held: Holdings, window: RepairWindow, retention: timedelta, now: datetime) -> bool:
    """Whether some of what the cluster held may be kept no longer: it holds nothing, or what is nearly as old."""
    if retention >= window.longest_expired:
        return False
    ends = [one.not_after for one in held.waited_for]
    return not ends or now - min(ends) > retention / 2


def _strangers(held: Holdings, heard: dict[str, Heard], cluster: Cluster) -> list[str]:
    known = {one.serial for one in (*held.waited_for, *held.others, *held.abandoned)}
    lost = [one for serial, one in heard.items() if serial not in known and one.reason == "expired"]
    return [
        f"the holder of the certificate {one.serial}, which is not the newest of its identity, was refused:"
        f" {one.detail} (cluster {cluster.name})"
        for one in lost[:_MOST_STRANGERS]
    ]
