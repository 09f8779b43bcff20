"""What can go wrong between a client and the service.

ClientError
├── ProblemError        the service answered, and refused
├── UnreachableError    no answer, or none that can be trusted or read
└── LocalError          nothing was sent: a file or setting on this side is wrong
"""

from __future__ import annotations

from dataclasses import dataclass, field


class ClientError(Exception):
    """The root; the message is for people."""


@dataclass(frozen=True, slots=True)
class ProblemFault:
    """One thing that is wrong in what was sent: an RFC 6901 pointer and what would be accepted."""

    pointer: str
    detail: str


@dataclass(eq=False)
class ProblemError(ClientError):
    """The service refused (RFC 9457).

    Attributes:
        slug: the stable name of the kind of refusal.
        title: the same for people.
        status: of the HTTP response.
        detail: what was wrong, and the way out.
        faults: the places in what was sent.
        decision: the id of the decision record, where there is one.
        request_id: for whoever reads the service's log.
        retry_after: seconds after which it may work, where the service says so.
    """

    slug: str
    title: str
    status: int
    detail: str
    faults: tuple[ProblemFault, ...] = field(default=())
    decision: str | None = None
    request_id: str | None = None
    retry_after: float | None = None

    def __str__(self) -> str:
        """The detail, which says it all to people."""
        return self.detail


class UnreachableError(ClientError):
    """The service did not answer, or its certificate is not trusted."""


class LocalError(ClientError):
    """A file or setting on this side is wrong; nothing was sent."""
