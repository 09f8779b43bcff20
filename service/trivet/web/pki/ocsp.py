"""OCSP over HTTP (RFC 6960 appendix A, RFC 5019 sections 5 and 6): plain ASGI, with nothing around it.

Every node may ask about every certificate at any time, so what surrounds other requests (a context, a line in the log,
a histogram) would cost more than the answer. Requests are counted (`trivet_ocsp_requests_total`).
"""

from __future__ import annotations

import binascii
import re
from email.utils import format_datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from trivet.authority.metrics import measures
from trivet.authority.status.replies import MALFORMED, TRY_LATER, Place, Question
from trivet.pki.ocsp import MAX_REQUEST_BYTES
from trivet.pki.ocsp_response import MEDIA_TYPE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from starlette.types import ASGIApp, Receive, Scope, Send

    from trivet.authority.status.replies import Reply
    from trivet.web.pki.answering import Answering

MAX_AGE_SECONDS: Final = 300
"""How long caches on the way may hold an answer: for so long a revocation may be hidden from those behind them."""

_NOT_MODIFIED: Final = 304
_PATH: Final = re.compile(
    r"/pki/([a-z0-9.-]{1,63})/([a-z-]{1,20})/([0-9a-f]{2,64})/ocsp(?:/(.*))?", re.DOTALL
)
_MEDIA_TYPE: Final = (b"content-type", MEDIA_TYPE.encode())
_NOT_KEPT: Final = (b"cache-control", b"no-store")
_Headers = list[tuple[bytes, bytes]]


class OcspRoute:
    """`/pki/{cluster}/{authority}/{ski}/ocsp` by POST, and `/ocsp/{request}` by GET."""

    def __init__(self, answering: Answering, other: ASGIApp) -> None:
        """Take who answers, and who answers all other requests."""
        self._answering = answering
        self.other = other

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        match = _PATH.fullmatch(scope["path"]) if scope["type"] == "http" else None
        if match is None:
            await self.other(scope, receive, send)
            return
        method, place, in_path = scope["method"], Place(*match.group(1, 2, 3)), match[4]
        if method == "POST" and in_path is None:
            body = await _body(receive)
            reply = await self._reply(place, body)
            headers = [_NOT_KEPT]
        elif method == "GET" and in_path is not None:
            body = _decoded(in_path)
            reply = await self._reply(place, body)
            headers = _caching(reply)
        else:
            await _send(send, 405, [(b"allow", b"POST" if in_path is None else b"GET")], b"")
            return
        if reply is TRY_LATER:
            headers.append((b"retry-after", b"5"))
        if method == "GET" and reply.etag and _is_known(scope, reply.etag):
            await _send(send, _NOT_MODIFIED, headers, b"")
        else:
            await _send(send, 200, [_MEDIA_TYPE, *headers], reply.body)

    async def _reply(self, place: Place, body: bytes | None) -> Reply:
        if body is None:
            measures.ocsp_answered(MALFORMED.result)
            return MALFORMED
        return await self._answering(Question(place, body))


async def _body(receive: Receive) -> bytes | None:
    """The body; None where it is too large. One that does not come ends with its connection (`web.tls`)."""
    body: bytes = b""
    while len(body) <= MAX_REQUEST_BYTES:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return body
    return None


def _decoded(in_path: str) -> bytes | None:
    """The request in a path that was unescaped (RFC 5019 section 5); None where it is no Base64."""
    try:
        return binascii.a2b_base64(in_path.encode("ascii"), strict_mode=True)
    except ValueError:  # binascii.Error and UnicodeEncodeError are such
        return None


def _caching(reply: Reply) -> _Headers:
    """What RFC 5019 section 6.2 asks for: only what everybody who asks the same may get may be kept."""
    if reply.updates is None or not reply.etag:
        return [_NOT_KEPT]
    return list(_validators(reply.etag, *reply.updates))


@lru_cache(maxsize=8192)
def _validators(etag: str, this_update: datetime, next_update: datetime) -> tuple[tuple[bytes, bytes], ...]:
    cached = f"max-age={MAX_AGE_SECONDS}, public, no-transform, must-revalidate"
    return (
        (b"cache-control", cached.encode()),
        (b"etag", etag.encode()),
        (b"last-modified", _http_date(this_update)),
        (b"expires", _http_date(next_update)),
    )


def _http_date(moment: datetime) -> bytes:
    return format_datetime(moment, usegmt=True).encode()


def _is_known(scope: Scope, etag: str) -> bool:
    given = next((value for name, value in scope["headers"] if name == b"if-none-match"), b"").decode(
        "latin-1"
    )
    return etag in {tag.strip().removeprefix("W/") for tag in given.split(",")}


async def _send(send: Send, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> None:
    length = [] if status == _NOT_MODIFIED else [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *length]})
    await send({"type": "http.response.body", "body": body})
