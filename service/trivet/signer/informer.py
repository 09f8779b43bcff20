"""Follows one kind of object: list, then watch from there; what is lost in between is found by the next list.

As client-go's reflector (tools/cache/reflector.go): 410 means to list again, a bookmark moves the version on.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from trivet.agent.loop.backoff import SHORTEST, retry_wait
from trivet.signer.errors import GONE, SERVERS_FAULT, TOO_MANY, ClusterError, StatusError

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from trivet.signer.answers import Event
    from trivet.signer.cluster import Cluster
    from trivet.signer.record import Record
    from trivet.signer.resources import Object, Resource

LONGEST: Final = timedelta(minutes=1)
FIRST: Final = timedelta(seconds=1)
# client-go's minWatchTimeout, and as spread: not all signers come again at once.
_SHORTEST_WATCH, _LONGEST_WATCH = 300, 600


def key_of(found: Object) -> str:
    """What an object is called among those of its kind: NAMESPACE/NAME, or NAME."""
    metadata = found["metadata"]
    namespace = metadata.get("namespace")
    return f"{namespace}/{metadata['name']}" if namespace else str(metadata["name"])


@dataclass
class Informer:
    """Holds the objects of a kind that concern the signer, as the API server last told them.

    Attributes:
        cluster: whom to ask.
        resource: for what.
        concerns: whether an object is held at all.
        changed: told the key of what came, changed or went.
        listed: told that all of them were read.
        record: of what went wrong.
        jitter: the source of chance.
    """

    cluster: Cluster
    resource: Resource
    concerns: Callable[[Object], bool]
    changed: Callable[[str], None]
    record: Record
    jitter: Random
    listed: Callable[[], None] = lambda: None
    _held: dict[str, Object] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _version: str | None = None
    _failures: int = 0

    def get(self, key: str) -> Object | None:
        """An object as it was last told; None where it is gone or concerns nobody."""
        with self._lock:
            return self._held.get(key)

    def held(self) -> list[str]:
        """The keys of all objects that are held."""
        with self._lock:
            return list(self._held)

    def put(self, found: Object) -> None:
        """An object was read or written outside of the watch."""
        key = key_of(found)
        with self._lock:
            if self.concerns(found):
                self._held[key] = found
            else:
                self._held.pop(key, None)

    def drop(self, key: str) -> None:
        """An object is known to be gone."""
        with self._lock:
            self._held.pop(key, None)

    def step(self) -> float:
        """List if need be, and watch until that ends; the seconds to wait before the next step."""
        told = None
        try:
            if self._version is None:
                self.refresh()
            self._watch()
        except ClusterError as error:
            if isinstance(error, StatusError):
                told = error.retry_after
                if error.code != TOO_MANY and error.code < SERVERS_FAULT:
                    self._version = None  # it is too old (410), or nobody knows: all are read anew
            self._failures += 1
            self.record.not_heard(self.resource.plural, str(error))
            return retry_wait(self._failures, LONGEST, self.jitter, told, FIRST)
        self._failures = 0
        return SHORTEST.total_seconds()

    def refresh(self) -> None:
        """Read all objects, and tell of each that is there or no longer is.

        Raises:
            ClusterError: they could not be read; what is held stays.
        """
        items, version = self._all()
        now = {key_of(item): item for item in items if self.concerns(item)}
        with self._lock:
            gone = self._held.keys() - now.keys()
            self._held = dict(now)
        self._version = version
        self.record.listed(self.resource.plural, len(now))
        self.record.heard("listed", resource=self.resource.plural)
        for key in (*gone, *now):
            self.changed(key)
        self.listed()

    def _all(self) -> tuple[list[Object], str]:
        items: list[Object] = []
        page = self.cluster.list(self.resource)
        while page.following is not None:
            items += page.items
            try:
                page = self.cluster.list(self.resource, page.following)
            except StatusError as error:
                if error.code != GONE:
                    raise
                # The list took longer than its snapshot is kept; in one part it cannot.
                items, page = [], self.cluster.list(self.resource, limit=0)
        return items + page.items, page.version

    def _watch(self) -> None:
        seconds = self.jitter.randint(_SHORTEST_WATCH, _LONGEST_WATCH)
        for event in self.cluster.watch(self.resource, self._version or "", seconds):
            self._take(event)
            self._failures = 0

    def _take(self, event: Event) -> None:
        found = event.object
        self._version = str(found["metadata"]["resourceVersion"])
        self.record.heard("watched", resource=self.resource.plural)
        if event.kind == "BOOKMARK":
            return
        key = key_of(found)
        with self._lock:
            was_held = key in self._held
            is_held = event.kind != "DELETED" and self.concerns(found)
            if is_held:
                self._held[key] = found
            else:
                self._held.pop(key, None)
        if is_held or was_held:
            self.changed(key)
