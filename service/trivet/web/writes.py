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

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the transport has
        return getattr(self._transport, name)

    def write(self, octets: bytes) -> None:
        """Send, at the end of this turn of the loop at the latest."""
        if not self._waiting:
            self._loop.call_soon(self._flush)
        self._waiting.append(octets)
        if len(octets) > _LONGEST_JOINED:
            self._flush()

    def close(self) -> None:
        """Send what waits, then close."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        if not waiting or self._transport.is_closing():
            return
        if sum(map(len, waiting)) > _LONGEST_JOINED:
            for octets in waiting:
                self._transport.write(octets)
        else:
            self._transport.write(b"".join(waiting))
