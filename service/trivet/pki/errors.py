"""The refusal tree: every way in which Trivet says no.

Slugs reuse RFC 8555 section 6.7 where it has one. `web/problems.py` decides status and wording for each
front end; nothing here speaks HTTP.

    Refusal
    ├── RequestError                  what the caller sent cannot be accepted
    │   ├── MalformedError            not even readable
    │   ├── InvalidError              readable, but a field is wrong
    │   ├── BadCSRError
    │   ├── BadPublicKeyError
    │   └── BadRevocationError
    ├── AuthenticationError           nobody we know
    ├── AccessDeniedError             known, but not allowed
    ├── RejectedIdentifierError       a name that the profile or requester may not have
    ├── RevokedError                  an entry names the subject, a SAN, the key or the lineage
    ├── ExpiredError                  the certificate that vouches for the request has expired
    ├── StageWaitsError               in a repair, its turn has not come yet
    ├── NotFoundError
    ├── ConflictError
    │   ├── PreconditionError         If-Match names an older version
    │   ├── ConfirmationRequiredError the lock-out guard wants the preview's token
    │   └── FieldConflictError        server-side apply meets fields that others manage (`pki.ownership`)
    ├── IdempotencyError              an Idempotency-Key was used for something else before
    ├── RateLimitedError
    └── UnavailableError              the database cannot be reached: never a certificate
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong in a document: an RFC 6901 pointer and what would be accepted."""

    pointer: str
    message: str


class Refusal(Exception):  # noqa: N818  the root; what is raised is one of its leaves, all of them errors
    """A refusal with its reason, in words meant for the client.

    Attributes:
        slug: the stable name of the kind of refusal.
        detail: what was wrong and what would be accepted. Never holds a secret.
        faults: the places in the request that are wrong.
        decision: the id of the decision record, where the refusal left one.
    """

    slug: ClassVar[str] = "refused"

    def __init__(self, detail: str, *faults: Fault) -> None:
        """Keep the reason and the places it points to."""
        super().__init__(detail)
        self.detail = detail
        self.faults = faults
        self.decision: str | None = None


class RequestError(Refusal):
    """What the caller sent cannot be accepted."""

    slug = "malformed"


class MalformedError(RequestError):
    """The request cannot be read: wrong syntax, encoding or media type."""


class InvalidError(RequestError):
    """The request can be read, but some of its fields are wrong."""

    slug = "invalid"


class BadCSRError(RequestError):
    """The certificate request is not acceptable in form, signature or content."""

    slug = "badCSR"


class BadPublicKeyError(RequestError):
    """The key's algorithm or size is not accepted by the profile."""

    slug = "badPublicKey"


class BadRevocationError(RequestError):
    """A RenewRevocation object is wrong; every fault is listed and nothing is stored."""

    slug = "badRevocation"


class AuthenticationError(Refusal):
    """The credentials are unknown, malformed, expired or missing."""

    slug = "unauthenticated"


class AccessDeniedError(Refusal):
    """The requester is known but lacks the permission."""

    slug = "unauthorized"


class RejectedIdentifierError(Refusal):
    """A name that this profile or requester may not have."""

    slug = "rejectedIdentifier"


class RevokedError(Refusal):
    """A standing revocation entry names the request, or the current certificate is revoked."""

    slug = "revoked"


class ExpiredError(Refusal):
    """The certificate that should vouch for the request is outside its validity."""

    slug = "expired"


class StageWaitsError(Refusal):
    """In a repair an earlier stage has the turn; ask again after a while."""

    slug = "stageWaits"

    def __init__(self, detail: str, retry_after: timedelta) -> None:
        """Keep how long the requester should wait."""
        super().__init__(detail)
        self.retry_after = retry_after


class NotFoundError(Refusal):
    """There is no such object, or the requester may not know of it."""

    slug = "notFound"


class ConflictError(Refusal):
    """The object exists already, or is in a state that forbids this."""

    slug = "conflict"


class PreconditionError(ConflictError):
    """If-Match does not name the current version of the object."""

    slug = "preconditionFailed"


class ConfirmationRequiredError(ConflictError):
    """The guard against lock-outs asks to be shown that the preview was read."""

    slug = "confirmationRequired"


class IdempotencyError(Refusal):
    """The Idempotency-Key was used before with a different request."""

    slug = "idempotencyKeyReused"


class RateLimitedError(Refusal):
    """Too many requests from this requester."""

    slug = "rateLimited"

    def __init__(self, detail: str, retry_after: timedelta) -> None:
        """Keep how long the requester should wait."""
        super().__init__(detail)
        self.retry_after = retry_after


class UnavailableError(Refusal):
    """The database cannot be reached or is too busy; no certificate left."""

    slug = "unavailable"

    def __init__(self, detail: str, retry_after: timedelta = timedelta(seconds=2)) -> None:
        """Keep how long the requester should wait."""
        super().__init__(detail)
        self.retry_after = retry_after
