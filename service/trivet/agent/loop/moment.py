"""A moment by two clocks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

JUMP: Final = timedelta(minutes=5)
"""Beyond this the two clocks have parted: somebody set the wall clock."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What two clocks show.

    Attributes:
        wall: the time of day, aware; somebody may set it at any moment, by years.
        steady: seconds since any fixed moment, those of a suspended machine included; they only grow.
    """

    wall: datetime
    steady: float

    def jump_since(self, former: Moment) -> timedelta:
        """By how much the wall clock was set since a former moment; nothing where it only drifted."""
        by = (self.wall - former.wall) - timedelta(seconds=self.steady - former.steady)
        return by if abs(by) > JUMP else timedelta(0)
