"""The views of revoked certificates of one process: opened when an API server first asks, and kept up to date.

One task asks for the versions of all clusters that are asked about, four times within the time that a view may be old.
What a version marked is read beside it, for each view by itself: what is little by a thread that does nothing else, so
that neither a revocation of very many certificates nor the first question about a cluster makes other clusters' views
older.
"""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from trivet.authority.revocations.view import Behind, RevokedView, catch_up, look, open_view, reopen
from trivet.pki.errors import Refusal, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from trivet.authority.context import Authority
    from trivet.store.clusters import Cluster

_log = logging.getLogger(__name__)
_LOOKS: Final = 4
_READERS: Final = 2
_PATIENCE_SECONDS: Final = 10.0
UNASKED_SECONDS: Final = 600.0
"""After so long a view that nobody asked for is forgotten."""


@dataclass(slots=True)
class _Kept:
    """A view, or that it is being read; and when somebody last asked for it."""

    opening: asyncio.Future[RevokedView]
    asked: float

    @property
    def is_open(self) -> bool:
        opening = self.opening
        return opening.done() and not opening.cancelled() and opening.exception() is None


class RevokedViews:
    """Gives views; to be closed. For one event loop."""

    def __init__(self, authority: Authority, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Take the authority; nothing is read until somebody asks."""
        self._authority = authority
        self._monotonic = monotonic
        self._fresh = authority.policy.reviews.fresh.total_seconds()
        self._kept: dict[str, _Kept] = {}
        # Threads of their own: looking, and reading what is little, wait neither for other use cases nor for long
        # readings.
        self._looker = ThreadPoolExecutor(1, thread_name_prefix="revoked-look")
        self._catcher = ThreadPoolExecutor(1, thread_name_prefix="revoked-catch-up")
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="revoked-read")
        self._task: asyncio.Task[None] | None = None
        self._catching_up: dict[RevokedView, asyncio.Task[None]] = {}
        self._looked = asyncio.Event()
        self._began: float | None = None
        self._is_failing = False

    async def of(self, cluster: Cluster) -> tuple[RevokedView, float]:
        """The view of a cluster, and how many seconds old it is: fresh, unless the database does not answer.

        Raises:
            UnavailableError: nothing is known yet.
        """
        kept = self._kept.get(cluster.name)
        if kept is None or (kept.opening.done() and not kept.is_open):
            loop = asyncio.get_running_loop()
            opening = loop.run_in_executor(
                self._readers, open_view, self._authority, cluster, self._monotonic
            )
            kept = self._kept[cluster.name] = _Kept(opening, 0.0)
        kept.asked = self._monotonic()
        view = kept.opening.result() if kept.is_open else await _opened(kept.opening)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        age = self._monotonic() - view.as_of
        return view, age if age <= self._fresh else await self._younger(view)

    async def _younger(self, view: RevokedView) -> float:
        """Wait for the next look, where it may come soon; give the age then."""
        deadline = self._monotonic() + self._fresh
        while (age := self._monotonic() - view.as_of) > self._fresh and not self._is_away():
            left = deadline - self._monotonic()
            if left <= 0:
                break
            with suppress(TimeoutError):
                await asyncio.wait_for(self._looked.wait(), left)
        return age

    def _is_away(self) -> bool:
        """Whether the database failed to answer, or takes long to."""
        return self._is_failing or (self._began is not None and self._monotonic() - self._began > self._fresh)

    async def close(self) -> None:
        """Stop reading."""
        tasks = [*self._catching_up.values(), *([self._task] if self._task is not None else ())]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for threads in (self._looker, self._catcher, self._readers):
            threads.shutdown(wait=False, cancel_futures=True)

    async def _run(self) -> None:
        """Look until nobody asks any more."""
        while views := self._wanted():
            self._began = self._monotonic()
            try:
                behind = await asyncio.get_running_loop().run_in_executor(
                    self._looker, look, self._authority, views, self._monotonic
                )
                self._is_failing = False
                self._begin_catching_up(behind)
            except Exception as error:  # noqa: BLE001  whatever it was, the next look may work
                self._note_failure(error)
            self._began = None
            self._tell()
            await asyncio.sleep(self._fresh / _LOOKS)

    def _wanted(self) -> list[RevokedView]:
        """The views that are open; those that nobody asks for are forgotten."""
        oldest = self._monotonic() - UNASKED_SECONDS
        self._kept = {name: kept for name, kept in self._kept.items() if kept.asked >= oldest}
        return [kept.opening.result() for kept in self._kept.values() if kept.is_open]

    def _begin_catching_up(self, behind: Behind) -> None:
        for view in behind.views:
            if view not in self._catching_up:
                self._catching_up[view] = asyncio.create_task(self._catch_up(view, behind))

    async def _catch_up(self, view: RevokedView, behind: Behind) -> None:
        run = asyncio.get_running_loop().run_in_executor
        try:
            if not await run(self._catcher, catch_up, self._authority, view, behind):
                await run(self._readers, reopen, self._authority, view, self._monotonic)
        except Exception as error:  # noqa: BLE001  the next look finds the view behind again
            self._note_failure(error)
        finally:
            del self._catching_up[view]
        self._tell()

    def _tell(self) -> None:
        """Wake those who wait for a younger view."""
        self._looked.set()
        self._looked = asyncio.Event()

    def _note_failure(self, error: Exception) -> None:
        if not isinstance(error, Refusal):
            _log.error("a defect in reading what is revoked", exc_info=error)
        elif not self._is_failing:
            _log.warning("what is revoked cannot be read: %s", error.detail)
        self._is_failing = True


async def _opened(opening: asyncio.Future[RevokedView]) -> RevokedView:
    try:
        # Shielded: others wait for it, too, and what began is finished.
        return await asyncio.wait_for(asyncio.shield(opening), _PATIENCE_SECONDS)
    except TimeoutError as error:
        message = "the revoked certificates of this cluster are still being read; try again in a moment"
        raise UnavailableError(message) from error
