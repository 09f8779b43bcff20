"""The end of the log of changes, read once in this process for all who watch.

A place that is watched has a feed: its latest changes, and up to which version it knows. One task asks the database a
few times a second for what is new in all watched places. Whoever watches keeps a place of its own and reads on from
there; who has fallen behind the feed reads the log itself. So nobody has a queue that could grow or overflow.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import takewhile
from typing import TYPE_CHECKING, Final

from trivet.authority.follow import News, changes_after, news_of
from trivet.pki.errors import Refusal
from trivet.web.kubernetes.lines import Lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trivet.authority.context import Authority
    from trivet.authority.follow import View
    from trivet.store.changes import Change, Place

_log = logging.getLogger(__name__)
_EVERY_SECONDS: Final = 0.2
_LONGEST_SECONDS: Final = 1.0
_WOKEN_EACH_SECOND: Final = (
    1000  # watchers of a process: to wake one costs more than to tell it of many changes
)
_AFTER_FAILURE_SECONDS: Final = 2.0
_KEPT: Final = 1000


@dataclass(slots=True)
class _Feed:
    """The latest changes of a place: all after `since`, up to `version`."""

    since: int
    version: int
    changes: deque[Change] = field(default_factory=deque)
    watchers: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, news: News) -> None:
        """Note what is new, and wake who waits."""
        if news.version == self.version:
            return
        if news.lost:  # this process stood still for longer than the log is kept
            self.changes.clear()
            self.since = news.version
        self.changes.extend(news.changes if not news.lost else ())
        while len(self.changes) > _KEPT:
            self.since = self.changes.popleft().version
        self.version = news.version
        self.changed.set()
        self.changed = asyncio.Event()

    def after(self, version: int) -> News | None:
        """What is new since a version; None where it does not reach back that far."""
        if version < self.since:
            return None
        # From its end, where who watches is.
        newer = takewhile(lambda change: change.version > version, reversed(self.changes))
        return News(list(newer)[::-1], max(version, self.version))


class Tail:
    """Reads what is new; to be closed. `lines` are the events of all who watch."""

    def __init__(self, authority: Authority) -> None:
        """Take the authority; nothing is read until somebody watches."""
        self.lines = Lines()
        self._authority = authority
        self._feeds: dict[Place, _Feed] = {}
        self._task: asyncio.Task[None] | None = None

    @contextmanager
    def watching(self, view: View) -> Iterator[None]:
        """Keep a place's feed for a while; a new one begins at the version that the place is at."""
        feed = self._feeds.setdefault(view.place, _Feed(view.version, view.version))
        feed.watchers += 1
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            feed.watchers -= 1
            if not feed.watchers:
                del self._feeds[view.place]

    async def after(self, place: Place, version: int, seconds: float) -> News:
        """What has changed in a watched place since a version; waits for it that long.

        Raises:
            UnavailableError: the database was asked, and is away.
        """
        feed = self._feeds[place]
        changed, news = feed.changed, feed.after(version)
        if news is None:
            news = await asyncio.to_thread(changes_after, self._authority, place, version)
        if news.changes or news.lost:
            return news
        with suppress(TimeoutError):
            await asyncio.wait_for(changed.wait(), seconds)
        return feed.after(version) or news

    async def close(self) -> None:
        """Stop reading."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        """Read until nobody watches any more."""
        failing = False
        while self._feeds:
            try:
                known = {place: feed.version for place, feed in self._feeds.items()}
                found = await asyncio.to_thread(news_of, self._authority, known)
            except Refusal as refusal:
                if not failing:
                    _log.warning("changes cannot be read: %s", refusal.detail)
                failing = True
                await asyncio.sleep(_AFTER_FAILURE_SECONDS)
                continue
            failing = False
            for place, news in found.items():
                if place in self._feeds and self._feeds[place].version == known[place]:
                    self._feeds[place].take(news)
            await asyncio.sleep(self._pause())

    def _pause(self) -> float:
        watchers = sum(feed.watchers for feed in self._feeds.values())
        return min(max(_EVERY_SECONDS, watchers / _WOKEN_EACH_SECOND), _LONGEST_SECONDS)
