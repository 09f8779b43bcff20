"""What is to be looked at, and when again: each key once, one worker a key, later after a failure.

As client-go's workqueue: a key that comes again while it is worked on is worked on once more afterwards.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from trivet.agent.loop.backoff import retry_wait

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

LONGEST: Final = timedelta(minutes=5)
FIRST: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Later:
    """Something could not be done now.

    Attributes:
        reason: one word, for metrics.
        message: the same for people.
        told: seconds after which it may work, where somebody said so.
        for_all: whether nothing else would work now either: one silence is enough.
    """

    reason: str
    message: str
    told: float | None = None
    for_all: bool = False


class WorkQueue:
    """Keys, and when each is due by a steady clock. Safe to share between threads."""

    def __init__(self, steady: Callable[[], float], jitter: Random) -> None:
        """Begin with nothing to do."""
        self._steady, self._jitter = steady, jitter
        self._woken = threading.Condition()
        self._due: dict[str, float] = {}
        self._at_work: set[str] = set()
        self._failures: dict[str, int] = {}
        self._silences = 0
        self._held_until = 0.0

    def __len__(self) -> int:
        """How many keys wait or are worked on."""
        return len(self._due.keys() | self._at_work)

    def add(self, key: str) -> None:
        """Something happened to a key: it is due, also where it would have waited after a failure."""
        with self._woken:
            self._due[key] = self._steady()
            self._woken.notify()

    def take(self) -> str | None:
        """A key that is due, for the caller alone until `done` or `put_off`; None where none is."""
        with self._woken:
            now = self._steady()
            if now < self._held_until:
                return None
            free = ((at, key) for key, at in self._due.items() if at <= now and key not in self._at_work)
            _, key = min(free, default=(0.0, None))
            if key is not None:
                del self._due[key]
                self._at_work.add(key)
            return key

    def done(self, key: str) -> None:
        """What there was to do for a key is done."""
        with self._woken:
            self._at_work.discard(key)
            self._failures.pop(key, None)
            self._silences = 0
            self._woken.notify()

    def put_off(self, key: str, later: Later) -> float:
        """Have a key come again, and where all would fail alike, everything; the seconds until then."""
        with self._woken:
            now = self._steady()
            self._at_work.discard(key)
            if later.for_all:
                if now >= self._held_until:  # else somebody who asked at the same time learned the same
                    self._silences += 1
                    wait = retry_wait(self._silences, LONGEST, self._jitter, later.told, FIRST)
                    self._held_until = now + wait
                wait = self._held_until - now
            else:
                self._failures[key] = failures = self._failures.get(key, 0) + 1
                wait = retry_wait(failures, LONGEST, self._jitter, later.told, FIRST)
            self._due.setdefault(key, now if later.for_all else now + wait)
            self._woken.notify()
            return wait

    def time_left(self) -> float | None:
        """Seconds until something is due; None where nothing waits."""
        with self._woken:
            waiting = [at for key, at in self._due.items() if key not in self._at_work]
            return max(0.0, max(min(waiting), self._held_until) - self._steady()) if waiting else None

    def wait(self, longest: float) -> None:
        """Sleep until something may be due, or so long at most."""
        left = self.time_left()
        with self._woken:
            self._woken.wait(longest if left is None else min(left, longest))

    def wake(self) -> None:
        """Have all who wait look again."""
        with self._woken:
            self._woken.notify_all()
