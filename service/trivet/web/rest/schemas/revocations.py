"""RenewRevocations and their previews."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from trivet.pki.manifest import DEFAULT_NAMESPACE
from trivet.web.rest.schemas.base import Page, Schema
from trivet.web.rest.schemas.certificates import Certificate
from trivet.web.rest.schemas.enumerations import Annotations, Labels

# Given by the server; a request that sends it back is not asked what it holds.
_ADDED: Any = Field(None, json_schema_extra={"readOnly": True})


class RevocationEntry(Schema):
    """One entry; exactly one value, in the field of its kind."""

    kind: str = Field(
        description="SerialNumber, Group, DNS, IP, CommonName or PublicKey, in any letter case.",
        examples=["Group"],
    )
    description: str | None = None
    not_before: datetime | None = Field(
        None, description="Revokes what was issued before that time; without it, all past and future matches."
    )
    serial_number: str | None = Field(
        None, description="Hexadecimal; colons and leading zeros are tolerated."
    )
    include_renewed: bool | None = Field(
        None, description="SerialNumber only: covers the certificates renewed from it as well (the default)."
    )
    group: str | None = Field(None, description="Equals an O of the subject.")
    dns: str | None = Field(None, description="A DNS name; with a leading dot, a suffix.")
    ip: str | None = Field(None, description="An address or a CIDR range.")
    common_name: str | None = None
    public_key: str | None = Field(None, description="SHA-256 of the SubjectPublicKeyInfo, hexadecimal.")


class RevocationMetadata(Schema):
    """Metadata as in Kubernetes; what a server adds may be sent back and is ignored."""

    model_config = ConfigDict(extra="allow")
    name: str
    namespace: str | None = Field(DEFAULT_NAMESPACE, description="Null counts as left out.")
    labels: Labels | None = None
    annotations: Annotations | None = None
    uid: UUID | None = _ADDED
    resource_version: str | None = _ADDED
    creation_timestamp: datetime | None = _ADDED


class RevocationSpec(Schema):
    """Why, and what."""

    description: str | None = None
    revocations: list[RevocationEntry] = Field(min_length=1, max_length=1000)


class RevocationStatus(Schema):
    """What came of it."""

    marked: int | None = Field(None, description="How many certificates this change marked as revoked.")


class RenewRevocation(Schema):
    """The RenewRevocation manifest of AKS hybrid, unchanged."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "apiVersion": "certificates.microsoft.com/v1",
                    "kind": "RenewRevocation",
                    "metadata": {"name": "stolen-laptop", "namespace": "kube-system"},
                    "spec": {
                        "description": "A laptop with an administrator's key was stolen.",
                        "revocations": [
                            {"kind": "CommonName", "commonName": "jane", "notBefore": "2026-11-24T12:00:00Z"},
                            {"kind": "DNS", "dns": ".lab.example.com"},
                        ],
                    },
                }
            ]
        }
    )

    api_version: Literal["certificates.microsoft.com/v1"]
    kind: Literal["RenewRevocation"]
    metadata: RevocationMetadata
    spec: RevocationSpec
    status: RevocationStatus | None = _ADDED


class RenewRevocationPage(Page[RenewRevocation]):
    """A part of a list of RenewRevocation objects."""


class PreviewTotal(Schema):
    """How many live certificates of a profile would be revoked."""

    profile: str
    count: int
    nodes: int = Field(description="On how many nodes, where these are noted.")
    first_not_after: datetime = Field(description="When the first of them expires.")


class PreviewHit(Schema):
    """How many live certificates of a profile and node would be revoked."""

    cluster: str
    profile: str
    node: str | None
    count: int


class PreviewFinding(Schema):
    """Holders of certificates of a profile who could not renew."""

    profile: str
    detail: str = Field(description="Who, from when, because of what, and the way out, in plain words.")
    nodes: list[str] = Field(
        description="Some of their nodes; empty where it is everybody, or none is noted."
    )
    certificates: int = Field(description="How many live certificates they hold.")
    first_not_after: datetime | None = Field(description="When the first of these expires.")
    locks_out: bool = Field(
        description="Whether it is a part of a control plane that nobody could give a new certificate."
    )


class RevocationPreview(Schema):
    """What a RenewRevocation would do."""

    count: int = Field(description="How many live certificates would be revoked.")
    by_lineage: int = Field(
        description="How many of them only because they were renewed from a serial number that is named."
    )
    profiles: list[PreviewTotal] = Field(description="All of them, by profile.")
    hits: list[PreviewHit] = Field(description="By profile, cluster and node; the first thousand.")
    has_more_hits: bool = Field(description="Whether `hits` leaves some out.")
    sample: list[Certificate] = Field(description="The newest of them.")
    banned: list[str] = Field(description="What could no longer be issued, and until when.")
    findings: list[PreviewFinding] = Field(description="Who could not renew.")
    warnings: list[str] = Field(description="The findings in plain words.")
    locks_out: bool = Field(description="Whether some part of a control plane could not renew.")
    token: str = Field(description="Give it as `confirm` where the lock-out guard asks for it.")
