"""The thread of a serving process that publishes CRLs."""

from __future__ import annotations

import logging
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from trivet.authority.metrics import measures
from trivet.authority.status.publish import Publisher

if TYPE_CHECKING:
    from collections.abc import Callable

    from trivet.authority.context import Authority

_log = logging.getLogger(__name__)
NAME: Final = "publishing CRLs"
GLANCE: Final = timedelta(seconds=5)
"""How long a revocation waits at most whose process ended before it could publish: for any other process."""

COALESCE: Final = timedelta(seconds=1)
"""From the end of one round to the beginning of the next: what is revoked meanwhile shares one CRL."""

_AGAIN: Final = timedelta(seconds=0.2)  # where another process is at a list that lacks what was revoked here
_BEGUN_EVERY: Final = timedelta(minutes=5)
_LONGEST_PAUSE: Final = timedelta(minutes=1)


class Publishing:
    """Publishes at once when this process revoked, and looks now and then for what others left."""

    def __init__(self, authority: Authority, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Take the context; nothing runs yet."""
        self._authority = authority
        self._publisher = Publisher(authority)
        self._monotonic = monotonic
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="publishing", daemon=True)
        self._begin_at = monotonic()
        self._failures = 0

    def start(self) -> None:
        """Begin, with a look at once: a process may have ended between a revocation and its CRL."""
        self._authority.news.set()
        self._thread.start()

    def stop(self) -> None:
        """End after the CRL in hand."""
        self._stopped.set()
        self._authority.news.set()
        self._thread.join()

    def _run(self) -> None:
        news, pause = self._authority.news, timedelta()
        while not self._stopped.wait(pause.total_seconds()):
            news.wait((GLANCE - pause).total_seconds() if pause < GLANCE else 0)
            if self._stopped.is_set():
                return
            news.clear()  # before the look: what is committed after it sets it again
            pause = self.look()

    def look(self) -> timedelta:
        """Publish what there is; give the pause before the next look."""
        try:
            if self._monotonic() >= self._begin_at:
                self._publisher.begin()
                self._begin_at = self._monotonic() + _BEGUN_EVERY.total_seconds()
            left = self._publisher.publish_all()
        except Exception as error:  # noqa: BLE001  whatever it was, the next try may work; the service goes on
            self._failures = min(self._failures + 1, 6)
            pause = min(COALESCE * (1 << self._failures), _LONGEST_PAUSE)
            _log.warning("%s failed: %s; again in %d s", NAME, error, pause.total_seconds())
            measures.chore_ended(NAME, failed=True, due=self._authority.clock() + pause)
            self._authority.news.set()
            return pause
        self._failures = 0
        measures.chore_ended(NAME, failed=False, due=self._authority.clock() + GLANCE)
        if left:
            self._authority.news.set()
            return _AGAIN
        return COALESCE
