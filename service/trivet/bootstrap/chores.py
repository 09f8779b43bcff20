"""What a serving process does beside answering: chores that fall due, each tried again until it works."""

from __future__ import annotations

import logging
import os
import signal
import threading
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing import parent_process
from typing import TYPE_CHECKING

from trivet.authority.metrics import measures

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

_log = logging.getLogger(__name__)
_FIRST_RETRY = timedelta(seconds=5)
_LAST_RETRY = timedelta(minutes=5)
_GLANCE_SECONDS = 2.0  # short, so that a clock that jumps does no harm


@dataclass(slots=True)
class Chore:
    """Something to do again and again.

    Attributes:
        name: for the log.
        action: does it, and gives the time when it falls due again.
        due: when it falls due next.
        failures: in a row, until now.
    """

    name: str
    action: Callable[[], datetime]
    due: datetime
    failures: int = 0

    def do_if_due(self, now: datetime) -> None:
        """Do it where it is due. A failure is logged, and tried again after a while that doubles."""
        if now < self.due:
            return
        try:
            self.due = self.action()
            self.failures = 0
            measures.chore_ended(self.name, failed=False, due=self.due)
        except Exception as error:  # noqa: BLE001  whatever it was, the next try may work; the service goes on
            wait = min(_FIRST_RETRY * 2**self.failures, _LAST_RETRY)
            self.due, self.failures = now + wait, min(self.failures + 1, 10)
            measures.chore_ended(self.name, failed=True, due=self.due)
            _log.warning("%s failed: %s; again in %d s", self.name, error, wait.total_seconds())


class Housekeeper:
    """A daemon thread that does chores until it is stopped."""

    def __init__(self, chores: Sequence[Chore], clock: Callable[[], datetime]) -> None:
        """Take the chores and the clock; nothing runs yet."""
        self._chores = chores
        self._clock = clock
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="housekeeper", daemon=True)

    def start(self) -> None:
        """Begin."""
        for chore in self._chores:
            measures.chore_due(chore.name, chore.due)
        self._thread.start()

    def stop(self) -> None:
        """End after the chore in hand."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(_GLANCE_SECONDS):
            for chore in self._chores:
                chore.do_if_due(self._clock())
            if _is_orphaned():
                _log.error("the parent has gone; ending")
                os.kill(os.getpid(), signal.SIGTERM)
                return


def _is_orphaned() -> bool:
    """Whether this is a worker whose supervisor was killed: it would serve on, and nobody could stop it."""
    parent = parent_process()
    return parent is not None and not parent.is_alive()
