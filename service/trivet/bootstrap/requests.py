"""Chores of certificate requests: issue what was approved and left alone, remove what has had its time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from trivet.authority.approval.collect import collect
from trivet.authority.approval.fulfil import fulfil_left_over
from trivet.bootstrap.chores import Chore

if TYPE_CHECKING:
    from datetime import datetime

    from trivet.authority.context import Authority

_COLLECTED_EVERY = timedelta(minutes=1)
_FULFILLED_EVERY = timedelta(seconds=15)


@dataclass(frozen=True, slots=True)
class RequestChores:
    """Looks after the requests of an authority."""

    authority: Authority

    def chores(self) -> list[Chore]:
        """The chores, due at once."""
        now = self.authority.clock()
        return [
            Chore("issuing for approved requests", self.fulfil, now),
            Chore("removing old requests", self.collect, now),
        ]

    def fulfil(self) -> datetime:
        """Issue for requests that were approved and left alone; give the time of the next look."""
        fulfil_left_over(self.authority)
        return self.authority.clock() + _FULFILLED_EVERY

    def collect(self) -> datetime:
        """Remove for a moment; give the time of the next round, which is at once where more is left."""
        is_done = collect(self.authority, time.sleep)
        now = self.authority.clock()
        return now + _COLLECTED_EVERY if is_done else now
