"""What the service answers about bootstrap tokens, certificate requests and the inventory."""

from __future__ import annotations

from typing import Any, TypedDict


class BootstrapToken(TypedDict):
    """A bootstrap token, without its secret."""

    id: str
    node: str | None
    usages: list[str]
    groups: list[str]
    description: str
    createdAt: str
    createdBy: str
    expiresAt: str


class CreatedBootstrapToken(BootstrapToken):
    """A bootstrap token just made, all of which is shown this once."""

    token: str


class RequestCondition(TypedDict):
    """A step that a request took."""

    type: str
    status: str
    reason: str
    message: str
    by: str
    lastUpdateTime: str
    lastTransitionTime: str


class CertificateRequest(TypedDict):
    """A certificate request, and what became of it."""

    name: str
    uid: str
    cluster: str
    resourceVersion: str
    profile: str
    signerName: str | None
    node: str | None
    usages: list[str]
    expirationSeconds: int | None
    csr: str
    commonName: str
    organizations: list[str]
    dnsNames: list[str]
    ipAddresses: list[str]
    publicKeySha256: str
    requester: str
    username: str
    groups: list[str]
    extra: dict[str, Any]
    labels: dict[str, str]
    annotations: dict[str, str]
    state: str
    reason: str
    conditions: list[RequestCondition]
    createdAt: str
    decidedAt: str | None
    decidedBy: str | None
    collectAt: str
    serialNumber: str | None
    certificate: str | None
    decision: str | None


class InventoryNode(TypedDict):
    """What a node owns."""

    node: str
    dnsNames: list[str]
    ipAddresses: list[str]
    pinned: bool
    updatedAt: str
    updatedBy: str
