"""Repair windows, the stages of each that are over, and one-time tokens."""

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
    repair_token_uses,
    repair_tokens,
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
class RepairToken:
    """A one-time token for a node, with its window."""

    id: UUID
    node: str
    created_at: datetime
    created_by: str
    window: RepairWindow


@dataclass(frozen=True, slots=True)
class Heard:
    """The last refusal of a certificate's holder."""

    serial: str
    reason: str
    detail: str
    at: datetime


_FIELDS = tuple(RepairWindow.__dataclass_fields__)
_TOKEN = select(
    repair_tokens.c.id.label("token_id"),
    repair_tokens.c.node,
    repair_tokens.c.created_at,
    repair_tokens.c.created_by,
    repair_windows,
).join(repair_windows, repair_windows.c.id == repair_tokens.c.window_id)


def add(connection: Connection, window: RepairWindow) -> None:
    """Store a window; a unique index holds a cluster to one that is not closed."""
    connection.execute(insert(repair_windows).values({name: getattr(window, name) for name in _FIELDS}))


def find(connection: Connection, cluster_id: UUID, window_id: UUID) -> RepairWindow | None:
    """The window of that id, if it is of that cluster."""
    columns = repair_windows.c
    query = select(repair_windows).where(columns.id == window_id, columns.cluster_id == cluster_id)
    row = connection.execute(query).first()
    return _window(row) if row else None


def unclosed(connection: Connection, cluster_ids: Collection[UUID]) -> dict[UUID, RepairWindow]:
    """The windows of clusters that are not closed, by cluster; whether one has ended, `is_open` tells."""
    columns = repair_windows.c
    query = select(repair_windows).where(
        columns.cluster_id.in_(sorted(cluster_ids)), columns.closed_at.is_(None)
    )
    return {row.cluster_id: _window(row) for row in connection.execute(query)}


def all_unclosed(connection: Connection) -> list[RepairWindow]:
    """The windows of all clusters that are not closed, oldest first."""
    columns = repair_windows.c
    query = select(repair_windows).where(columns.closed_at.is_(None)).order_by(columns.id).limit(_MOST_OPEN)
    return [_window(row) for row in connection.execute(query)]


def page(connection: Connection, cluster_id: UUID, before: UUID | None, limit: int) -> list[RepairWindow]:
    """The windows of a cluster, newest first, from the first one older than `before`."""
    columns = repair_windows.c
    query = select(repair_windows).where(columns.cluster_id == cluster_id)
    if before is not None:
        query = query.where(columns.id < before)
    return [_window(row) for row in connection.execute(query.order_by(columns.id.desc()).limit(limit))]


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


def add_token(connection: Connection, token: RepairToken, secret_hash: str) -> None:
    """Store a token under the hash of its secret."""
    connection.execute(
        insert(repair_tokens).values(
            id=token.id,
            window_id=token.window.id,
            node=token.node,
            secret_hash=secret_hash,
            created_at=token.created_at,
            created_by=token.created_by,
        )
    )


def find_token(connection: Connection, secret_hash: str) -> RepairToken | None:
    """The token whose secret has that hash."""
    row = connection.execute(_TOKEN.where(repair_tokens.c.secret_hash == secret_hash)).first()
    return _token(row) if row else None


def tokens(connection: Connection, ids: Collection[UUID]) -> dict[UUID, RepairToken]:
    """Tokens by their ids, with their windows as they stand now."""
    rows = connection.execute(_TOKEN.where(repair_tokens.c.id.in_(sorted(ids))))
    return {row.token_id: _token(row) for row in rows}


def uses(connection: Connection, token_ids: Collection[UUID]) -> dict[UUID, frozenset[UUID]]:
    """For which of the certificates that a node held each token was used."""
    columns = repair_token_uses.c
    query = select(columns.token_id, columns.held_id).where(columns.token_id.in_(sorted(token_ids)))
    found: dict[UUID, set[UUID]] = {each: set() for each in token_ids}
    for token_id, held_id in connection.execute(query):
        found[token_id].add(held_id)
    return {each: frozenset(held) for each, held in found.items()}


def use(connection: Connection, token_id: UUID, held_id: UUID, certificate_id: UUID, now: datetime) -> bool:
    """Use a token for one certificate that the node held; say whether it was not used for it before.

    Waits for a concurrent use of the same, so of two only one is told yes.
    """
    row = {"token_id": token_id, "held_id": held_id, "certificate_id": certificate_id, "used_at": now}
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(repair_token_uses).values(row).on_conflict_do_nothing()
    return connection.execute(statement.returning(repair_token_uses.c.held_id)).first() is not None


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


def _window(row: Row[Any]) -> RepairWindow:
    return RepairWindow(**{name: getattr(row, name) for name in _FIELDS})


def _token(row: Row[Any]) -> RepairToken:
    return RepairToken(row.token_id, row.node, row.created_at, row.created_by, _window(row))
