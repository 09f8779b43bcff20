"""What the service answers about revocations, as in `schemas`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NotRequired, TypedDict

if TYPE_CHECKING:
    from trivet.client.schemas import Certificate


class RevocationMetadata(TypedDict):
    """Of a Kubernetes-style object."""

    name: str
    namespace: NotRequired[str]
    uid: NotRequired[str]
    resourceVersion: NotRequired[str]
    creationTimestamp: NotRequired[str]
    labels: NotRequired[dict[str, str]]
    annotations: NotRequired[dict[str, str]]


class RevocationEntry(TypedDict):
    """What is revoked: the kind, and a value in the member that the kind names."""

    kind: str
    serialNumber: NotRequired[str]
    group: NotRequired[str]
    dns: NotRequired[str]
    ip: NotRequired[str]
    commonName: NotRequired[str]
    publicKey: NotRequired[str]
    notBefore: NotRequired[str]
    description: NotRequired[str]
    includeRenewed: NotRequired[bool]


class RevocationSpec(TypedDict):
    """All that an object revokes, and why."""

    description: NotRequired[str]
    revocations: list[RevocationEntry]


class RevocationStatus(TypedDict):
    """What came of it."""

    marked: NotRequired[int]


class RenewRevocation(TypedDict):
    """A RenewRevocation object (`certificates.microsoft.com/v1`)."""

    apiVersion: str
    kind: str
    metadata: RevocationMetadata
    spec: RevocationSpec
    status: NotRequired[RevocationStatus]


class PreviewTotal(TypedDict):
    """How many live certificates of a profile would be revoked."""

    profile: str
    count: int
    nodes: int
    firstNotAfter: str


class PreviewHit(TypedDict):
    """How many live certificates of a profile and node would be revoked."""

    cluster: str
    profile: str
    node: str | None
    count: int


class PreviewFinding(TypedDict):
    """Holders of certificates of a profile who could not renew."""

    profile: str
    detail: str
    nodes: list[str]
    certificates: int
    firstNotAfter: str | None
    locksOut: bool


class RevocationPreview(TypedDict):
    """What a RenewRevocation would do."""

    count: int
    byLineage: int
    profiles: list[PreviewTotal]
    hits: list[PreviewHit]
    hasMoreHits: bool
    sample: list[Certificate]
    banned: list[str]
    findings: list[PreviewFinding]
    warnings: list[str]
    locksOut: bool
    token: str
