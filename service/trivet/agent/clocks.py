"""The node's two clocks."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trivet.agent.loop.moment import Moment

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime


def since_boot() -> float:
    """Seconds that pass whatever the wall clock does, and while the machine sleeps, too."""
    # CLOCK_MONOTONIC stands still while the machine is suspended, and certificates do not.
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)


@dataclass(frozen=True, slots=True)
class Clocks:
    """A wall clock, and a steady one."""

    wall: Callable[[], datetime]
    steady: Callable[[], float] = since_boot

    def now(self) -> Moment:
        """What both show."""
        return Moment(self.wall(), self.steady())
