"""Head and body of an answer in one write: one system call and one TLS record in place of two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import asyncio

_LONGEST_JOINED: Final = 16 * 1024
"""What is larger goes out as it is: a copy of it would cost more than the write."""


class JoinedWrites:
    """What uvicorn takes for a connection's transport: what is written within one turn of the loop goes out together.

    uvicorn writes the head of an answer, then its body. Nothing waits for anything that is not there yet.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        """Take the real transport, and the loop that it is of."""
        self._transport = transport
        self._loop = loop
        self._waiting: list[bytes] = []
        self._octets = 0

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the transport has
        return getattr(self._transport, name)

    def write(self, octets: bytes) -> None:
        """Send, at the end of this turn of the loop at the latest."""
        if not self._waiting:
            self._loop.call_soon(self._flush)
        self._waiting.append(octets)
        self._octets += len(octets)
        if self._octets > _LONGEST_JOINED:
            # Not later either: only the real transport tells when whoever reads cannot follow.
            self._flush()

    def close(self) -> None:
        """Send what waits, then close."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        waiting, octets = self._waiting, self._octets
        self._waiting, self._octets = [], 0
        if not waiting or self._transport.is_closing():
            return
        for written in waiting if octets > _LONGEST_JOINED else (b"".join(waiting),):
            self._transport.write(written)
