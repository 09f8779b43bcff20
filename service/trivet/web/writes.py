"""Head and body of an answer in one write: one system call and one TLS record in place of two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import asyncio

_LONGEST_JOINED: Final = 16 * 1024
"""What is larger goes out as it is: a copy of it would cost more than the write."""


FAREWELL_SECONDS: Final = 2.0
"""How long whoever got all may take to close, too. Over TLS that takes a word of theirs (close_notify), and an idle
client does not listen: asyncio would wait for half a minute, and the end of the service with it."""

STALLED_SECONDS: Final = 60.0
"""How long whoever reads may take nothing of what waits for them."""


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
        self._parting: asyncio.TimerHandle | None = None
        self._left: int | None = None
        self._taken_at = 0.0

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the transport has
        return getattr(self._transport, name)

    def write(self, octets: bytes) -> None:
        """Send, at the end of this turn of the loop at the latest."""
        self._left = None
        if not self._waiting:
            self._loop.call_soon(self._flush)
        self._waiting.append(octets)
        self._octets += len(octets)
        if self._octets > _LONGEST_JOINED:
            # Not later either: only the real transport tells when whoever reads cannot follow.
            self._flush()

    def write_whole(self, octets: bytes) -> None:
        """Send an answer that is in one piece."""
        self._flush()
        self._left = None
        if not self._transport.is_closing():
            self._transport.write(octets)

    def stalled_seconds(self) -> float:
        """For how long nothing was taken of what waits, as far as whoever asks now and then can know."""
        left, now = self._transport.get_write_buffer_size(), self._loop.time()
        if not left or self._left is None or left < self._left:
            self._taken_at = now
        self._left = left
        return now - self._taken_at

    def close(self) -> None:
        """Send what waits, then close; who does not close in time has the connection taken away."""
        self._flush()
        self._transport.close()
        if self._parting is None:
            self._parting = self._loop.call_later(FAREWELL_SECONDS, self._part)

    def lost(self) -> None:
        """Know that the connection is no more."""
        if self._parting is not None:
            self._parting.cancel()

    def _part(self) -> None:
        if self._transport.get_write_buffer_size() and self.stalled_seconds() < STALLED_SECONDS:
            # A slow reader of much.
            self._parting = self._loop.call_later(FAREWELL_SECONDS, self._part)
        else:
            self._transport.abort()

    def _flush(self) -> None:
        waiting, octets = self._waiting, self._octets
        self._waiting, self._octets = [], 0
        if not waiting or self._transport.is_closing():
            return
        for written in waiting if octets > _LONGEST_JOINED else (b"".join(waiting),):
            self._transport.write(written)
