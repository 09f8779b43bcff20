"""Content negotiation (RFC 9110 section 12.5.1), media types, cursors and other headers."""

from __future__ import annotations

import base64
import binascii
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode
from uuid import UUID

from trivet.pki.errors import Fault, InvalidError, MalformedError
from trivet.web.problems import NotAcceptableError, UnsupportedMediaTypeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.responses import Response

JSON: Final = "application/json"
YAML: Final = "application/yaml"  # RFC 9512
PKCS10: Final = "application/pkcs10"  # RFC 5967
JWT: Final = "application/jwt"
PEM_CHAIN: Final = "application/pem-certificate-chain"  # RFC 8555 section 9.1
PEM: Final = "application/x-pem-file"
DER: Final = "application/pkix-cert"  # RFC 2585
_YAML_ALIASES = ("application/x-yaml", "text/yaml", "text/x-yaml")


def negotiate(request: Request, offered: Sequence[str]) -> str:
    """The media type to answer with: the client's favourite among those offered, the first for `*/*`.

    Raises:
        NotAcceptableError: the client takes none of them.
    """
    chosen = _favourite(",".join(request.headers.getlist("accept")) or "*/*", tuple(offered))
    if chosen is None:
        message = f"the answer can be {', '.join(offered)}"
        raise NotAcceptableError(message)
    return chosen


@lru_cache(maxsize=256)  # clients say the same again and again: 10 µs
def _favourite(header: str, offered: tuple[str, ...]) -> str | None:
    ranges = [_quality(item) for item in header.split(",")[:50]]
    scored = [(_best(ranges, media_type), -index, media_type) for index, media_type in enumerate(offered)]
    quality, _, chosen = max(scored)
    return chosen if quality > 0 else None


def _quality(item: str) -> tuple[str, float]:
    media_range, *parameters = (part.strip().lower() for part in item.split(";"))
    weight = next((parameter[2:] for parameter in parameters if parameter.startswith("q=")), "1")
    try:
        return media_range, min(1.0, max(0.0, float(weight)))
    except ValueError:
        return media_range, 0.0


def _best(ranges: Sequence[tuple[str, float]], media_type: str) -> float:
    wildcards = (media_type, media_type.partition("/")[0] + "/*", "*/*")
    for pattern in wildcards:  # the most specific range decides
        weights = [quality for media_range, quality in ranges if media_range == pattern]
        if weights:
            return max(weights)
    return 0.0


def content_type(request: Request, accepted: Sequence[str]) -> str:
    """The media type of the body, in its canonical name.

    Raises:
        UnsupportedMediaTypeError: the operation takes none such.
    """
    canonical = _given_type(request)
    if canonical not in accepted:
        message = f"the body must be {' or '.join(accepted)}, and the Content-Type must say so"
        raise UnsupportedMediaTypeError(message)
    return canonical


def is_message(request: Request) -> bool:
    """Whether the body says to be a JWT: a message that carries its own proof of who sent it."""
    return _given_type(request) == JWT


def _given_type(request: Request) -> str:
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return YAML if given in _YAML_ALIASES else given


def encode_cursor(*parts: str) -> str:
    """An opaque cursor for a place in a list."""
    return base64.urlsafe_b64encode("\n".join(parts).encode()).rstrip(b"=").decode()


def decode_cursor(cursor: str | None, parts: int) -> list[str] | None:
    """What `encode_cursor` was given.

    Raises:
        InvalidError: the cursor was not made here.
    """
    if cursor is None:
        return None
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        decoded = base64.b64decode(padded, altchars=b"-_", validate=True).decode().split("\n")
    except (binascii.Error, ValueError) as error:
        raise _bad_cursor() from error
    if len(decoded) != parts:
        raise _bad_cursor()
    return decoded


def decode_id_cursor(cursor: str | None) -> UUID | None:
    """The id that a cursor stands for.

    Raises:
        InvalidError: the cursor was not made here.
    """
    parts = decode_cursor(cursor, 1)
    try:
        return UUID(parts[0]) if parts else None
    except ValueError as error:
        raise _bad_cursor() from error


def _bad_cursor() -> InvalidError:
    message = "this cursor was not given out by this list; begin without one"
    return InvalidError(message, Fault("/cursor", message))


def link_next(request: Request, response: Response, cursor: str | None) -> None:
    """Point to the next page (RFC 8288)."""
    if cursor is not None:
        query = {**request.query_params, "cursor": cursor}
        response.headers["Link"] = f'<{request.url.path}?{urlencode(query)}>; rel="next"'


def etag(version: int) -> str:
    """The entity tag of a version."""
    return f'"{version}"'


def expected_version(if_match: str | None) -> int | None:
    """The version that If-Match names.

    Raises:
        MalformedError: it is not one entity tag that was given out here.
    """
    if if_match is None or if_match.strip() == "*":
        return None
    match = re.fullmatch(r'\s*"(\d{1,18})"\s*', if_match)
    if match is None:
        message = 'If-Match must be the ETag of the object, like "3"'
        raise MalformedError(message)
    return int(match[1])
