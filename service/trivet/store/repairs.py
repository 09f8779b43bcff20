"""Repair windows, and the stages of each that are over; what holders were told meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from trivet.pki.repair import Stage, StageEnd, StageEvent
from trivet.store.tables import (
    decisions,
    repair_stages,
    repair_windows,
    revocations,
)

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection, Row

_MOST_REFUSALS: Final = 5_000
_MOST_OPEN: Final = 1_000


@dataclass(frozen=True, slots=True)
class RepairWindow:
    """A bounded time in which a cluster's expired certificates may renew.

    Attributes:
        pending: how many identities were not fresh when it was opened.
        outcome: `completed`, `ended` or `closed`; None while it is not closed.
    """

    id: UUID
    cluster_id: UUID
    opened_at: datetime
    opened_by: str
    ends_at: datetime
    longest_expired_seconds: int
    patience_seconds: int
    pending: int
    outcome: str | None = None
    closed_at: datetime | None = None
    closed_by: str | None = None

    @property
    def longest_expired(self) -> timedelta:
        """How long ago a certificate may have expired."""
        return timedelta(seconds=self.longest_expired_seconds)

    @property
    def patience(self) -> timedelta:
        """How long a stage may stand still before it is passed."""
        return timedelta(seconds=self.patience_seconds)

    def is_open(self, now: datetime) -> bool:
        """Whether it lets anybody renew. Its end counts though nobody has noted it yet."""
        return self.closed_at is None and self.opened_at <= now < self.ends_at


@dataclass(frozen=True, slots=True)
class Heard:
    """The last refusal of a certificate's holder."""

    serial: str
    reason: str
    detail: str
    at: datetime


_FIELDS = tuple(RepairWindow.__dataclass_fields__)


def add(connection: Connection, window: RepairWindow) -> None:
    """Store a window; a unique index holds a cluster to one that is not closed."""
    connection.execute(insert(repair_windows).values({name: getattr(window, name) for name in _FIELDS}))


def find(connection: Connection, cluster_id: UUID, window_id: UUID) -> RepairWindow | None:
    """The window of that id, if it is of that cluster."""
    columns = repair_windows.c
    query = select(repair_windows).where(columns.id == window_id, columns.cluster_id == cluster_id)
    row = connection.execute(query).first()
    return window_of(row) if row else None


def unclosed(connection: Connection, cluster_ids: Collection[UUID]) -> dict[UUID, RepairWindow]:
    """The windows of clusters that are not closed, by cluster; whether one has ended, `is_open` tells."""
    columns = repair_windows.c
    query = select(repair_windows).where(
        columns.cluster_id.in_(sorted(cluster_ids)), columns.closed_at.is_(None)
    )
    return {row.cluster_id: window_of(row) for row in connection.execute(query)}


def all_unclosed(connection: Connection) -> list[RepairWindow]:
    """The windows of all clusters that are not closed, oldest first."""
    columns = repair_windows.c
    query = select(repair_windows).where(columns.closed_at.is_(None)).order_by(columns.id).limit(_MOST_OPEN)
    return [window_of(row) for row in connection.execute(query)]


def page(connection: Connection, cluster_id: UUID, before: UUID | None, limit: int) -> list[RepairWindow]:
    """The windows of a cluster, newest first, from the first one older than `before`."""
    columns = repair_windows.c
    query = select(repair_windows).where(columns.cluster_id == cluster_id)
    if before is not None:
        query = query.where(columns.id < before)
    return [window_of(row) for row in connection.execute(query.order_by(columns.id.desc()).limit(limit))]


def close(connection: Connection, window_id: UUID, outcome: str, moment: datetime, by: str) -> bool:
    """Close a window; say whether it was not closed yet."""
    columns = repair_windows.c
    query = (
        update(repair_windows)
        .where(columns.id == window_id, columns.closed_at.is_(None))
        .values(outcome=outcome, closed_at=moment, closed_by=by)
    )
    return connection.execute(query).rowcount == 1


def stages(connection: Connection, window_ids: Collection[UUID]) -> dict[UUID, dict[Stage, StageEvent]]:
    """The stages that are over, by window."""
    found: dict[UUID, dict[Stage, StageEvent]] = {each: {} for each in window_ids}
    query = select(repair_stages).where(repair_stages.c.window_id.in_(sorted(window_ids)))
    for row in connection.execute(query):
        found[row.window_id][Stage(row.stage)] = StageEvent(StageEnd(row.ended), row.ended_at)
    return found


def end_stage(connection: Connection, window_id: UUID, stage: Stage, event: StageEvent) -> bool:
    """Note that a stage is over, for good; say whether it was not yet."""
    row = {
        "window_id": window_id,
        "stage": stage.value,
        "ended": event.end.value,
        "ended_at": event.at,
    }
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(repair_stages).values(row).on_conflict_do_nothing()
    return connection.execute(statement.returning(repair_stages.c.stage)).first() is not None


def refusals_since(connection: Connection, cluster_id: UUID, first: UUID) -> dict[str, Heard]:
    """The last refusal of each certificate's holder, by serial, among the newest decisions from an id on."""
    columns = decisions.c
    query = (
        select(columns.parent_serial, columns.reason, columns.detail, columns.decided_at)
        .where(
            columns.cluster_id == cluster_id,
            columns.id >= first,
            columns.verdict == "refused",
            columns.parent_serial.is_not(None),
        )
        .order_by(columns.id.desc())
        .limit(_MOST_REFUSALS)
    )
    found: dict[str, Heard] = {}
    for serial, reason, detail, moment in connection.execute(query):
        found.setdefault(serial, Heard(serial, reason or "", detail or "", moment))
    return found


def has_revocations(connection: Connection, scopes: Collection[UUID]) -> bool:
    """Whether any RenewRevocation object stands in one of the scopes."""
    columns = revocations.c
    query = select(columns.id).where(columns.scope.in_(sorted(scopes)), columns.deleted_at.is_(None))
    return connection.execute(query.limit(1)).first() is not None


def window_of(row: Row[Any]) -> RepairWindow:
    """A window from a row that has its columns."""
    return RepairWindow(**{name: getattr(row, name) for name in _FIELDS})
