"""OCSP on the port for plain HTTP: uvicorn's connection asks by itself, and sends the answer in one piece.

To go through ASGI (a scope, a task, a future, two events in and two out) takes as long as everything else that a kept
answer needs (docs/performance.md). Only the way is shorter: `web.pki.ocsp` says what is asked, and how it is answered,
here as there. What is not of the plainest kind goes through ASGI: chunked or large bodies, `Expect: 100-continue`,
other methods, and whoever does not read the answers that they have.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from trivet.pki.ocsp import MAX_REQUEST_BYTES
from trivet.web.pki.ocsp import Asked, asked_at, malformed, response_to
from trivet.web.tls import PeerCertificateProtocol

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    from trivet.authority.status.replies import Reply
    from trivet.web.pki.answering import Answering


_MOST_DIGITS: Final = 5  # of a length; there may be as many zeros as a client likes


class OcspProtocol(PeerCertificateProtocol):
    """uvicorn's HTTP/1.1; of what is asked, OCSP requests are answered without ASGI."""

    def __init__(self, answering: Answering, **given: Any) -> None:  # noqa: ANN401  what uvicorn gives
        """Take who answers."""
        super().__init__(**given)
        self._answering = answering
        self._awaited: tuple[RequestResponseCycle, Asked] | None = None

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """Begin to answer a request, of which the body may be still to come."""
        asked = asked_at(cycle.scope["path"]) if app is self.app else None  # else it is uvicorn's 503
        if asked is None or not self._is_plain(cycle, asked):
            super()._start_asgi_task(cycle, app)
        elif cycle.more_body:
            self._awaited = cycle, asked
        else:
            self._ask(cycle, asked)

    def _is_plain(self, cycle: RequestResponseCycle, asked: Asked) -> bool:
        scope, headers = cycle.scope, dict(cycle.scope["headers"])
        length = headers.get(b"content-length", b"0")
        return (
            scope["method"] == asked.method
            and b"transfer-encoding" not in headers
            and len(length) <= _MOST_DIGITS
            and int(length) <= MAX_REQUEST_BYTES
            and not cycle.waiting_for_100_continue
            and not self.flow.write_paused
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection; what refers to each other would have to be looked for."""
        super().connection_lost(exc)
        self._awaited = self.cycle = None  # type: ignore[assignment]
        self.pipeline.clear()

    def on_message_complete(self) -> None:
        """Go on; what awaited its body is asked."""
        super().on_message_complete()
        if self._awaited is not None:
            (cycle, asked), self._awaited = self._awaited, None
            self._ask(cycle, asked)

    def _ask(self, cycle: RequestResponseCycle, asked: Asked) -> None:
        question = asked.question(bytes(cycle.body))
        if question is None:
            self.loop.call_soon(self._answer, cycle, malformed())
        else:
            self._answering.ask(question, partial(self._answer, cycle))

    def _answer(self, cycle: RequestResponseCycle, reply: Reply) -> None:
        if cycle.disconnected:
            return
        scope = cycle.scope
        status, headers, body = response_to(scope["method"], scope["headers"], reply)
        closing = () if cycle.keep_alive else ((b"connection", b"close"),)
        lines = [
            b"%b: %b\r\n" % header for header in (*self.server_state.default_headers, *headers, *closing)
        ]
        cycle.response_started = cycle.response_complete = True
        self._writes.write_whole(b"".join((STATUS_LINE[status], *lines, b"\r\n", body)))
        if not cycle.keep_alive:
            self.transport.close()
        cycle.on_response()
