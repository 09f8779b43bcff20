"""What can be wrong with a plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class PlanFault:
    """One thing that is wrong: where in the file (from 1), at which RFC 6901 pointer, and what would be accepted."""

    line: int
    column: int
    pointer: str
    message: str


class BadPlanError(ValueError):
    """A plan is refused whole; `faults` lists everything that is wrong with it, by line.

    Attributes:
        source: the file's name, as it was given.
        faults: at least one.
    """

    def __init__(self, source: str, faults: Sequence[PlanFault]) -> None:
        """Take the file's name and its faults."""
        self.source = source
        self.faults = tuple(sorted(faults, key=lambda fault: (fault.line, fault.column, fault.pointer)))
        lines = [
            f"{source}:{fault.line}:{fault.column}: {fault.pointer or '/'}: {fault.message}"
            for fault in self.faults
        ]
        super().__init__("\n".join(lines))
