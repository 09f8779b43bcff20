"""Natural batching: whatever arrives while one batch is in flight shares the next one.

A lone request never waits for company: the thread that issues takes what is there, be it one. It reads the requests
(form and proof of possession), then decides them in one transaction. All front ends come through `IssuingQueue.put`.
"""

from __future__ import annotations

import logging
import queue
import threading
from dataclasses import dataclass
from time import monotonic, sleep
from typing import TYPE_CHECKING, Final

from trivet.authority.holders import recognise_holders
from trivet.authority.issuance.application import PresentedRenewal, prepare
from trivet.authority.issue import issue_all
from trivet.authority.metrics import measures, traces
from trivet.pki.errors import AuthenticationError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trivet.authority.access import Requester
    from trivet.authority.context import Authority
    from trivet.authority.issuance.application import Application, Issuance, Renewal
    from trivet.authority.issuance.case import Outcome
    from trivet.authority.metrics.traces import Phase

_log = logging.getLogger(__name__)

LONGEST_QUEUE: Final = 1024  # about a second's work; beyond it an answer at once is worth more than a place
_BREATH_SECONDS: Final = 0.002
LARGEST_BATCH: Final = 128  # so that nobody waits long for the revocation lock


@dataclass(slots=True, eq=False)
class Ticket:
    """A place in the queue.

    Attributes:
        requester: None until it was looked up whose certificate a `PresentedRenewal` shows.
        tag: of whoever put it there.
        since: when, on the monotonic clock.
        withdrawn: nobody waits for it any more: it is not begun, if it was not yet.
        application: once it was read.
        outcome: once it is decided; an exception that is no Refusal is a defect.
        phases: of its batch, where they are wanted for a trace.
    """

    requester: Requester | None
    wish: Issuance | Renewal | PresentedRenewal
    tag: object
    since: float
    withdrawn: bool = False
    application: Application | None = None
    outcome: Outcome | Exception | None = None
    phases: Sequence[Phase] = ()


class IssuingQueue:
    """The one way to a certificate for requests that come at the same time. Safe to share between threads.

    It has one thread, which decides one batch at a time: a process is served best by one writer's connection.
    """

    def __init__(
        self,
        authority: Authority,
        deliver: Callable[[Sequence[Ticket]], None],
        *,
        longest: int = LONGEST_QUEUE,
        largest: int = LARGEST_BATCH,
    ) -> None:
        """Begin to wait for applications.

        Args:
            authority: the context.
            deliver: is told the tickets of a batch once they have their outcome, on this queue's thread.
            longest: how many may wait.
            largest: how many share a transaction.
        """
        self._authority = authority
        self._deliver = deliver
        self._longest, self._largest = longest, largest
        self._tickets: queue.SimpleQueue[Ticket | None] = queue.SimpleQueue()
        self._closed = False
        self._door = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="issuing", daemon=True)
        self._thread.start()

    def put(
        self, requester: Requester | None, wish: Issuance | Renewal | PresentedRenewal, tag: object
    ) -> Ticket:
        """Take a place in the queue.

        Raises:
            UnavailableError: too many wait already, or the service ends.
        """
        ticket = Ticket(requester, wish, tag, monotonic())
        with self._door:  # nothing comes behind the end that `close` puts there
            if self._tickets.qsize() < self._longest and not self._closed:
                self._tickets.put(ticket)
                return ticket
        measures.turned_away()
        message = "too many requests are waiting; try again in a moment"
        raise UnavailableError(message)

    @property
    def waiting(self) -> int:
        """How many wait, beside the batch in flight."""
        return self._tickets.qsize()

    def close(self) -> None:
        """Take nothing more, decide what waits, and end the thread."""
        with self._door:
            self._closed = True
            self._tickets.put(None)
        self._thread.join()

    def _run(self) -> None:
        is_last = False
        while not is_last:
            batch, is_last = self._next_batch()
            measures.waiting(self._tickets.qsize())
            if batch:
                self._decide(batch)
                if not self._tickets.empty():
                    # Those answered come again: let the event loop take them in without a rival for the interpreter.
                    # A lone client is not kept waiting, for then nobody waits here. 7 % less time a request.
                    sleep(_BREATH_SECONDS)

    def _next_batch(self) -> tuple[list[Ticket], bool]:
        """Wait for one, then take all that are there."""
        batch: list[Ticket] = []
        taken = self._tickets.get()
        while taken is not None:
            if not taken.withdrawn:
                batch.append(taken)
            if len(batch) >= self._largest:
                return batch, False
            try:
                taken = self._tickets.get_nowait()
            except queue.Empty:
                return batch, False
        return batch, True

    def _decide(self, batch: Sequence[Ticket]) -> None:
        measures.phase("wait", monotonic() - batch[0].since)
        self._recognise([ticket for ticket in batch if isinstance(ticket.wish, PresentedRenewal)])
        for ticket in batch:
            self._prepare(ticket)
        self._issue([ticket for ticket in batch if ticket.application is not None])
        if phases := traces.take_phases():
            for ticket in batch:
                ticket.phases = phases
        try:
            self._deliver(batch)
        except Exception:  # noqa: BLE001  the next batch is decided all the same
            _log.exception("%d decisions could not be delivered", len(batch))

    def _recognise(self, batch: Sequence[Ticket]) -> None:
        """Look up the certificates that are presented: once for all, not once for each."""
        if not batch:
            return
        try:
            found = recognise_holders(
                self._authority,
                [ticket.wish.presented for ticket in batch if isinstance(ticket.wish, PresentedRenewal)],
            )
        except UnavailableError as error:
            for ticket in batch:
                ticket.outcome = UnavailableError(error.detail)
            return
        except Exception as error:  # noqa: BLE001  a defect: whose it is, is found out alone
            if len(batch) == 1:
                batch[0].outcome = error
            else:
                for ticket in batch:
                    self._recognise([ticket])
            return
        for ticket, holder in zip(batch, found, strict=True):
            if isinstance(holder, AuthenticationError):
                ticket.outcome = holder
            elif holder.certificate is not None and isinstance(ticket.wish, PresentedRenewal):
                ticket.requester, ticket.wish = holder, ticket.wish.of(holder.certificate)

    def _prepare(self, ticket: Ticket) -> None:
        if ticket.requester is None or isinstance(ticket.wish, PresentedRenewal):
            return  # nobody is known to ask, so nothing is decided
        try:
            ticket.application = prepare(ticket.requester, ticket.wish, self._authority.engine.is_self_signed)
        except Exception as error:  # noqa: BLE001  a defect concerns this one only; told to whoever waits
            ticket.outcome = error

    def _issue(self, batch: Sequence[Ticket]) -> None:
        """Decide all in one transaction; where that fails for another reason than the database, each in its own."""
        if not batch:
            return
        try:
            outcomes = issue_all(
                self._authority, [ticket.application for ticket in batch if ticket.application]
            )
        except UnavailableError as error:
            for ticket in batch:
                ticket.outcome = UnavailableError(error.detail)
        except Exception as error:  # noqa: BLE001  a defect or a constraint: whose it is, is found out alone
            if len(batch) == 1:
                batch[0].outcome = error
                return
            _log.warning("a batch of %d failed (%s); trying each by itself", len(batch), type(error).__name__)
            for ticket in batch:
                self._issue([ticket])
        else:
            for ticket, outcome in zip(batch, outcomes, strict=True):
                ticket.outcome = outcome
