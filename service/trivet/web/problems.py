"""The one table from refusals to answers. Internal detail is never shown to a client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from trivet.pki.errors import RateLimitedError, Refusal, StageWaitsError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

PROBLEM_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:trivet:problem:"
MAX_FAULTS: Final = 100
_SHOWN = 100


@dataclass(frozen=True, slots=True)
class Rendering:
    """How one kind of refusal is answered: over REST (RFC 9457) and as a Kubernetes Status."""

    status: int
    title: str
    reason: str


RENDERINGS: Final = {
    "refused": Rendering(400, "Refused", "BadRequest"),
    "malformed": Rendering(400, "Malformed request", "BadRequest"),
    "invalid": Rendering(422, "Invalid field", "Invalid"),
    "badCSR": Rendering(400, "Bad certificate request", "BadRequest"),
    "badPublicKey": Rendering(400, "Public key not accepted", "BadRequest"),
    "badRevocation": Rendering(422, "Bad RenewRevocation", "Invalid"),
    "unauthenticated": Rendering(401, "Not authenticated", "Unauthorized"),
    "unauthorized": Rendering(403, "Not allowed", "Forbidden"),
    "rejectedIdentifier": Rendering(403, "Name rejected", "Forbidden"),
    "revoked": Rendering(403, "Revoked", "Forbidden"),
    "expired": Rendering(403, "Expired", "Forbidden"),
    # Not 503, by which a proxy would take the service for one that fails.
    "stageWaits": Rendering(409, "Not its turn yet", "Conflict"),
    "notFound": Rendering(404, "Not found", "NotFound"),
    "conflict": Rendering(409, "Conflict", "AlreadyExists"),
    "preconditionFailed": Rendering(412, "Version does not match", "Conflict"),
    "confirmationRequired": Rendering(409, "Confirmation required", "Conflict"),
    "fieldConflict": Rendering(409, "Field managed by another", "Conflict"),
    "idempotencyKeyReused": Rendering(422, "Idempotency-Key used before", "Invalid"),
    "rateLimited": Rendering(429, "Too many requests", "TooManyRequests"),
    "unavailable": Rendering(503, "Unavailable", "ServiceUnavailable"),
    # What no use case refuses: the front end itself does.
    "methodNotAllowed": Rendering(405, "Method not allowed", "MethodNotAllowed"),
    "notAcceptable": Rendering(406, "Not acceptable", "NotAcceptable"),
    "requestTimeout": Rendering(408, "Body too slow", "Timeout"),
    "tooLarge": Rendering(413, "Body too large", "RequestEntityTooLarge"),
    "unsupportedMediaType": Rendering(415, "Unsupported media type", "UnsupportedMediaType"),
    "internal": Rendering(500, "Internal error", "InternalError"),
}


class NotAcceptableError(Refusal):
    """None of the media types that the client accepts can be given."""

    slug = "notAcceptable"


class TooLargeError(Refusal):
    """The body has more bytes than are read."""

    slug = "tooLarge"


class BodyTimeoutError(Refusal):
    """The body did not arrive in time."""

    slug = "requestTimeout"


class UnsupportedMediaTypeError(Refusal):
    """The body's media type is not one that this operation takes."""

    slug = "unsupportedMediaType"


def problem(refusal: Refusal, request_id: str) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Status, body and headers (RFC 9457) for a refusal."""
    body = describe(refusal.slug, refusal.detail, request_id)
    if refusal.faults:
        body["errors"] = [{"pointer": fault.pointer, "detail": fault.message} for fault in refusal.faults]
    if refusal.decision is not None:
        body["decision"] = refusal.decision
        body["instance"] = f"/api/v1/decisions/{refusal.decision}"
    return RENDERINGS[refusal.slug].status, body, _headers(refusal)


def describe(slug: str, detail: str, request_id: str) -> dict[str, Any]:
    """The members that every problem has."""
    rendering = RENDERINGS[slug]
    return {
        "type": TYPE_PREFIX + slug,
        "title": rendering.title,
        "status": rendering.status,
        "detail": detail,
        "requestId": request_id,
    }


def pointer(place: Sequence[int | str]) -> str:
    """A place in a body as an RFC 6901 pointer; long names are cut, and what no answer can hold is replaced."""
    parts = (str(part)[:_SHOWN].encode("utf-8", "replace").decode() for part in place)
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)


def _headers(refusal: Refusal) -> dict[str, str]:
    if isinstance(refusal, RateLimitedError | StageWaitsError | UnavailableError):
        return {"Retry-After": str(max(1, round(refusal.retry_after.total_seconds())))}
    if RENDERINGS[refusal.slug].status == 401:  # noqa: PLR2004
        return {"WWW-Authenticate": 'Bearer realm="trivet"'}  # RFC 9110 section 11.6.1
    return {}
