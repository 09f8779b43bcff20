"""The load generator: a process of its own that sends prepared requests and times the answers.

It shares the cores with what it measures, so it does as little as it can: uvloop, prepared bytes, no HTTP library,
one request at a time on each connection. What it costs itself it reports. `python -m bench.load` reads a `Load` as
JSON on stdin and writes a `Result` as JSON on stdout; it ends by itself.
"""

from __future__ import annotations

import asyncio
import json
import math
import resource
import ssl
import subprocess
import sys
import time
from collections import Counter, deque
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

import uvloop

from bench.answers import Answer, check_answers
from bench.cpu import tree_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

_OPENED_AT_ONCE = 8
_PATIENCE = 30.0  # seconds for what is in flight when the time is up
_KEPT_EVERY = 37  # of the answers one in so many is kept, and checked when the clock has stopped
_MOST_KEPT = 400


@dataclass(frozen=True)
class Load:
    """What to send.

    Attributes:
        port: of a server on the loopback.
        requests: whole HTTP/1.1 requests; sent in turn, over and over.
        signing_requests: the CSR (PEM) in each of them, to check the answers by; or none.
        issuer: the CA certificate (PEM) that the answers are checked by.
        connections: as many are kept open, each with one request at a time.
        seconds: how long is measured, after `warm_up`.
        rate: requests a second, sent whether or not answers come (an open loop); None: as fast as answers come.
        tls: the CA file of the server; None for plain HTTP.
        client_pairs: files with certificate and key, one for each connection.
        expected: the status of a good answer.
        trees: processes whose CPU time is wanted, with their descendants.
        window: seconds; p99 is given for each window of this length as well.
        collect: a file; each request then is sent once, nothing is timed, and the answers' bodies go there in order,
            each behind its length in a line of its own.
    """

    port: int
    requests: list[str]
    connections: int
    seconds: float
    signing_requests: list[str] = field(default_factory=list)
    issuer: str | None = None
    warm_up: float = 1.0
    rate: float | None = None
    tls: str | None = None
    client_pairs: list[str] = field(default_factory=list)
    expected: int = 201
    trees: dict[str, list[int]] = field(default_factory=dict)
    window: float | None = None
    collect: str | None = None


@dataclass(frozen=True)
class Result:
    """What came of it.

    Attributes:
        answered: good answers in the time that is measured.
        failures: how many of each other status, or "lost" for connections that broke.
        checked: answers of which every part was verified.
        cpu_us: CPU time for each answer, of "client" (this process) and of each tree that was asked for.
        windows: p99 in milliseconds of each window.
    """

    answered: int
    seconds: float
    per_second: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    failures: dict[str, int]
    checked: int
    cpu_us: dict[str, float]
    windows: list[float]


def run_load(load: Load) -> Result:
    """Run a load in a process of its own.

    Raises:
        subprocess.CalledProcessError: the load generator failed; stderr says why.
    """
    done = subprocess.run(
        [sys.executable, "-m", "bench.load"],
        input=json.dumps(asdict(load)).encode(),
        stdout=subprocess.PIPE,
        timeout=load.warm_up + load.seconds + _PATIENCE + (600 if load.collect else 120),
        check=True,
    )
    return Result(**json.loads(done.stdout))


class _Connection(asyncio.Protocol):
    """One connection: sends a request, reads the answer, tells the course, and is told what is next."""

    __slots__ = ("_course", "_received", "_wanted", "began", "in_flight", "number", "transport")

    def __init__(self, course: _Course) -> None:
        self._course = course
        self._received = b""
        self._wanted = -1
        self.began = 0.0
        self.in_flight = False
        self.number = 0
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def send(self, number: int, request: bytes, began: float) -> None:
        self.number, self.began, self.in_flight = number, began, True
        self.transport.write(request)  # type: ignore[union-attr]  # sent on open connections only

    def data_received(self, data: bytes) -> None:
        received = self._received = self._received + data if self._received else data
        if self._wanted < 0:
            self._wanted = _length(received)
        if self._wanted == 0:
            if not received.endswith(b"0\r\n\r\n"):  # chunked
                return
        elif self._wanted < 0 or len(received) < self._wanted:
            return
        self._received, self._wanted, self.in_flight = b"", -1, False
        self._course.answered(self, received)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._course.lost(self)


def _length(received: bytes) -> int:
    """How long the whole answer is; -1 where that is not known yet, 0 where it comes in chunks."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return -1
    headers = received[:end].lower()
    at = headers.find(b"\r\ncontent-length:")
    if at < 0:
        return 0
    stop = headers.find(b"\r\n", at + 2)
    return end + 4 + int(headers[at + 17 : stop if stop > 0 else None])


class _Course:
    """One run: which request is next, and what was measured."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._requests = [request.encode("latin-1") for request in load.requests]
        self._next = 0
        self._status = str(load.expected).encode()
        self._idle: deque[_Connection] = deque()
        self._due: deque[float] = deque()
        self._busy = 0
        self._sent = 0
        self._still = asyncio.Event()
        self._stopped = False
        self._measured_from = math.inf
        self.latencies: list[tuple[float, float]] = []
        self.failures: Counter[str] = Counter()
        self.kept: list[Answer] = []

    async def run(self) -> Result:
        connections = await self._open_all()
        if self._load.collect is not None:
            return await self._collect(connections, Path(self._load.collect))
        self._idle.extend(connections)
        pacing = asyncio.ensure_future(self._pace()) if self._load.rate else None
        if pacing is None:
            while self._idle:
                self._send(self._idle.popleft(), time.perf_counter())
        await asyncio.sleep(self._load.warm_up)
        before, self._measured_from = self._cpu(), time.perf_counter()
        await asyncio.sleep(self._load.seconds)
        after, self._stopped = self._cpu(), True
        elapsed = time.perf_counter() - self._measured_from
        if pacing is not None:
            pacing.cancel()
        await self._drain(connections)
        return self._result(elapsed, {name: after[name] - before[name] for name in after})

    async def _collect(self, connections: list[_Connection], file: Path) -> Result:
        """Send every request once."""
        self._measured_from = time.perf_counter()
        for connection in connections[: len(self._requests)]:
            self._send(connection, time.perf_counter())
        await self._still.wait()
        elapsed, self._stopped = time.perf_counter() - self._measured_from, True
        bodies = {answer.number: answer.text.partition(b"\r\n\r\n")[2] for answer in self.kept}
        with file.open("wb") as target:
            for number in range(len(self._requests)):
                body = bodies.get(number, b"")
                target.write(b"%d\n%b" % (len(body), body))
        await self._drain(connections)
        return self._result(elapsed, {})

    async def _open_all(self) -> list[_Connection]:
        contexts = _contexts(self._load)
        connections: list[_Connection] = []
        for start in range(0, self._load.connections, _OPENED_AT_ONCE):
            some = range(start, min(start + _OPENED_AT_ONCE, self._load.connections))
            connections += await asyncio.gather(*(self._open(contexts, number) for number in some))
        return connections

    async def _open(self, contexts: Sequence[ssl.SSLContext | None], number: int) -> _Connection:
        context = contexts[number % len(contexts)]
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            lambda: _Connection(self),
            "127.0.0.1",
            self._load.port,
            ssl=context,
            server_hostname="localhost" if context else None,
        )
        return connection

    async def _pace(self) -> None:
        """Send at a steady rate; where no connection is free the request waits, and its time counts."""
        interval = 1 / (self._load.rate or 1)
        due = time.perf_counter()
        while True:
            now = time.perf_counter()
            while due <= now:
                if self._idle:
                    self._send(self._idle.popleft(), due)
                else:
                    self._due.append(due)
                due += interval
            await asyncio.sleep(max(0.0005, due - time.perf_counter()))

    def _send(self, connection: _Connection, began: float) -> None:
        self._busy += 1
        self._sent += 1
        self._still.clear()
        number = self._next
        self._next = (number + 1) % len(self._requests)
        connection.send(number, self._requests[number], began)

    def answered(self, connection: _Connection, answer: bytes) -> None:
        now = time.perf_counter()
        self._busy -= 1
        if not self._stopped:
            if now >= self._measured_from:
                self._count(connection, answer, now)
            self._continue(connection, now)
        self._settle()

    def _continue(self, connection: _Connection, now: float) -> None:
        """Give the connection its next request, if there is one."""
        if self._load.collect is not None:
            if self._sent < len(self._requests):
                self._send(connection, now)
        elif self._load.rate is None:
            self._send(connection, now)
        elif self._due:
            self._send(connection, self._due.popleft())
        else:
            self._idle.append(connection)

    def _count(self, connection: _Connection, answer: bytes, now: float) -> None:
        if answer[9:12] != self._status:
            self.failures[answer[9:12].decode("latin-1")] += 1
            if sum(self.failures.values()) == 1:
                sys.stderr.write(f"load: {answer[:2000].decode('latin-1')}\n")
            return
        self.latencies.append((now, now - connection.began))
        wanted = len(self.latencies) % _KEPT_EVERY == 1 and len(self.kept) < _MOST_KEPT
        if wanted or self._load.collect is not None:
            self.kept.append(Answer(connection.number, answer))

    def lost(self, connection: _Connection) -> None:
        if not self._stopped:
            self.failures["lost"] += 1
        if connection.in_flight:
            connection.in_flight = False
            self._busy -= 1
            self._settle()

    def _settle(self) -> None:
        if not self._busy:
            self._still.set()

    async def _drain(self, connections: list[_Connection]) -> None:
        # What is in flight is answered, so that the next load meets an idle service.
        with suppress(TimeoutError):
            await asyncio.wait_for(self._still.wait(), _PATIENCE)
        for connection in connections:
            if connection.transport is not None:
                connection.transport.abort()

    def _cpu(self) -> dict[str, float]:
        own = resource.getrusage(resource.RUSAGE_SELF)
        trees = {name: tree_seconds(pids) for name, pids in self._load.trees.items()}
        return {"client": own.ru_utime + own.ru_stime, **trees}

    def _result(self, elapsed: float, cpu: dict[str, float]) -> Result:
        took = sorted(latency for _, latency in self.latencies)
        count = len(took)
        return Result(
            answered=count,
            seconds=elapsed,
            per_second=count / elapsed,
            p50_ms=1e3 * quantile(took, 0.5),
            p99_ms=1e3 * quantile(took, 0.99),
            max_ms=1e3 * (took[-1] if took else math.nan),
            failures=dict(self.failures),
            checked=check_answers(self.kept[:_MOST_KEPT], self._load.signing_requests, self._load.issuer),
            cpu_us={name: 1e6 * seconds / max(count, 1) for name, seconds in cpu.items()},
            windows=self._windows(),
        )

    def _windows(self) -> list[float]:
        if self._load.window is None:
            return []
        windows: dict[int, list[float]] = {}
        for moment, latency in self.latencies:
            windows.setdefault(int((moment - self._measured_from) / self._load.window), []).append(latency)
        return [1e3 * quantile(sorted(windows[number]), 0.99) for number in sorted(windows)]


def collected(file: Path) -> list[bytes]:
    """The answers' bodies that a load with `collect` wrote; an empty one where a request failed."""
    bodies = []
    with file.open("rb") as source:
        while line := source.readline():
            bodies.append(source.read(int(line)))
    return bodies


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value that `share` of the ordered values do not exceed; not a number where there are none."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else math.nan


def _contexts(load: Load) -> list[ssl.SSLContext | None]:
    if load.tls is None:
        return [None]
    contexts: list[ssl.SSLContext | None] = []
    for pair in load.client_pairs or [""]:
        context = ssl.create_default_context(cafile=load.tls)
        if pair:
            context.load_cert_chain(pair)
        contexts.append(context)
    return contexts


def main() -> None:
    """Read a load, run it, write what came of it."""
    load = Load(**json.load(sys.stdin.buffer))
    result = uvloop.run(_Course(load).run())
    json.dump(asdict(result), sys.stdout)


if __name__ == "__main__":
    main()
