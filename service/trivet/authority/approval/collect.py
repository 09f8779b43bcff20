"""Remove certificate requests and bootstrap tokens whose time has come, a few at a time."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from trivet.authority.metrics import measures
from trivet.store import bootstrap_tokens, requests

if TYPE_CHECKING:
    from collections.abc import Callable

    from trivet.authority.context import Authority

BATCH: Final = 500
"""How many rows one transaction deletes: some milliseconds, in which nobody else writes to SQLite."""

_BATCHES: Final = 20
_PAUSE_SECONDS: Final = 0.05
_EXPIRED_KEPT: Final = timedelta(days=7)  # so long an expired token is told from an unknown one


def collect(authority: Authority, pause: Callable[[float], None]) -> bool:
    """Do one round of two seconds at most; say whether nothing is left.

    Raises:
        UnavailableError: the database is too busy; the rest is left for the next round.
    """
    with authority.database.write() as connection:
        bootstrap_tokens.remove_expired(connection, authority.clock() - _EXPIRED_KEPT, BATCH)
    for _ in range(_BATCHES):
        with authority.database.write() as connection:
            removed = requests.collect(connection, authority.clock(), BATCH)
        measures.requests_collected(removed)
        if removed < BATCH:
            return True
        pause(_PAUSE_SECONDS)
    return False
