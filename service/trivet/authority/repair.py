"""Repair windows: open one, look after it, close it. Expired certificates renew in it (`authority.repairs.gate`)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from trivet.authority import once, record
from trivet.authority.access import Permission, authorized_cluster
from trivet.authority.repairs.watch import (
    TRIVET,
    close_window,
    end_stage,
    find_window,
    is_news,
    look_after,
    survey_now,
)
from trivet.pki.errors import ConflictError, Fault, InvalidError
from trivet.pki.repair import (
    DEFAULT_PATIENCE,
    DEFAULT_WINDOW,
    LONGEST_PATIENCE,
    LONGEST_WINDOW,
    SHORTEST_PATIENCE,
    SHORTEST_WINDOW,
    STAGES,
    Stage,
    StageEnd,
    StageEvent,
)
from trivet.store import repairs
from trivet.store.engine import lock_exclusive
from trivet.store.repairs import RepairWindow

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from trivet.authority.access import Requester
    from trivet.authority.context import Authority
    from trivet.authority.repairs.survey import Progress
    from trivet.store.clusters import Cluster

_LONGEST_REACH = timedelta(days=3650)


def open_repair(
    authority: Authority,
    requester: Requester,
    cluster: str,
    *,
    lifetime: timedelta = DEFAULT_WINDOW,
    expired_for: timedelta | None = None,
    patience: timedelta = DEFAULT_PATIENCE,
    idempotency_key: str | None = None,
) -> Progress:
    """Open a window in which the cluster's expired certificates may renew, stage by stage.

    Args:
        authority: the context.
        requester: an administrator.
        cluster: its name.
        lifetime: how long the window stays open at most.
        expired_for: how long ago a certificate may have expired; None for what the operator set.
        patience: how long a stage may stand still before the next one begins.
        idempotency_key: one window for it, however often it is asked.

    Raises:
        NotFoundError: there is no such cluster.
        ConflictError: a window is open already.
        InvalidError: a span is too short or too long.
    """
    reach = _checked(authority, lifetime, expired_for, patience)
    with authority.database.write() as connection:
        now = authority.clock()
        found = authorized_cluster(connection, requester, Permission.WRITE_REPAIR, cluster, now)
        window = _window(authority, found, requester, now, (lifetime, reach, patience))
        asked = once.fingerprint("repair.open", cluster, lifetime, expired_for, patience)
        earlier = once.take(connection, requester, idempotency_key, asked, str(window.id), now)
        if earlier is not None:
            return survey_now(
                authority, connection, found, find_window(connection, found, UUID(earlier)), now
            )
        _refuse_second(authority, connection, found, now)
        rehearsed = survey_now(authority, connection, found, window, now, is_rehearsal=True)
        window = replace(window, pending=rehearsed.total - rehearsed.fresh)
        repairs.add(connection, window)
        details = {
            "until": window.ends_at.isoformat(),
            "expiredForSeconds": window.longest_expired_seconds,
            "pending": window.pending,
        }
        record.change(authority, connection, requester, "repair.open", str(window.id), found.id, details)
        return survey_now(authority, connection, found, window, now)


def rehearse_repair(
    authority: Authority, requester: Requester, cluster: str, expired_for: timedelta | None = None
) -> Progress:
    """What a repair would have to do, and what would bar its way; nothing is opened.

    Raises:
        NotFoundError: there is no such cluster.
        InvalidError: the span is too long.
    """
    reach = _checked(authority, DEFAULT_WINDOW, expired_for, DEFAULT_PATIENCE)
    with authority.database.read() as connection:
        now = authority.clock()
        found = authorized_cluster(connection, requester, Permission.READ_REPAIR, cluster, now)
        window = _window(authority, found, requester, now, (DEFAULT_WINDOW, reach, DEFAULT_PATIENCE))
        return survey_now(authority, connection, found, window, now, is_rehearsal=True)


def _checked(
    authority: Authority, lifetime: timedelta, expired_for: timedelta | None, patience: timedelta
) -> timedelta:
    reach = authority.policy.longest_expired if expired_for is None else expired_for
    for pointer, span, least, most in (
        ("/forSeconds", lifetime, SHORTEST_WINDOW, LONGEST_WINDOW),
        ("/expiredForSeconds", reach, timedelta(seconds=1), _LONGEST_REACH),
        ("/patienceSeconds", patience, SHORTEST_PATIENCE, LONGEST_PATIENCE),
    ):
        if not least <= span <= most:
            message = f"must be {least.total_seconds():.0f} to {most.total_seconds():.0f} seconds"
            raise InvalidError(f"{pointer[1:]} {message}", Fault(pointer, message))
    return reach


def _window(
    authority: Authority,
    cluster: Cluster,
    requester: Requester,
    now: datetime,
    spans: tuple[timedelta, timedelta, timedelta],
) -> RepairWindow:
    lifetime, reach, patience = spans
    return RepairWindow(
        id=authority.new_id(now),
        cluster_id=cluster.id,
        opened_at=now,
        opened_by=requester.name,
        ends_at=now + lifetime,
        longest_expired_seconds=int(reach.total_seconds()),
        patience_seconds=int(patience.total_seconds()),
        pending=0,
    )


def _refuse_second(authority: Authority, connection: Connection, cluster: Cluster, now: datetime) -> None:
    standing = repairs.unclosed(connection, {cluster.id}).get(cluster.id)
    if standing is None:
        return
    if not standing.is_open(now):
        close_window(authority, connection, TRIVET, standing, "ended", standing.ends_at)
        return
    message = (
        f"the repair window {standing.id} of the cluster {cluster.name} is open until"
        f" {standing.ends_at:%Y-%m-%dT%H:%M:%SZ}; follow it with: trivet repair status {cluster.name},"
        f" or close it with: trivet repair close {cluster.name}"
    )
    raise ConflictError(message)


def repair_progress(authority: Authority, requester: Requester, cluster: str, window_id: UUID) -> Progress:
    """How a repair stands now; what is over is noted.

    Raises:
        NotFoundError: there is no such window.
    """
    with authority.database.read() as connection:
        now = authority.clock()
        found = authorized_cluster(connection, requester, Permission.READ_REPAIR, cluster, now)
        progress = survey_now(authority, connection, found, find_window(connection, found, window_id), now)
    return look_after(authority, found, window_id) if is_news(progress, now) else progress


def list_repairs(
    authority: Authority, requester: Requester, cluster: str, before: UUID | None, limit: int
) -> tuple[datetime, list[RepairWindow]]:
    """The time, and the repair windows of a cluster, newest first."""
    with authority.database.read() as connection:
        now = authority.clock()
        found = authorized_cluster(connection, requester, Permission.READ_REPAIR, cluster, now)
        return now, repairs.page(connection, found.id, before, limit)


def close_repair(authority: Authority, requester: Requester, cluster: str, window_id: UUID) -> None:
    """Close a window at once: once this returns, no expired certificate renews in it, and its tokens are worthless.

    Raises:
        NotFoundError: there is no such window.
        ConflictError: it is over already.
    """
    with authority.database.write() as connection:
        now = authority.clock()
        found = authorized_cluster(connection, requester, Permission.WRITE_REPAIR, cluster, now)
        # Whoever issues holds this shared: what was begun is finished, and what comes after sees the window closed.
        lock_exclusive(connection, [found.id])
        window = find_window(connection, found, window_id)
        if not window.is_open(now):
            message = f"the repair window {window_id} is over already"
            raise ConflictError(message)
        close_window(authority, connection, requester, window, "closed", now)


def skip_stage(
    authority: Authority,
    requester: Requester,
    cluster: str,
    window_id: UUID,
    stage: Stage,
    idempotency_key: str | None = None,
) -> Progress:
    """Let the next stage begin, though this one is not over.

    Raises:
        NotFoundError: there is no such window.
        ConflictError: the window or the stage is over already.
        InvalidError: nothing comes after the last stage.
    """
    if stage is STAGES[-1]:
        message = f"no stage waits for {stage}; skip one of {', '.join(STAGES[:-1])}"
        raise InvalidError(message, Fault("/stage", message))
    with authority.database.write() as connection:
        now = authority.clock()
        found = authorized_cluster(connection, requester, Permission.WRITE_REPAIR, cluster, now)
        window = find_window(connection, found, window_id)
        asked = once.fingerprint("repair.skip", cluster, window_id, stage)
        if (
            once.take(connection, requester, idempotency_key, asked, str(authority.new_id(now)), now)
            is not None
        ):
            return survey_now(authority, connection, found, window, now)
        if not window.is_open(now):
            message = f"the repair window {window_id} is over already"
            raise ConflictError(message)
        if not end_stage(authority, connection, requester, window, stage, StageEvent(StageEnd.SKIPPED, now)):
            message = f"the stage {stage} is over already"
            raise ConflictError(message)
        return survey_now(authority, connection, found, window, now)
