"""Run a use case off the event loop: use cases are synchronous, and wait for the database."""

from __future__ import annotations

import asyncio
import contextvars
import functools
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from trivet.authority.metrics import measures
from trivet.pki.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

_P = ParamSpec("_P")
_T = TypeVar("_T")

THREADS = 8  # as many as the database has connections for this process
PATIENCE_SECONDS = (
    12.0  # as for certificates: a database that hangs answers nobody, and clients do not wait for ever
)
MAX_WAITING = 256  # beyond it an answer at once is worth more than a place at the end


class Offload:
    """A bounded pool of threads: beyond its queue requests are refused at once, not kept waiting."""

    def __init__(self) -> None:
        """Start without threads; they come as they are needed."""
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="use-case")
        self._waiting = 0

    async def __call__(self, use_case: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run a use case and give its result.

        Raises:
            UnavailableError: too many are waiting already.
        """
        if self._waiting >= MAX_WAITING:
            measures.turned_away()
            message = "too many requests are waiting; try again in a moment"
            raise UnavailableError(message)
        call = functools.partial(contextvars.copy_context().run, use_case, *args, **kwargs)
        submitted = self._threads.submit(call)
        running = asyncio.wrap_future(submitted)
        self._waiting += 1
        running.add_done_callback(self._done)
        try:
            # Shielded: what began is finished, and counted until then, also when nobody waits for it any more.
            return await asyncio.wait_for(asyncio.shield(running), PATIENCE_SECONDS)
        except TimeoutError as error:
            submitted.cancel()  # what has not begun never will
            message = "no answer came in time; try again, with the same Idempotency-Key"
            raise UnavailableError(message) from error

    def _done(self, _: object) -> None:
        self._waiting -= 1

    def close(self) -> None:
        """Wait for what runs, and end the threads."""
        self._threads.shutdown(wait=True)
