"""What a diagnosis finds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How it stands with one thing."""

    GOOD = "good"
    BAD = "bad"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at, what was found, and what to do about it."""

    subject: str
    state: State
    detail: str
    remedy: str | None = None


def good(subject: str, detail: str) -> Finding:
    """It is as it should be."""
    return Finding(subject, State.GOOD, detail)


def bad(subject: str, detail: str, remedy: str) -> Finding:
    """It is not."""
    return Finding(subject, State.BAD, detail, remedy)


def skipped(subject: str, detail: str) -> Finding:
    """It could not be looked at, or there is nothing to look at."""
    return Finding(subject, State.SKIPPED, detail)
