"""From the event loop into the issuing queue, and back."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from trivet.authority.issuance.application import Issuance
from trivet.authority.issuance.queue import IssuingQueue, Ticket
from trivet.authority.issue import IssuedCertificate
from trivet.authority.metrics import traces
from trivet.pki.errors import UnavailableError
from trivet.web import logs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trivet.authority.access import Requester
    from trivet.authority.context import Authority
    from trivet.authority.issuance.application import PresentedRenewal, Renewal
    from trivet.authority.metrics.traces import Trace

PATIENCE_SECONDS: Final = 12.0  # longer than a lock is waited for, shorter than clients and proxies wait
_LATE: Final = (
    "no decision came in time; try again, with the same Idempotency-Key: it may have been issued meanwhile"
)


@dataclass(frozen=True, slots=True)
class _Waiting:
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[IssuedCertificate]


class Issuing:
    """Issues and renews by way of the process's one queue, without ever blocking the event loop."""

    def __init__(self, authority: Authority) -> None:
        """Open the queue."""
        self._queue = IssuingQueue(authority, _deliver)

    async def __call__(
        self, requester: Requester | None, wish: Issuance | Renewal | PresentedRenewal
    ) -> IssuedCertificate:
        """Wait for the certificate; None asks where it is yet to be found out whose certificate is presented.

        Raises:
            UnavailableError: the queue is full, the database is away, or no decision came in time.
            Refusal: as `authority.issue.issue`.
        """
        name, profile = ("issue", wish.profile) if isinstance(wish, Issuance) else ("renew", None)
        with traces.traced(name, wish.cluster, logs.request_id.get(), profile) as trace:
            return await self._wait(requester, wish, trace)

    async def _wait(
        self,
        requester: Requester | None,
        wish: Issuance | Renewal | PresentedRenewal,
        trace: Trace | None,
    ) -> IssuedCertificate:
        loop = asyncio.get_running_loop()
        waiting = _Waiting(loop, loop.create_future())
        ticket = self._queue.put(requester, wish, waiting)
        patience = loop.call_later(PATIENCE_SECONDS, _give_up, ticket, waiting)
        try:
            return await waiting.answer
        finally:
            ticket.withdrawn = True
            patience.cancel()
            if trace is not None:
                trace.went_through(ticket.phases)

    def close(self) -> None:
        """Decide what waits, and take no more."""
        self._queue.close()


def _give_up(ticket: Ticket, waiting: _Waiting) -> None:
    ticket.withdrawn = True
    if not waiting.answer.done():
        waiting.answer.set_exception(UnavailableError(_LATE))


def _deliver(batch: Sequence[Ticket]) -> None:
    """On the queue's thread: wake each event loop once for a batch."""
    loops = {ticket.tag.loop for ticket in batch if isinstance(ticket.tag, _Waiting)}
    for loop in loops:
        try:
            loop.call_soon_threadsafe(_answer, loop, batch)
        except RuntimeError:  # the loop was closed, so nobody waits there
            continue


def _answer(loop: asyncio.AbstractEventLoop, batch: Sequence[Ticket]) -> None:
    for ticket in batch:
        waiting, outcome = ticket.tag, ticket.outcome
        if not isinstance(waiting, _Waiting) or waiting.loop is not loop or waiting.answer.done():
            continue
        if isinstance(outcome, IssuedCertificate):
            waiting.answer.set_result(outcome)
        else:
            waiting.answer.set_exception(
                _raisable(outcome or UnavailableError("the request was not decided"))
            )


def _raisable(error: Exception) -> Exception:
    # A future refuses this one, and those who come after it in the batch would get no answer.
    return RuntimeError("a defect: an iteration ended") if isinstance(error, StopIteration) else error
