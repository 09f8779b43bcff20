"""Chores of the database: partitions ahead of time, and pruning."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from trivet.authority.prune import prune
from trivet.bootstrap.chores import Chore
from trivet.store.partitions import ensure_months

if TYPE_CHECKING:
    from datetime import datetime

    from trivet.authority.context import Authority

_PARTITIONS_EVERY = timedelta(hours=6)
_PRUNED_EVERY = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Pruning:
    """Prunes and makes room.

    Attributes:
        authority: whose database.
        retention: how long a certificate is kept once its notAfter has passed.
        keep_detached: whether a month that is pruned on PostgreSQL stays as tables of its own.
    """

    authority: Authority
    retention: timedelta
    keep_detached: bool

    def chores(self) -> list[Chore]:
        """The chores, due at once."""
        now = self.authority.clock()
        return [
            Chore("making partitions", self.make_partitions, now),
            Chore("pruning expired certificates", self.prune, now),
        ]

    def make_partitions(self) -> datetime:
        """Make the partitions of the months to come; give the time of the next look."""
        now = self.authority.clock()
        ensure_months(self.authority.database, now)
        return now + _PARTITIONS_EVERY

    def prune(self) -> datetime:
        """Prune for a moment; give the time of the next round, which is at once where more is left."""
        pruned = prune(self.authority, self.retention, time.sleep, keep_detached=self.keep_detached)
        now = self.authority.clock()
        return now + _PRUNED_EVERY if pruned.is_done else now
