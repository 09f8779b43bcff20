"""OCSP over HTTP (RFC 6960 appendix A, RFC 5019 sections 5 and 6): plain ASGI, with nothing around it.

(On the port for plain HTTP most requests do not even come so far: `web.pki.connection`.)

Every node may ask about every certificate at any time, so what surrounds other requests (a context, a line in the log,
a histogram) would cost more than the answer. Requests are counted (`trivet_ocsp_requests_total`).
"""

from __future__ import annotations

import binascii
import re
from email.utils import format_datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from trivet.authority.metrics import measures
from trivet.authority.status.replies import MALFORMED, TRY_LATER, Place, Question
from trivet.pki.ocsp import MAX_REQUEST_BYTES
from trivet.pki.ocsp_response import MEDIA_TYPE

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from starlette.types import ASGIApp, Receive, Scope, Send

    from trivet.authority.status.replies import Reply
    from trivet.web.pki.answering import Answering

MAX_AGE_SECONDS: Final = 300
"""How long caches on the way may hold an answer: for so long a revocation may be hidden from those behind them."""

_NOT_MODIFIED: Final = 304
_LONGEST_KNOWN: Final = 256  # characters: a place, with the longest name that a cluster may have
_PATH: Final = re.compile(
    r"/pki/([a-z0-9.-]{1,63})/([a-z-]{1,20})/([0-9a-f]{2,64})/ocsp(?:/(.*))?", re.DOTALL
)
_MEDIA_TYPE: Final = (b"content-type", MEDIA_TYPE.encode())
_NOT_KEPT: Final = (b"cache-control", b"no-store")
Headers = list[tuple[bytes, bytes]]


class Asked(NamedTuple):
    """What is known of a request for an answer before its body has come.

    Attributes:
        place: whom it is sent to.
        in_path: the request itself where the path holds it (RFC 5019 section 5).
    """

    place: Place
    in_path: str | None

    @property
    def method(self) -> str:
        """By which it is to be asked."""
        return "POST" if self.in_path is None else "GET"

    def question(self, body: bytes | None) -> Question | None:
        """What is asked, given the body; None for what cannot be a request."""
        request = body if self.in_path is None else _decoded(self.in_path)
        return None if request is None else Question(self.place, request)


def asked_at(path: str) -> Asked | None:
    """Read a path that was unescaped; None where nobody is asked for the status of certificates."""
    # Those of POST are few, and asked for again and again; what a client makes up is not kept.
    return _known(path) if len(path) <= _LONGEST_KNOWN else _asked(path)


def _asked(path: str) -> Asked | None:
    match = _PATH.fullmatch(path)
    return None if match is None else Asked(Place(*match.group(1, 2, 3)), match[4])


_known: Final = lru_cache(maxsize=512)(_asked)


def malformed() -> Reply:
    """What is answered where there is no question."""
    measures.ocsp_answered(MALFORMED.result)
    return MALFORMED


def response_to(
    method: str, given: Iterable[tuple[bytes, bytes]], reply: Reply
) -> tuple[int, Headers, bytes]:
    """Status, headers and body of the answer to a request by either method, with the headers that were given."""
    is_got = method == "GET"
    headers = _caching(reply) if is_got else [_NOT_KEPT]
    if reply is TRY_LATER:
        headers.append((b"retry-after", b"5"))
    if is_got and reply.etag and _is_known(given, reply.etag):
        return _NOT_MODIFIED, headers, b""
    length = (b"content-length", str(len(reply.body)).encode())
    return 200, [_MEDIA_TYPE, *headers, length], reply.body


class OcspRoute:
    """`/pki/{cluster}/{authority}/{ski}/ocsp` by POST, and `/ocsp/{request}` by GET."""

    def __init__(self, answering: Answering, other: ASGIApp) -> None:
        """Take who answers, and who answers all other requests."""
        self._answering = answering
        self.other = other

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        asked = asked_at(scope["path"]) if scope["type"] == "http" else None
        if asked is None:
            await self.other(scope, receive, send)
        elif scope["method"] != asked.method:
            allowed = (b"allow", asked.method.encode())
            await _send(send, 405, [allowed, (b"content-length", b"0")], b"")
        else:
            question = asked.question(await _body(receive) if asked.in_path is None else None)
            reply = malformed() if question is None else await self._answering(question)
            await _send(send, *response_to(scope["method"], scope["headers"], reply))


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


def _caching(reply: Reply) -> Headers:
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


def _is_known(given: Iterable[tuple[bytes, bytes]], etag: str) -> bool:
    known = next((value for name, value in given if name == b"if-none-match"), b"").decode("latin-1")
    return etag in {tag.strip().removeprefix("W/") for tag in known.split(",")}


async def _send(send: Send, status: int, headers: Headers, body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
