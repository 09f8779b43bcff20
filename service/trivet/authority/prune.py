"""Prune: certificates that expired longer ago than they are kept leave the tables that issuing works with."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from trivet.store import pruning

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, timedelta

    from trivet.authority.context import Authority

_log = logging.getLogger(__name__)
_BATCHES: Final = 15
_PAUSE_SECONDS: Final = (
    0.1  # ten times as long as a batch takes: whoever issues has the database nearly to themselves
)


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a round of pruning did.

    Attributes:
        months: that went as a whole.
        certificates: how many were deleted one by one.
        is_done: whether nothing is left to prune; otherwise another round should follow soon.
    """

    months: tuple[datetime, ...] = ()
    certificates: int = 0
    is_done: bool = True


def prune(
    authority: Authority, retention: timedelta, pause: Callable[[float], None], *, keep_detached: bool = False
) -> Pruned:
    """Do one round of pruning, of two seconds at most; nothing where another process prunes.

    Args:
        authority: whose certificates.
        retention: how long a certificate is kept once its notAfter has passed.
        pause: waits that many seconds, so that others can write.
        keep_detached: leave a month's partitions as tables for the operator to archive, instead of dropping them.

    Raises:
        UnavailableError: the database is too busy; what was not pruned is left for the next round.
    """
    moment = authority.clock() - retention
    months = _remove_months(authority, moment, keep=keep_detached)
    deleted = 0
    for _ in range(_BATCHES):
        batch = _delete_batch(authority, moment)
        deleted += batch
        if batch < pruning.BATCH:
            return Pruned(months, deleted)
        pause(_PAUSE_SECONDS)
    return Pruned(months, deleted, is_done=False)


def _remove_months(authority: Authority, moment: datetime, *, keep: bool) -> tuple[datetime, ...]:
    with authority.database.read() as connection:
        expired = pruning.expired_months(connection, moment)
    return tuple(month for month in expired if _remove_month(authority, month, moment, keep=keep))


def _remove_month(authority: Authority, month: datetime, moment: datetime, *, keep: bool) -> bool:
    with authority.database.write() as connection:
        removed = pruning.may_prune(connection) and pruning.remove_month(connection, month, moment, keep=keep)
    if removed:
        _log.info("the certificates of %s have left: %s", f"{month:%Y-%m}", "detached" if keep else "dropped")
    return removed


def _delete_batch(authority: Authority, moment: datetime) -> int:
    with authority.database.write() as connection:
        return pruning.delete_batch(connection, moment) if pruning.may_prune(connection) else 0
