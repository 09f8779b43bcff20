"""Look after repair windows: note which stages are over, and close what is done or has had its time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trivet.authority import record
from trivet.authority.access import Requester, Role
from trivet.authority.repairs.survey import Progress, survey
from trivet.pki.errors import NotFoundError
from trivet.store import clusters, repairs

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection

    from trivet.authority.context import Authority
    from trivet.pki.repair import Stage, StageEvent
    from trivet.store.clusters import Cluster
    from trivet.store.repairs import RepairWindow

TRIVET = Requester("trivet", Role.ADMIN)
"""Trivet itself, which closes windows and passes stages."""


def survey_now(
    authority: Authority,
    connection: Connection,
    cluster: Cluster,
    window: RepairWindow,
    now: datetime,
    *,
    is_rehearsal: bool = False,
) -> Progress:
    """How a repair stands now, as `repair_survey.survey` tells it."""
    return survey(connection, cluster, window, authority.policy.retention, now, is_rehearsal=is_rehearsal)


def find_window(connection: Connection, cluster: Cluster, window_id: UUID) -> RepairWindow:
    """The window of that id.

    Raises:
        NotFoundError: the cluster has none.
    """
    window = repairs.find(connection, cluster.id, window_id)
    if window is None:
        message = f"there is no repair window {window_id} of the cluster {cluster.name}"
        raise NotFoundError(message)
    return window


def look_after(authority: Authority, cluster: Cluster, window_id: UUID) -> Progress:
    """Note what is over in a window: stages, and the window itself, when all is fresh or its time has come."""
    with authority.database.write() as connection:
        now = authority.clock()
        window = find_window(connection, cluster, window_id)
        progress = survey_now(authority, connection, cluster, window, now)
        if window.closed_at is not None:
            return progress
        for turn in progress.turns:
            if (
                turn.event is not None
                and turn.stage not in progress.recorded
                and turn.event.at <= window.ends_at
            ):
                end_stage(authority, connection, TRIVET, window, turn.stage, turn.event)
        if outcome := _outcome(progress, now):
            moment = min(now, window.ends_at)
            close_window(authority, connection, TRIVET, window, outcome, moment)
        return survey_now(authority, connection, cluster, find_window(connection, cluster, window_id), now)


def look_after_all(authority: Authority) -> int:
    """Look after every window that is not closed, of all clusters; say how many there were."""
    with authority.database.read() as connection:
        standing = repairs.all_unclosed(connection)
        names = clusters.names_by_id(connection) if standing else {}
        known = {window.id: clusters.get(connection, names[window.cluster_id]) for window in standing}
    for window in standing:
        look_after(authority, known[window.id], window.id)
    return len(standing)


def is_news(progress: Progress, now: datetime) -> bool:
    """Whether something is over that nobody has noted yet."""
    if progress.window.closed_at is not None:
        return False
    over = {turn.stage for turn in progress.turns if turn.event is not None}
    return bool(over - progress.recorded.keys()) or _outcome(progress, now) is not None


def _outcome(progress: Progress, now: datetime) -> str | None:
    """Why the window is over; a window that was opened though all was fresh stays, for whoever needs a token."""
    if progress.fresh >= progress.total and progress.window.pending > 0:
        return "completed"
    return None if progress.window.is_open(now) else "ended"


def end_stage(
    authority: Authority,
    connection: Connection,
    requester: Requester,
    window: RepairWindow,
    stage: Stage,
    event: StageEvent,
) -> bool:
    """Note the end of a stage; say whether it was not noted before."""
    if not repairs.end_stage(connection, window.id, stage, event):
        return False
    details = {"stage": stage.value, "ended": event.end.value, "at": event.at.isoformat()}
    record.change(
        authority, connection, requester, "repair.stage", str(window.id), window.cluster_id, details
    )
    return True


def close_window(
    authority: Authority,
    connection: Connection,
    requester: Requester,
    window: RepairWindow,
    outcome: str,
    moment: datetime,
) -> None:
    """Close a window, and leave a record, unless somebody else did."""
    if repairs.close(connection, window.id, outcome, moment, requester.name):
        record.change(
            authority,
            connection,
            requester,
            "repair.close",
            str(window.id),
            window.cluster_id,
            {"outcome": outcome},
        )
