"""Certificates, and the decisions behind them."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from pydantic import ConfigDict, Field

from trivet.web.rest.schemas.base import Page, RequestSchema, Schema, Seconds
from trivet.web.rest.schemas.enumerations import (
    AuthorityName,
    CertificateStatus,
    ComparedIdentity,
    DecisionAction,
    ProfileName,
    Verdict,
)

PEM_EXAMPLE = "-----BEGIN CERTIFICATE REQUEST-----\nMIH…\n-----END CERTIFICATE REQUEST-----\n"


class CertificateCreate(RequestSchema):
    """A wish for a certificate."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"profile": "kubelet-client", "node": "node-1", "csr": PEM_EXAMPLE}]}
    )

    profile: ProfileName = Field(examples=["kubelet-client"])
    csr: str = Field(description="The PKCS#10 request, PEM.", max_length=65536)
    node: str | None = Field(
        None, description="The node, where the profile holds one and the CSR does not tell.", max_length=253
    )
    expiration_seconds: Seconds | None = Field(
        None, description="The longest wanted; at least 600, and the profile may grant less."
    )


class RenewalQuery(Schema):
    """What the query says beside a body that is not JSON."""

    expiration_seconds: Seconds | None = Field(None, description="With a body other than JSON.")


class IssuanceQuery(Schema):
    """What the query says beside a body that is the CSR itself."""

    profile: ProfileName | None = Field(None, description="With an application/pkcs10 body.")
    node: str | None = Field(None, max_length=253, description="With an application/pkcs10 body.")
    expiration_seconds: Seconds | None = Field(None, description="With an application/pkcs10 body.")


class CertificateRenew(RequestSchema):
    """A wish to renew the certificate that the connection was made with."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"csr": PEM_EXAMPLE}]})

    csr: str = Field(
        description="A PKCS#10 request with the new key, PEM; its names may be left out.",
        max_length=65536,
    )
    expiration_seconds: Seconds | None = Field(None, description="As when it was issued.")


class Certificate(Schema):
    """An issued certificate and what Trivet knows of it."""

    cluster: str
    authority: AuthorityName
    profile: str
    node: str | None
    serial_number: str = Field(description="Hexadecimal, lower case, without leading zeros.")
    subject: str = Field(description="RFC 4514.")
    common_name: str
    organizations: list[str]
    dns_names: list[str]
    ip_addresses: list[str]
    issued_at: datetime = Field(description="The true time of issue, which revocations compare with.")
    not_before: datetime = Field(description="Backdated, for clocks that drift.")
    not_after: datetime
    status: CertificateStatus
    revoked_at: datetime | None
    superseded_at: datetime | None = Field(description="When it was renewed.")
    requester: str
    decision: UUID
    certificate: str = Field(description="PEM.")
    issuer: str = Field(description="The CA certificate that signed it, PEM.")


class CertificatePage(Page[Certificate]):
    """A part of a list of Certificate objects."""


class SuggestedWindow(Schema):
    """Renew at a random moment within it (RFC 9773)."""

    start: datetime
    end: datetime


class RenewalInfo(Schema):
    """When to renew a certificate; in the past for one that was revoked or superseded."""

    suggested_window: SuggestedWindow


class ConsideredEntry(Schema):
    """A revocation entry that a decision looked at, as it was then."""

    entry: UUID
    revocation: str = Field(description="The object that it stood in.")
    kind: str
    value: str
    not_before: datetime | None
    matched: bool


class Decision(Schema):
    """Why a certificate was issued, or a request refused."""

    id: UUID
    decided_at: datetime
    requester: str
    action: DecisionAction
    profile: str
    request_sha256: str
    verdict: Verdict
    reason: str | None = Field(description="The kind of refusal.")
    detail: str | None
    cluster_version: int | None = Field(description="Version of the cluster's set of entries that was read.")
    global_version: int | None = Field(description="The same for the set that holds in all clusters.")
    considered: list[ConsideredEntry] = Field(description="The entries that shared a key with the request.")
    identity: ComparedIdentity | None = Field(description="What the entries were compared with.")
    serial_number: str | None
    parent_serial_number: str | None
    request_id: str | None
