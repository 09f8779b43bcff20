"""From the event loop to the thread that answers OCSP requests, and back: all that wait are answered as one batch.

As with certificates (`authority.issuance.queue`): whatever arrives while one batch is answered shares the next one,
which asks the database once. A lone request does not wait for company.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from typing import TYPE_CHECKING, Final, NamedTuple

from trivet.authority.metrics import measures
from trivet.authority.status.ocsp import OcspDesk
from trivet.authority.status.replies import TRY_LATER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trivet.authority.context import Authority
    from trivet.authority.status.replies import Question, Reply

_log = logging.getLogger(__name__)

PATIENCE_SECONDS: Final = 8.0  # clients of OCSP give up sooner than those who want a certificate
LONGEST_QUEUE: Final = 1024
LARGEST_BATCH: Final = 32


class _Waiting(NamedTuple):
    question: Question
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[Reply]


class Answering:
    """Answers OCSP requests on a thread of its own."""

    def __init__(self, authority: Authority) -> None:
        """Open the queue; the thread begins with the first request."""
        self._desk = OcspDesk(authority)
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    async def __call__(self, question: Question) -> Reply:
        """Wait for the answer; `tryLater` where too many wait or none comes in time."""
        if self._waiting.qsize() >= LONGEST_QUEUE:
            measures.turned_away()
            return TRY_LATER
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="ocsp", daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Reply] = loop.create_future()
        self._waiting.put(_Waiting(question, loop, answer))
        patience = loop.call_later(PATIENCE_SECONDS, _give_up, answer)
        try:
            return await answer
        finally:
            patience.cancel()

    def close(self) -> None:
        """Answer what waits, and end the thread."""
        self._waiting.put(None)
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        is_last = False
        while not is_last:
            batch, is_last = self._next_batch()
            if batch:
                replies = self._desk.answer([one.question for one in batch])
                _deliver(batch, replies)

    def _next_batch(self) -> tuple[list[_Waiting], bool]:
        """Wait for one, then take all that are there and still wanted."""
        batch: list[_Waiting] = []
        taken = self._waiting.get()
        while taken is not None:
            if not taken.answer.done():
                batch.append(taken)
            if len(batch) >= LARGEST_BATCH:
                return batch, False
            try:
                taken = self._waiting.get_nowait()
            except queue.Empty:
                return batch, False
        return batch, True


def _give_up(answer: asyncio.Future[Reply]) -> None:
    if not answer.done():
        answer.set_result(TRY_LATER)


def _deliver(batch: Sequence[_Waiting], replies: Sequence[Reply]) -> None:
    for loop in {one.loop for one in batch}:
        try:
            loop.call_soon_threadsafe(_settle, loop, batch, replies)
        except RuntimeError:  # the loop was closed, so nobody waits there
            continue


def _settle(loop: asyncio.AbstractEventLoop, batch: Sequence[_Waiting], replies: Sequence[Reply]) -> None:
    for one, reply in zip(batch, replies, strict=True):
        if one.loop is loop and not one.answer.done():
            one.answer.set_result(reply)
