"""Remove certificate requests and bootstrap tokens whose time has come, a few at a time."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Final

from trivet.authority.approval.images import log_changes
from trivet.authority.metrics import measures
from trivet.store import bootstrap_tokens, counters, requests
from trivet.store.changes import ChangeKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection

    from trivet.authority.context import Authority
    from trivet.store.requests import StoredRequest

BATCH: Final = 100
"""How many rows one transaction deletes, and tells of: some ten milliseconds, in which nobody else writes to SQLite."""

_BATCHES: Final = 100
_PAUSE_SECONDS: Final = 0.02
_EXPIRED_KEPT: Final = timedelta(days=7)  # so long an expired token is told from an unknown one


def collect(authority: Authority, pause: Callable[[float], None]) -> bool:
    """Do one round of some seconds; say whether nothing is left.

    Raises:
        UnavailableError: the database is too busy; the rest is left for the next round.
    """
    with authority.database.write() as connection:
        bootstrap_tokens.remove_expired(connection, authority.clock() - _EXPIRED_KEPT, BATCH)
    for _ in range(_BATCHES):
        with authority.database.write() as connection:
            removed = _collect(connection, authority.clock())
        measures.requests_collected(removed)
        if removed < BATCH:
            return True
        pause(_PAUSE_SECONDS)
    return False


def _collect(connection: Connection, now: datetime) -> int:
    due = requests.due(connection, now, BATCH)
    # The counters first, as whoever decides or deletes takes them: so nobody waits for the other in a circle.
    clusters = sorted(set(due.values()))
    for cluster_id in clusters:
        counters.hold(connection, cluster_id, "requests")
    gone = sorted(requests.collect(connection, now, due), key=_cluster_of) if due else []
    for cluster_id, removed in groupby(gone, key=_cluster_of):
        _log(connection, cluster_id, list(removed), now)
    return len(due)


def _cluster_of(stored: StoredRequest) -> UUID:
    return stored.cluster_id


def _log(connection: Connection, cluster_id: UUID, removed: Sequence[StoredRequest], now: datetime) -> None:
    last = counters.advance(connection, cluster_id, "requests", len(removed))
    first = last - len(removed) + 1
    told = [replace(stored, version=first + index) for index, stored in enumerate(removed)]
    log_changes(connection, ChangeKind.DELETED, told, now)
