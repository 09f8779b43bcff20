"""From what the use cases of repair give to the JSON of the REST API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trivet.authority.renewals.identities import has_expired, stage
from trivet.web.rest import schemas

if TYPE_CHECKING:
    from datetime import datetime

    from trivet.authority.renewals.budget import OutageBudget
    from trivet.authority.renewals.early import RenewalProgress
    from trivet.authority.repairs.plights import Pending
    from trivet.authority.repairs.survey import Progress
    from trivet.pki.repair import Turn
    from trivet.store.identities import CurrentCertificate
    from trivet.store.repair_tokens import RepairToken
    from trivet.store.repairs import RepairWindow

_MOST_SHOWN: Final = 500


def identity(
    held: CurrentCertificate, now: datetime, *, waited_for: bool = True, abandoned: bool = False
) -> schemas.Identity:
    """An identity by its newest certificate."""
    expired = has_expired(held.not_after, now)
    return schemas.Identity(
        serial_number=held.serial,
        profile=held.profile,
        node=held.node,
        common_name=held.common_name,
        issued_at=held.issued_at,
        not_after=held.not_after,
        status="revoked" if held.revoked_at else "expired" if expired else "valid",
        revoked_at=held.revoked_at,
        stage=stage(held).value,
        waited_for=waited_for,
        abandoned=abandoned,
    )


def early_renewal(progress: RenewalProgress, cluster: str) -> schemas.EarlyRenewal:
    """How far an early renewal is."""
    wish = progress.wish
    return schemas.EarlyRenewal(
        id=wish.id,
        cluster=cluster,
        asked_at=wish.asked_at,
        asked_by=wish.asked_by,
        ends_at=wish.ends_at,
        total=progress.total,
        fresh=progress.fresh,
        late=[
            schemas.LateIdentity(
                serial_number=one.held.serial,
                profile=one.held.profile,
                node=one.held.node,
                common_name=one.held.common_name,
                not_after=one.held.not_after,
                due_since=one.since,
            )
            for one in progress.late
        ],
    )


def budget(found: OutageBudget, cluster: str) -> schemas.OutageBudget:
    """An outage budget."""

    def seconds(end: datetime) -> int:
        return int((end - found.now).total_seconds())

    return schemas.OutageBudget(
        cluster=cluster,
        seconds=seconds(found.first.not_after) if found.first else None,
        ends_at=found.first.not_after if found.first else None,
        abandoned=found.abandoned,
        nodes=[
            schemas.NodeBudget(
                node=one.node,
                seconds=seconds(one.first.not_after),
                ends_at=one.first.not_after,
                profile=one.first.profile,
                serial_number=one.first.serial,
                identities=one.identities,
            )
            for one in found.nodes
        ],
    )


def repair(progress: Progress) -> schemas.Repair:
    """A repair window, and how the repair stands."""
    window, is_real = progress.window, not progress.is_rehearsal
    return schemas.Repair(
        id=window.id if is_real else None,
        cluster=progress.cluster.name,
        state=progress.state,
        opened_at=window.opened_at if is_real else None,
        opened_by=window.opened_by if is_real else None,
        ends_at=window.ends_at if is_real else None,
        closed_at=window.closed_at,
        closed_by=window.closed_by,
        expired_for_seconds=window.longest_expired_seconds,
        patience_seconds=window.patience_seconds,
        total=progress.total,
        fresh=progress.fresh,
        abandoned=progress.abandoned,
        stages=[_stage(turn) for turn in progress.turns],
        bars=[
            schemas.RepairBar(
                kind=bar.kind.value, detail=bar.detail, command=bar.command, identities=bar.identities
            )
            for bar in progress.bars
        ],
        warnings=list(progress.warnings),
        pending=[_pending(one) for one in progress.pending[:_MOST_SHOWN]],
    )


def _stage(turn: Turn) -> schemas.RepairStage:
    return schemas.RepairStage(
        name=turn.stage.value,
        state=turn.state,
        total=turn.tally.total,
        fresh=turn.tally.fresh,
        began_at=turn.began_at,
        ended_at=turn.event.at if turn.event else None,
        moved_at=turn.tally.moved_at,
    )


def _pending(one: Pending) -> schemas.RepairIdentity:
    held = one.held
    return schemas.RepairIdentity(
        serial_number=held.serial,
        profile=held.profile,
        node=held.node,
        common_name=held.common_name,
        not_after=held.not_after,
        stage=stage(held).value,
        state=one.plight.value,
        last_refusal=one.heard.detail if one.heard else None,
        heard_at=one.heard.at if one.heard else None,
    )


def summary(window: RepairWindow, now: datetime) -> schemas.RepairSummary:
    """A repair window."""
    return schemas.RepairSummary(
        id=window.id,
        state=window.outcome or ("open" if window.is_open(now) else "ended"),
        opened_at=window.opened_at,
        opened_by=window.opened_by,
        ends_at=window.ends_at,
        closed_at=window.closed_at,
        closed_by=window.closed_by,
    )


def token(
    made: RepairToken, secret: str, held: tuple[CurrentCertificate, ...], now: datetime
) -> schemas.RepairToken:
    """A one-time token with its secret."""
    return schemas.RepairToken(
        id=made.id,
        node=made.node,
        repair=made.window.id,
        created_at=made.created_at,
        expires_at=made.window.ends_at,
        identities=[identity(one, now) for one in held],
        secret=secret,
    )
