"""From the event loop to the thread that answers OCSP requests, and back: all that wait are answered as one batch.

As with certificates (`authority.issuance.queue`): whatever arrives while one batch is answered shares the next one,
which asks the database once. A lone request does not wait for company.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from trivet.authority.metrics import measures
from trivet.authority.status.ocsp import OcspDesk
from trivet.authority.status.replies import TRY_LATER

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trivet.authority.context import Authority
    from trivet.authority.status.replies import Question, Reply

PATIENCE_SECONDS: Final = 8.0  # clients of OCSP give up sooner than those who want a certificate
LONGEST_QUEUE: Final = 1024
LARGEST_BATCH: Final = 32

_GLANCE_SECONDS: Final = 0.5


@dataclass(slots=True, eq=False)
class _Waiting:
    question: Question
    told: Callable[[Reply], object] | None
    since: float

    def tell(self, loop: asyncio.AbstractEventLoop, reply: Reply) -> None:
        """Give the answer, unless one was given."""
        if self.told is not None:
            # By the loop, so that whoever cannot take it keeps nobody else from theirs.
            loop.call_soon(self.told, reply)
            self.told = None


class _Batch(NamedTuple):
    loop: asyncio.AbstractEventLoop
    members: Sequence[_Waiting]


class Answering:
    """Answers OCSP requests on a thread of its own. Called from one event loop."""

    def __init__(self, authority: Authority) -> None:
        """The thread begins with the first request."""
        self._desk = OcspDesk(authority)
        self._batches: queue.SimpleQueue[_Batch | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._gathered: deque[_Waiting] = deque()
        self._in_hand: Sequence[_Waiting] = ()
        self._is_about_to_begin = False
        self._looks_after = False

    async def __call__(self, question: Question) -> Reply:
        """Wait for the answer; `tryLater` where too many wait or none comes in time."""
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

        def tell(reply: Reply) -> None:
            if not answer.done():
                answer.set_result(reply)

        self.ask(question, tell)
        return await answer

    def ask(self, question: Question, told: Callable[[Reply], object]) -> None:
        """As a call, but the answer is told in a later turn of the loop."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._open(loop)
        waiting = _Waiting(question, told, loop.time())
        if len(self._gathered) >= LONGEST_QUEUE:
            measures.turned_away()
            measures.ocsp_answered(TRY_LATER.result)
            waiting.tell(loop, TRY_LATER)
            return
        self._gathered.append(waiting)
        if not self._in_hand and not self._is_about_to_begin:
            # At the end of this turn of the loop, so that all that it has received come along.
            self._is_about_to_begin = True
            loop.call_soon(self._begin, loop)

    def close(self) -> None:
        """Answer the batch in hand, and end the thread."""
        self._batches.put(None)
        if self._thread is not None:
            self._thread.join()

    def _open(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="ocsp", daemon=True)
            self._thread.start()
        # Whoever waited in another loop has ended with it.
        self._loop, self._gathered, self._in_hand = loop, deque(), ()
        self._is_about_to_begin = self._looks_after = False

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Hand over what has gathered."""
        self._is_about_to_begin = False
        wanted = (one for one in iter(self._next, None) if one.told is not None)
        self._in_hand = list(islice(wanted, LARGEST_BATCH))
        if self._in_hand:
            self._batches.put(_Batch(loop, self._in_hand))
            self._look_after(loop)

    def _next(self) -> _Waiting | None:
        return self._gathered.popleft() if self._gathered else None

    def _settle(self, batch: _Batch, replies: Sequence[Reply]) -> None:
        """Give the answers of a batch, and begin the next one."""
        if batch.loop is not self._loop:
            return
        for one, reply in zip(batch.members, replies, strict=True):
            one.tell(batch.loop, reply)
        for result, count in Counter(reply.result for reply in replies).items():
            measures.ocsp_answered(result, count)
        self._in_hand, self._is_about_to_begin = (), True
        batch.loop.call_soon(self._begin, batch.loop)

    def _look_after(self, loop: asyncio.AbstractEventLoop) -> None:
        """While a batch is in hand, see now and then that nobody waits too long: the database may hang."""
        if not self._looks_after:
            self._looks_after = True
            loop.call_later(min(_GLANCE_SECONDS, PATIENCE_SECONDS), self._glance, loop)

    def _glance(self, loop: asyncio.AbstractEventLoop) -> None:
        self._looks_after = False
        latest = loop.time() - PATIENCE_SECONDS
        for one in (*self._in_hand, *self._gathered):
            if one.since <= latest:
                one.tell(loop, TRY_LATER)
        if self._in_hand:
            self._look_after(loop)

    def _run(self) -> None:
        for batch in iter(self._batches.get, None):
            replies = self._desk.answer([one.question for one in batch.members])
            with suppress(RuntimeError):  # the loop was closed, so nobody waits there
                batch.loop.call_soon_threadsafe(self._settle, batch, replies)
