"""What the service answers, by the names of the OpenAPI document. Times are text as in RFC 3339.

TypedDicts, so that an answer is shown as it came, with the members that a newer service may add.
"""

from __future__ import annotations

from typing import Any, Generic, TypedDict, TypeVar

T = TypeVar("T")


class Page(TypedDict, Generic[T]):
    """A part of a list, and the cursor of the next part."""

    items: list[T]
    next: str | None


class Cluster(TypedDict):
    """A cluster."""

    name: str
    endpoint: str
    serviceCidr: str
    dnsDomain: str
    createdAt: str


class ImportedRootPair(TypedDict):
    """A root to import: its certificate and its unencrypted private key, PEM."""

    certificate: str
    privateKey: str


class Generation(TypedDict):
    """A key and certificate of an authority."""

    authority: str
    generation: str
    state: str
    subject: str
    serialNumber: str
    notBefore: str
    notAfter: str
    keyAlgorithm: str
    sha256: str
    certificate: str


class Certificate(TypedDict):
    """A certificate, its state, and the CA certificate that signed it."""

    cluster: str
    authority: str
    profile: str
    node: str | None
    serialNumber: str
    subject: str
    commonName: str
    organizations: list[str]
    dnsNames: list[str]
    ipAddresses: list[str]
    issuedAt: str
    notBefore: str
    notAfter: str
    status: str
    revokedAt: str | None
    supersededAt: str | None
    requester: str
    decision: str
    certificate: str
    issuer: str


class Considered(TypedDict):
    """A revocation entry that a decision looked at."""

    entry: str
    revocation: str
    kind: str
    value: str
    notBefore: str | None
    matched: bool


class Decision(TypedDict):
    """Why a certificate was or was not issued."""

    id: str
    decidedAt: str
    requester: str
    action: str
    profile: str
    requestSha256: str
    verdict: str
    reason: str | None
    detail: str | None
    clusterVersion: int | None
    globalVersion: int | None
    considered: list[Considered]
    identity: dict[str, object] | None
    serialNumber: str | None
    parentSerialNumber: str | None
    requestId: str | None


class SuggestedWindow(TypedDict):
    """A span of time."""

    start: str
    end: str


class RenewalInfo(TypedDict):
    """When a certificate should be renewed (RFC 9773)."""

    suggestedWindow: SuggestedWindow


class Token(TypedDict):
    """An access token, without its secret."""

    id: str
    role: str
    description: str
    cluster: str | None
    createdAt: str
    createdBy: str
    expiresAt: str | None
    signerNames: list[str]


class CreatedToken(Token):
    """An access token just made, with the secret that is shown this once."""

    secret: str


class AuditRecord(TypedDict):
    """A change that somebody made."""

    id: str
    recordedAt: str
    requester: str
    action: str
    object: str
    cluster: str | None
    details: dict[str, Any]
    requestId: str | None
