"""Nodes that all renew after an outage, each over a TLS connection of its own; a process of its own.

`python -m bench.herd_nodes` reads a `Herd` as JSON from the first line of stdin, makes ready what belongs to the nodes'
own machines (TLS contexts with their keys), writes `ready`, waits for a line, and then renews until every node has
its new certificate or has given up.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import resource
import ssl
import sys
import time
from dataclasses import asdict, dataclass, field

import uvloop

from bench.answers import Answer, check_answers

_KEPT_EVERY = 97


@dataclass(frozen=True)
class Herd:
    """Some of the nodes.

    Attributes:
        pairs: a file for each node with its certificate and key.
        requests: the HTTP request of each node.
        open_at_once: connections that these nodes have at most at a time.
        arrival: seconds within which all nodes begin.
        patience: seconds after which a node gives up, which counts as a failure.
    """

    port: int
    pairs: list[str]
    requests: list[str]
    signing_requests: list[str]
    issuer: str
    open_at_once: int
    arrival: float
    patience: float


@dataclass
class Renewals:
    """What came of it; `finished` are seconds from the start to each node's new certificate."""

    finished: list[float] = field(default_factory=list)
    retries: dict[str, int] = field(default_factory=dict)
    failures: int = 0
    checked: int = 0
    cpu_seconds: float = 0.0


class _Exchange(asyncio.Protocol):
    """One request on one connection."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._received = b""
        self._transport: asyncio.Transport | None = None
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a stream's
        self._transport.write(self._request)  # type: ignore[union-attr]

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if (
            separator
            and len(body) >= int(_header(head, b"content-length") or b"0")
            and not self.answer.done()
        ):
            self.answer.set_result(self._received)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc or ConnectionResetError())

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def _header(head: bytes, name: bytes) -> bytes | None:
    for line in head.split(b"\r\n")[1:]:
        found, _, value = line.partition(b":")
        if found.lower() == name:
            return value.strip()
    return None


class _Nodes:
    def __init__(self, herd: Herd) -> None:
        self._herd = herd
        self._contexts = [_context(pair) for pair in herd.pairs]
        self._chance = random.Random(len(herd.pairs))  # noqa: S311  when to come again, no secret
        self._kept: list[Answer] = []
        self._began = 0.0
        self.came = Renewals()

    async def run(self) -> Renewals:
        before = _cpu()
        self._places = asyncio.Semaphore(self._herd.open_at_once)
        self._began = time.perf_counter()
        await asyncio.gather(*map(self._node, range(len(self._herd.pairs))))
        self.came.cpu_seconds = _cpu() - before
        self.came.checked = check_answers(self._kept, self._herd.signing_requests, self._herd.issuer)
        return self.came

    async def _node(self, number: int) -> None:
        await asyncio.sleep(self._chance.uniform(0, self._herd.arrival))
        attempt = 0
        while time.perf_counter() - self._began < self._herd.patience:
            async with self._places:
                wait = await self._attempt(number)
            if wait is None:
                self.came.finished.append(time.perf_counter() - self._began)
                return
            attempt += 1
            # As an agent does: not before the service says, doubled where it says nothing, never all at once.
            longest = max(wait, min(0.5 * 2**attempt, 8.0) if wait == 0 else wait)
            await asyncio.sleep(longest * self._chance.uniform(1.0, 1.5))
        self.came.failures += 1

    async def _attempt(self, number: int) -> float | None:
        """Try once; None: renewed; else the seconds to wait at least, 0 where the service named none."""
        exchange = _Exchange(self._herd.requests[number].encode())
        try:
            await asyncio.get_running_loop().create_connection(
                lambda: exchange, "127.0.0.1", self._herd.port, ssl=self._contexts[number]
            )
            answer = await asyncio.wait_for(exchange.answer, 30)
        except (OSError, TimeoutError) as error:
            self._note(type(error).__name__)
            return 0.0
        finally:
            exchange.close()
        status = answer[9:12]
        if status == b"201":
            if number % _KEPT_EVERY == 0:
                self._kept.append(Answer(number, answer))
            return None
        self._note(status.decode())
        return float(_header(answer.partition(b"\r\n\r\n")[0], b"retry-after") or 0)

    def _note(self, reason: str) -> None:
        self.came.retries[reason] = self.came.retries.get(reason, 0) + 1


def _context(pair: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # The service's signature in the handshake is verified all the same; the chain is left to the nodes' own cores.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.load_cert_chain(pair)
    return context


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Make ready, wait for the word, renew, tell."""
    nodes = _Nodes(Herd(**json.loads(sys.stdin.readline())))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    came = uvloop.run(nodes.run())
    came.finished = [moment for moment in came.finished if math.isfinite(moment)]
    sys.stdout.write(json.dumps(asdict(came)) + "\n")


if __name__ == "__main__":
    main()
