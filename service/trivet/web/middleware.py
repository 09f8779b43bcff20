"""What surrounds every request: its id, a bound on its body, a line in the log."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import re
import secrets
import time
from typing import TYPE_CHECKING, Any

from trivet.authority.metrics import measures, traces
from trivet.web import logs
from trivet.web.metrics import route_template
from trivet.web.problems import PROBLEM_TYPE, BodyTimeoutError, TooLargeError, describe, problem

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_log = logging.getLogger("trivet.access")
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
# Told apart, not kept secret; a system call for each would give up the interpreter to another thread.
_PROCESS = secrets.token_hex(4)
_numbers = itertools.count(secrets.randbits(24))
_SECRET = re.compile(
    r"(trivet(?:-repair)?_)[A-Za-z0-9_-]+|(?<![a-z0-9])([a-z0-9]{6}\.)[a-z0-9]{16}(?![a-z0-9])"
)
_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_UNANSWERED = 0
_CLIENT_GONE = 499  # as other servers log it; nobody receives it
_DEFECT = "something went wrong in Trivet; the operator finds it in the log by the requestId"
_HEADERS = [
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"strict-transport-security", b"max-age=31536000"),
]


class ClientGoneError(Exception):
    """The client left before its request was complete."""


class RequestContext:
    """Plain ASGI, because it runs on every request."""

    def __init__(self, app: ASGIApp, max_body_bytes: int, body_seconds: float = 30.0) -> None:
        """Wrap an application."""
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._body_seconds = body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        token = logs.request_id.set(request_id)
        if traces.is_on():
            traces.parent.set(_traceparent(scope))
        measures.request_began()
        started = time.perf_counter()
        status = _UNANSWERED

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = [*_HEADERS, (b"x-request-id", request_id.encode())]
                present = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(pair for pair in own if pair[0] not in present)]
            await send(message)

        try:
            await self._answer(scope, receive, send_with_headers)
        except ClientGoneError:
            status = _CLIENT_GONE
        except Exception:
            # A defect of Trivet: said in the log, not to the client.
            _log.exception("a defect")
            if status != _UNANSWERED:
                raise
            await _send_problem(send_with_headers, 500, describe("internal", _DEFECT, request_id))
        finally:
            seconds = time.perf_counter() - started
            measures.request_ended(scope["method"], route_template(scope), status, seconds)
            _note(scope, status, seconds)
            logs.request_id.reset(token)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await self._body(scope, receive)
        except (TooLargeError, BodyTimeoutError) as refusal:
            status, content, _ = problem(refusal, logs.request_id.get() or "")
            await _send_problem(send, status, content)
        else:
            await self._app(scope, _replay(body, receive), send)

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        """The whole body; a chunked one is counted as it comes.

        Raises:
            ClientGoneError: the connection ended within the body, which must not be taken for a whole one.
            TooLargeError: it is larger than is read.
            BodyTimeoutError: it takes too long to arrive.
        """
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if declared.isdigit() and int(declared) > self._max_body_bytes:
            raise self._too_large()
        try:
            async with asyncio.timeout(self._body_seconds):
                return await self._whole(receive)
        except TimeoutError as error:
            # Who dribbles a body holds a connection and its memory.
            message = f"the body did not arrive within {self._body_seconds:g} seconds"
            raise BodyTimeoutError(message) from error

    async def _whole(self, receive: Receive) -> bytes:
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self._max_body_bytes:
                raise self._too_large()
        return bytes(body)

    def _too_large(self) -> TooLargeError:
        return TooLargeError(f"a body has at most {self._max_body_bytes} bytes")


def _traceparent(scope: Scope) -> str | None:
    found = next((value for name, value in scope["headers"] if name == b"traceparent"), b"")
    return found.decode() if _TRACEPARENT.fullmatch(found) else None


def _request_id(scope: Scope) -> str:
    given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"").decode(
        "latin-1"
    )
    return given if _ID.fullmatch(given) else f"{_PROCESS}{next(_numbers):08x}"


def _replay(body: bytes, receive: Receive) -> Receive:
    pending = True

    async def replayed() -> Message:
        nonlocal pending
        if pending:
            pending = False
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return replayed


async def _send_problem(send: Send, status: int, content: dict[str, Any]) -> None:
    # The body may not have been read to its end, so the connection cannot be used again.
    headers = [(b"content-type", PROBLEM_TYPE.encode()), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(content).encode()})


def _withheld(token: re.Match[str]) -> str:
    return f"{token[1] or token[2]}…"


def _note(scope: Scope, status: int, seconds: float) -> None:
    # The path without the query. What somebody put into it of a token does not belong in a log; its kind, or the id of
    # a bootstrap token, which is no secret, may stand there.
    fields: dict[str, Any] = {
        "method": scope["method"],
        "path": _SECRET.sub(_withheld, scope["path"]),
        "status": status,
        "milliseconds": round(seconds * 1000, 1),
        "client": (scope.get("client") or ("",))[0],
    }
    _log.info("request", extra={"fields": fields})
