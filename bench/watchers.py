"""Those who watch in `bench.watches`: each on a connection of its own, with its own place in the changes."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from multiprocessing.queues import Queue
    from multiprocessing.sharedctypes import Synchronized

PATH: Final = "/kubernetes/demo/apis/certificates.k8s.io/v1/certificatesigningrequests"
FORMS: Final = {
    "object": "application/json",
    "partial": "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
}
_VERSION: Final = re.compile(rb'"resourceVersion":"(\d+)"')
_TIME: Final = re.compile(rb'"at":"([0-9.]+)"')
_LONGEST_LINE: Final = 4 * 1024 * 1024
_PATIENCE: Final = 45.0
_TIMED: Final = 25  # one in so many tells how long events take


@dataclass(frozen=True)
class Audience:
    """Whom a process watches, as many times over, from a version on."""

    port: int
    ca_file: str
    token: str
    version: int
    watchers: int
    form: str


@dataclass
class Tally:
    """What the watchers of a process saw.

    Attributes:
        skipped: changes that a watcher did not see because it was told to list again (410).
        gaps: places where a version followed that is not the next one.
    """

    events: int = 0
    gaps: int = 0
    repeats: int = 0
    resumed: int = 0
    relisted: int = 0
    skipped: int = 0
    delays: list[float] = field(default_factory=list)

    def shown(self) -> dict[str, float]:
        """All of it as numbers."""
        shown: dict[str, float] = {key: value for key, value in vars(self).items() if key != "delays"}
        delays = self.delays or [0.0]
        return shown | {"median": statistics.median(delays), "worst": max(delays)}


def watch_all(
    audience: Audience, last: Synchronized[int], ready: Synchronized[int], told: Queue[dict[str, float]]
) -> None:
    """Watch until `last` is a version and everybody has seen it; `ready` counts who watches."""
    told.put(asyncio.run(_watch_all(audience, last, ready)))


async def _watch_all(
    audience: Audience, last: Synchronized[int], ready: Synchronized[int]
) -> dict[str, float]:
    tally = Tally()
    trust = ssl.create_default_context(cafile=audience.ca_file)
    watchers = [Watcher(audience, trust, tally, timed=not n % _TIMED) for n in range(audience.watchers)]
    doors = asyncio.Semaphore(20)  # not all at the door at once
    tasks = [asyncio.create_task(watcher.run(doors, ready)) for watcher in watchers]
    deadline = None
    while deadline is None or time.monotonic() < deadline:
        await asyncio.sleep(0.2)
        if last.value and deadline is None:
            deadline = time.monotonic() + _PATIENCE
        if last.value and all(watcher.version >= last.value for watcher in watchers):
            break
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return tally.shown()


class Watcher:
    """One client; it goes on from where it was when its connection breaks."""

    def __init__(self, audience: Audience, trust: ssl.SSLContext, tally: Tally, *, timed: bool) -> None:
        self.version = audience.version
        self._audience, self._trust, self._tally, self._timed = audience, trust, tally, timed

    async def run(self, doors: asyncio.Semaphore, ready: Synchronized[int]) -> None:
        """Watch, again and again."""
        is_first = True
        while True:
            try:
                async with doors:
                    reader, writer = await self._open(f"?watch=true&resourceVersion={self.version}")
                    await reader.readuntil(b"\r\n\r\n")
                if is_first:
                    with ready.get_lock():
                        ready.value += 1
                self._tally.resumed += not is_first
                is_first = False
                try:
                    await self._follow(reader)
                finally:
                    writer.close()
            except (OSError, asyncio.IncompleteReadError, ssl.SSLError):
                await asyncio.sleep(0.2)

    async def _open(self, query: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(
            "localhost", self._audience.port, ssl=self._trust, limit=_LONGEST_LINE
        )
        lines = (
            f"GET {PATH}{query} HTTP/1.1",
            "Host: localhost",
            f"Authorization: Bearer {self._audience.token}",
            f"Accept: {FORMS[self._audience.form]}",
        )
        writer.write("\r\n".join([*lines, "", ""]).encode())
        return reader, writer

    async def _follow(self, reader: asyncio.StreamReader) -> None:
        # The sizes of chunks stand on lines of their own; every event is whole within one.
        while line := await reader.readline():
            if not line.startswith(b'{"type"'):
                continue
            if line.startswith(b'{"type":"ERROR"'):
                await self._list_again(json.loads(line))
                return
            self._see(line)

    def _see(self, line: bytes) -> None:
        found = _VERSION.search(line)
        version = int(found[1]) if found else -1
        self._tally.events += 1
        self._tally.repeats += version <= self.version
        self._tally.gaps += version > self.version + 1
        self.version = max(self.version, version)
        if self._timed and (at := _TIME.search(line)):
            self._tally.delays.append(time.time() - float(at[1]))

    async def _list_again(self, event: dict[str, Any]) -> None:
        if event["object"].get("code") != 410:  # noqa: PLR2004
            raise OSError(event)
        reader, writer = await self._open("?limit=1")
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head.lower())
        body = json.loads(await reader.readexactly(int(length[1]) if length else 0))
        writer.close()
        version = int(body["metadata"]["resourceVersion"])
        self._tally.relisted += 1
        self._tally.skipped += version - self.version
        self.version = version
