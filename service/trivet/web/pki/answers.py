"""Answers that caches may keep: validators, conditions (RFC 9110 section 13) and freshness (RFC 9111)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from starlette.responses import Response, StreamingResponse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

PEM: Final = "application/x-pem-file"
_AT_ONCE: Final = 256 * 1024  # what is larger goes in pieces, no faster than the client takes them
_NOT_MODIFIED: Final = 304


@dataclass(frozen=True, slots=True)
class Representation:
    """What is known of an answer before its body is made.

    Attributes:
        media_type: of the body.
        tag: changes with each octet of the body.
        modified: when the object was published.
        fresh_seconds: how long a cache may give it out without asking again.
    """

    media_type: str
    tag: str
    modified: datetime
    fresh_seconds: int

    def headers(self) -> dict[str, str]:
        """The headers that a 200 and a 304 share."""
        return {
            "ETag": f'"{self.tag}"',
            "Last-Modified": format_datetime(self.modified.astimezone(UTC), usegmt=True),
            "Cache-Control": f"public, max-age={self.fresh_seconds}, no-transform",
            "Vary": "Accept",
        }


def answer(request: Request, found: Representation, content: bytes) -> Response:
    """The body, or that it has not changed since the client fetched it."""
    headers = found.headers()
    if has_it(request, found):
        return Response(status_code=_NOT_MODIFIED, headers=headers)
    if len(content) <= _AT_ONCE:
        return Response(content, headers=headers, media_type=found.media_type)
    headers["Content-Length"] = str(len(content))
    return StreamingResponse(_pieces(content), headers=headers, media_type=found.media_type)


def wants_pem(request: Request, der: str) -> bool:
    """Whether the client names PEM among what it accepts, and not DER, which is what all others get."""
    accepted = request.headers.get("accept", "").lower()
    return PEM in accepted and der not in accepted


def has_it(request: Request, found: Representation) -> bool:
    """Whether the client has these octets already (RFC 9110 section 13.2.2), so that none need be read."""
    tags = request.headers.get("if-none-match")
    if tags is not None:  # then If-Modified-Since says nothing (RFC 9110 section 13.1.3)
        known = {tag.strip().removeprefix("W/").strip('"') for tag in tags.split(",")}
        return found.tag in known or "*" in known
    since = _moment(request.headers.get("if-modified-since"))
    # No other time will do: where a clock was set back, what is newer was published earlier.
    return since is not None and found.modified.replace(microsecond=0) == since


def _moment(text: str | None) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text or "")
    except (TypeError, ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


async def _pieces(content: bytes) -> AsyncIterator[memoryview]:
    view = memoryview(content)
    for start in range(0, len(view), _AT_ONCE):
        yield view[start : start + _AT_ONCE]
