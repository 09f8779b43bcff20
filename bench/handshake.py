"""What a TLS handshake costs at least on each side: in memory, nothing sent, nothing else done.

The limit has no handshakes; a herd over new connections has one for each certificate. Both sides sign and verify with
P-384, as the nodes' certificates and the service's are of that kind.
"""

from __future__ import annotations

import ssl
import time
from contextlib import suppress
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from bench.limit import make_issuer
from bench.requests import write_pair
from bench.scratch import fresh_folder
from trivet.web.tls import ServerTls

if TYPE_CHECKING:
    from collections.abc import Iterator

_HANDSHAKES = 200


@dataclass(frozen=True)
class HandshakeMeasure:
    """CPU time of one handshake, in microseconds."""

    client_us: float
    server_us: float


def measure_handshake() -> HandshakeMeasure:
    """Shake hands, over and over, in this process."""
    server, node = make_issuer("localhost"), make_issuer("node")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # as the nodes of the herd
    context.verify_mode = ssl.CERT_NONE
    context.load_cert_chain(write_pair(fresh_folder("handshake") / "node.pem", node.pem, node.key))
    tls = ServerTls(server.pem, server.key)
    took = [_handshake(context, tls.context) for _ in range(_HANDSHAKES)]
    return HandshakeMeasure(
        client_us=1e6 * median(client for client, _ in took),
        server_us=1e6 * median(server for _, server in took),
    )


def _handshake(client: ssl.SSLContext, server: ssl.SSLContext) -> tuple[float, float]:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = (
        _steps(client, to_client, to_server, server_side=False),
        _steps(server, to_server, to_client, server_side=True),
    )
    took = [0.0, 0.0]
    going = {0, 1}
    while going:
        for side in sorted(going):
            began = time.thread_time()
            if next(sides[side]):
                going.discard(side)
            took[side] += time.thread_time() - began
    return took[0], took[1]


def _steps(
    context: ssl.SSLContext, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *, server_side: bool
) -> Iterator[bool]:
    """Go on as far as what has arrived allows, each time; tell whether that was all."""
    connection = context.wrap_bio(incoming, outgoing, server_side=server_side)
    while True:
        with suppress(ssl.SSLWantReadError):
            connection.do_handshake()
            yield True
        yield False
