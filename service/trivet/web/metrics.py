"""`/metrics` for Prometheus. A scrape is answered also while the database is away: that is when it matters most."""

from __future__ import annotations

import asyncio
import logging
import math
import platform
import threading
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as OPENMETRICS
from starlette.responses import Response

from trivet import __version__
from trivet.authority.access import Permission, authorize
from trivet.authority.authenticate import authenticate_token
from trivet.authority.metrics import measures
from trivet.authority.metrics.exposition import exposition
from trivet.authority.metrics.footprint import note_footprint
from trivet.authority.metrics.monitor import Monitor, StandingCollector
from trivet.pki.errors import AuthenticationError, Refusal, UnavailableError
from trivet.web import logs
from trivet.web.authentication import bearer_token, limit_address, services_of
from trivet.web.routes import PlainRoute

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.types import Scope

    from trivet.authority.access import Requester
    from trivet.authority.context import Authority

_T = TypeVar("_T")
_log = logging.getLogger(__name__)

TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
PATIENCE_SECONDS: Final = 2.0  # Prometheus gives up after ten
FRESH_SECONDS: Final = 15.0  # the database is asked no oftener, however many scrape
_SHARE: Final = 100  # what takes long is read less often: a hundredth of the time at most
TRUST_SECONDS: Final = 3600.0
UNMATCHED: Final = "unmatched"


def metrics_routes(authority: Authority, *, public: bool = False) -> list[PlainRoute]:
    """The route of `/metrics`.

    Args:
        authority: the context.
        public: to anybody; else to access tokens that hold in all clusters and have the permission metrics:read.
    """
    scrapes = Scrapes(authority)

    async def metrics(request: Request) -> Response:
        if not public:
            await scrapes.admit(request)
        return await scrapes.answer(request.headers.get("accept", ""))

    return [PlainRoute("/metrics", metrics, include_in_schema=False)]


def route_template(scope: Scope) -> str:
    """The template of the route that a request was matched with, as a label: there are few, whatever is asked for."""
    # An included router's own routes lack the prefix that they are included under.
    context = scope.get("fastapi", {}).get("effective_route_context")
    path = getattr(context or scope.get("route"), "path_format", None)
    return path if isinstance(path, str) else UNMATCHED


class Patience:
    """Asks the database in a thread of its own, one question at a time, and does not wait long.

    Not the threads of use cases: those may all be taken, and that is what a scrape should tell. A thread that waits
    for a database that hangs must hinder neither the next scrape nor the end of the service.
    """

    def __init__(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Take how long to wait."""
        self._seconds = seconds
        self._free = asyncio.Lock()

    async def ask(self, question: Callable[[], _T]) -> _T:
        """The answer to a question.

        Raises:
            UnavailableError: it does not come in time, or the one before has none yet.
        """
        try:
            async with asyncio.timeout(self._seconds):
                await self._free.acquire()
                return await asyncio.shield(self._begin(question))
        except TimeoutError as error:
            message = "the database does not answer; try again in a moment"
            raise UnavailableError(message) from error

    def _begin(self, question: Callable[[], _T]) -> asyncio.Future[_T]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[_T] = loop.create_future()
        answer.add_done_callback(self._ended)

        def run() -> None:
            try:
                settle = partial(answer.set_result, question())
            except Exception as error:  # noqa: BLE001  whoever asked is told
                settle = partial(answer.set_exception, error)
            with suppress(RuntimeError):  # the service has ended meanwhile
                loop.call_soon_threadsafe(settle)

        threading.Thread(target=run, name="scrape", daemon=True).start()
        return answer

    def _ended(self, answer: asyncio.Future[_T]) -> None:
        self._free.release()
        if not answer.cancelled():
            answer.exception()  # seen, also where nobody waits for it any more


class Scrapes:
    """What scrapes of one process share."""

    def __init__(self, authority: Authority, patience: Patience | None = None) -> None:
        """Nothing was looked at yet."""
        self._authority = authority
        self._patience = patience or Patience()
        self._slow = Patience()  # so that a long reading keeps no token from being looked up
        self._monitor = Monitor(authority)
        self._is_up = False
        self._ahead: float | None = None
        self._look_at = self._read_at = -math.inf
        self._admitted: dict[str, tuple[Requester, float]] = {}
        database = "sqlite" if authority.database.is_sqlite else "postgresql"
        self._labels = {"version": __version__, "python": platform.python_version(), "database": database}

    async def answer(self, accept: str) -> Response:
        """The metrics, in OpenMetrics for whoever accepts it."""
        await self._look()
        await self._read()
        is_openmetrics = "application/openmetrics-text" in accept.lower()
        return Response(
            await asyncio.to_thread(self._text, is_openmetrics),
            media_type=OPENMETRICS if is_openmetrics else TEXT,
        )

    def _text(self, is_openmetrics: bool) -> bytes:  # noqa: FBT001  named where it is made
        note_footprint()
        now = self._authority.clock()
        found = StandingCollector(self._labels, now, self._monitor.standing, self._is_up, self._ahead)
        return exposition(found, is_openmetrics=is_openmetrics)

    async def _look(self) -> None:
        if time.monotonic() < self._look_at:
            return
        self._is_up, self._ahead = False, None
        with suppress(UnavailableError):
            self._ahead = await self._patience.ask(self._monitor.clock_ahead)
            self._is_up = True
        self._look_at = time.monotonic() + FRESH_SECONDS

    async def _read(self) -> None:
        if not self._is_up or time.monotonic() < self._read_at:
            return
        started = time.monotonic()
        try:
            await self._slow.ask(self._monitor.read)
        except UnavailableError:
            pass  # if it only takes longer, it goes on, and the next scrape will tell
        except Exception:  # noqa: BLE001  a defect must not hide what is counted
            _log.exception("what stands cannot be read")
        now = time.monotonic()
        self._read_at = now + max(FRESH_SECONDS, (now - started) * _SHARE)

    async def admit(self, request: Request) -> None:
        """Let a scrape pass, or refuse it.

        A token that was admitted within the last hour is admitted also while the database cannot be asked.

        Raises:
            AuthenticationError: no access token, or an unknown one.
            AccessDeniedError: its role lacks metrics:read, or it holds in one cluster only.
            RateLimitedError: too often.
            UnavailableError: the database cannot be asked, and the token was not admitted lately.
        """
        try:
            secret = _required_token(request)
            requester = await self._requester(secret)
        except AuthenticationError:
            limit_address(request)
            raise
        services_of(request).limit.check(requester.name)

    async def _requester(self, secret: str) -> Requester:
        key = self._authority.key_encryption_key.token_hash(secret)
        try:
            requester = await self._patience.ask(
                partial(authenticate_token, self._authority, secret, logs.request_id.get())
            )
            authorize(requester, Permission.READ_METRICS, None, self._authority.clock())
        except UnavailableError:
            remembered = self._remembered(key)
            if remembered is None:
                raise
            return remembered
        except Refusal:
            self._admitted.pop(key, None)
            raise
        self._admitted[key] = (requester, time.monotonic())
        return requester

    def _remembered(self, key: str) -> Requester | None:
        requester, admitted = self._admitted.get(key, (None, 0.0))
        if requester is None or time.monotonic() - admitted > TRUST_SECONDS:
            return None
        has_ended = requester.expires_at is not None and requester.expires_at <= self._authority.clock()
        return None if has_ended else requester


def _required_token(request: Request) -> str:
    secret = bearer_token(request)
    if secret is None:
        measures.authentication_failed("missing")
        message = "give an access token (Authorization: Bearer trivet_…) of the role auditor or admin"
        raise AuthenticationError(message)
    return secret
