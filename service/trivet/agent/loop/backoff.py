"""How long to wait before the next try: bounded, never nothing, never all at once."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from random import Random

FIRST: Final = timedelta(seconds=5)
SHORTEST: Final = timedelta(seconds=1)
"""No two tries of one identity are closer than this, whatever chance or the service says."""

LONGEST_TOLD: Final = timedelta(hours=1)
"""A service that says "later" is obeyed up to here: its Retry-After may be a mistake, our notAfter is not."""

_SOONEST_CEILING, _LATEST_CEILING = timedelta(minutes=1), timedelta(hours=6)
_WHEN_EXPIRED: Final = timedelta(minutes=5)
_TRIES_LEFT: Final = 4
_DOUBLINGS: Final = 20


def ceiling(left: timedelta) -> timedelta:
    """The longest wait for a certificate that expires in `left`.

    Long while there is time, so that a fleet comes back little by little after an outage; short when it is urgent.
    """
    if left <= timedelta(0):
        return _WHEN_EXPIRED
    return min(max(left / _TRIES_LEFT, _SOONEST_CEILING), _LATEST_CEILING)


def retry_wait(
    failures: int,
    longest: timedelta,
    jitter: Random,
    told: float | None = None,
    first: timedelta = FIRST,
) -> float:
    """Seconds until the next try: exponential with full jitter, and no sooner than the service told.

    Args:
        failures: in a row; at least 1.
        longest: the ceiling.
        jitter: the source of chance.
        told: the seconds of a Retry-After.
        first: the ceiling after the first failure.
    """
    doubled = first * 2 ** min(max(failures, 1) - 1, _DOUBLINGS)
    wait = jitter.uniform(0, min(doubled, longest).total_seconds())
    if told is not None:
        wait += min(max(told, 0), LONGEST_TOLD.total_seconds())
    return max(wait, SHORTEST.total_seconds())


def polite_wait(usual: timedelta, jitter: Random, told: float | None = None) -> float:
    """Seconds until the next question about what others decide, half as long to half as long again as usual."""
    if told is not None:
        usual = max(timedelta(seconds=min(told, LONGEST_TOLD.total_seconds())), SHORTEST)
        return usual.total_seconds() * jitter.uniform(1, 1.25)
    return max(usual.total_seconds() * jitter.uniform(0.5, 1.5), SHORTEST.total_seconds())
