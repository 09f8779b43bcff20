"""What OCSP requests are answered, and what a process keeps of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from trivet.pki.ocsp_response import Kind, Unsigned

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from trivet.pki.ocsp import IssuerId, StatusRequest
    from trivet.pki.ocsp_response import Status
    from trivet.store.authorities import Generation

SEVERAL: Final = "several"


class Place(NamedTuple):
    """Whom a request is sent to, as its URL says: nothing of it is known to exist."""

    cluster: str
    authority: str
    key_identifier: str


class Question(NamedTuple):
    """An OCSP request as it was received, DER, and where."""

    place: Place
    body: bytes


@dataclass(frozen=True, slots=True)
class Answerable:
    """A place that exists.

    Attributes:
        cluster: its name.
        scope: its revocation scope.
        generation: whose certificates are answered for.
        issuers: what requests may call it.
    """

    cluster: str
    scope: UUID
    generation: Generation
    issuers: frozenset[IssuerId]


@dataclass(frozen=True, slots=True)
class Reply:
    """An OCSPResponse, DER, and what goes with it.

    Attributes:
        result: for metrics: what was said of the certificate, `several`, or why nothing was said.
        updates: thisUpdate and nextUpdate; None where nothing was said.
        etag: the entity tag; "" for what may not be kept by whoever gets it.
    """

    body: bytes
    result: str
    updates: tuple[datetime, datetime] | None = None
    etag: str = ""


MALFORMED: Final = Reply(Unsigned.MALFORMED_REQUEST.value, "malformedRequest")
UNAUTHORIZED: Final = Reply(Unsigned.UNAUTHORIZED.value, "unauthorized")
TRY_LATER: Final = Reply(Unsigned.TRY_LATER.value, "tryLater")
INTERNAL_ERROR: Final = Reply(Unsigned.INTERNAL_ERROR.value, "internalError")


@dataclass(slots=True)
class Kept:
    """A signed answer, and all on which it stands: it is never given without asking whether that still holds.

    Attributes:
        place: that it speaks for.
        statuses: that it states.
        versions: of the revocation sets of the cluster and of all clusters, when the statuses were last read.
        responder: id of the certificate that it was signed by.
        until: when it is signed anew, though nothing changes.
    """

    place: Answerable
    request: StatusRequest
    reply: Reply
    statuses: Sequence[Status]
    versions: tuple[int, int]
    responder: UUID
    until: datetime

    def holds_at(self, now: datetime) -> bool:
        """Whether its time has come and not passed; one from the future was signed while the clock was ahead."""
        has_begun = self.reply.updates is not None and self.reply.updates[0] <= now
        return has_begun and now < self.until


def reply_of(
    body: bytes, request: StatusRequest, statuses: Sequence[Status], updates: tuple[datetime, datetime]
) -> Reply:
    """A signed answer, ready to be sent."""
    result = statuses[0].kind.value if len(statuses) == 1 else SEVERAL
    # RFC 5019 section 6.2 recommends the SHA-1 of the response; any digest tells versions apart.
    etag = f'"{hashlib.sha256(body).hexdigest()[:40]}"' if may_be_kept(request, statuses) else ""
    return Reply(body, result, updates, etag)


def may_be_kept(request: StatusRequest, statuses: Sequence[Status]) -> bool:
    """Whether the same request may get the same answer: there is no nonce, and it concerns what was issued.

    What was never issued may be any number, and would drive out what is asked for again.
    """
    return request.is_plain and all(status.kind is not Kind.UNKNOWN for status in statuses)
