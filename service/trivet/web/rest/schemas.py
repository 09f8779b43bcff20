"""The JSON of the REST API. Names are camelCase; unknown members are refused."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic.alias_generators import to_camel

from trivet.pki.kubernetes import PROFILES
from trivet.pki.manifest import API_VERSION, DEFAULT_NAMESPACE, KIND
from trivet.pki.roots import RootAlgorithm

T = TypeVar("T")

_PEM_EXAMPLE = "-----BEGIN CERTIFICATE REQUEST-----\nMIH…\n-----END CERTIFICATE REQUEST-----\n"
Seconds = Annotated[int, Field(ge=1, le=10 * 366 * 24 * 3600)]


class Schema(BaseModel):
    """What all share."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, serialize_by_alias=True, extra="forbid", hide_input_in_errors=True
    )


class Page(Schema, Generic[T]):
    """A part of a list."""

    items: list[T]
    next: str | None = Field(None, description="The cursor of the next page; null on the last.")


class ImportedRootPair(Schema):
    """A root to take over, as it stands in a kubeadm `pki/` folder."""

    certificate: str = Field(description="The CA certificate, PEM.", max_length=65536)
    private_key: SecretStr = Field(description="Its unencrypted private key, PEM.", max_length=65536)


class ImportedRoots(Schema):
    """The three roots of a running cluster."""

    cluster: ImportedRootPair
    etcd: ImportedRootPair
    front_proxy: ImportedRootPair = Field(alias="front-proxy")


class ClusterCreate(Schema):
    """A cluster to create, or (with `import`) to take over."""

    name: str = Field(description="An RFC 1123 label, unique.", max_length=63, examples=["prod"])
    endpoint: str = Field(
        description="Host name or address of the control plane.", max_length=253, examples=["api.prod.example.com"]
    )
    service_cidr: str = Field("10.96.0.0/12", description="Its first address is the `kubernetes` service.", max_length=50)
    dns_domain: str = Field("cluster.local", max_length=253)
    algorithm: RootAlgorithm = Field(RootAlgorithm.P384, description="Of the roots that are made.")
    roots: ImportedRoots | None = Field(None, alias="import", description="All three roots of a running cluster.")


class Cluster(Schema):
    """A cluster that Trivet hosts."""

    name: str
    endpoint: str
    service_cidr: str
    dns_domain: str
    created_at: datetime


class Generation(Schema):
    """A key and certificate of an authority."""

    authority: Literal["cluster", "etcd", "front-proxy"]
    generation: UUID
    state: Literal["staged", "active", "retiring", "retired"]
    subject: str = Field(description="RFC 4514.")
    serial_number: str
    not_before: datetime
    not_after: datetime
    key_algorithm: str = Field(examples=["ECDSA-P384", "RSA-4096"])
    sha256: str = Field(description="Of the DER certificate, hexadecimal.")
    certificate: str = Field(description="PEM.")


class CertificateCreate(Schema):
    """A wish for a certificate."""

    profile: str = Field(description=f"One of {', '.join(PROFILES)}.", max_length=80, examples=["kubelet-client"])
    csr: str = Field(description="The PKCS#10 request, PEM.", max_length=65536, examples=[_PEM_EXAMPLE])
    node: str | None = Field(
        None, description="The node, where the profile holds one and the CSR does not tell.", max_length=253
    )
    expiration_seconds: Seconds | None = Field(
        None, description="The longest wanted; at least 600, and the profile may grant less."
    )


class CertificateRenew(Schema):
    """A wish to renew the certificate that the connection was made with."""

    csr: str = Field(
        description="A PKCS#10 request with the new key, PEM; its names may be left out.",
        max_length=65536,
        examples=[_PEM_EXAMPLE],
    )
    expiration_seconds: Seconds | None = None


class Certificate(Schema):
    """An issued certificate and what Trivet knows of it."""

    cluster: str
    authority: str
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
    status: Literal["valid", "revoked", "expired"]
    revoked_at: datetime | None
    superseded_at: datetime | None = Field(description="When it was renewed.")
    requester: str
    decision: UUID
    certificate: str = Field(description="PEM.")
    issuer: str = Field(description="The CA certificate that signed it, PEM.")


class SuggestedWindow(Schema):
    """Renew at a random moment within it (RFC 9773)."""

    start: datetime
    end: datetime


class RenewalInfo(Schema):
    """When to renew a certificate; in the past for one that was revoked or superseded."""

    suggested_window: SuggestedWindow


class Decision(Schema):
    """Why a certificate was issued, or a request refused."""

    id: UUID
    decided_at: datetime
    requester: str
    action: Literal["issue", "renew"]
    profile: str
    request_sha256: str
    verdict: Literal["issued", "refused"]
    reason: str | None = Field(description="The kind of refusal.")
    detail: str | None
    cluster_version: int | None = Field(description="Version of the cluster's set of entries that was read.")
    global_version: int | None = Field(description="The same for the set that holds in all clusters.")
    considered: list[dict[str, Any]] = Field(description="The entries that shared a key with the request.")
    identity: dict[str, Any] | None = Field(description="What the entries were compared with.")
    serial_number: str | None
    parent_serial_number: str | None
    request_id: str | None


class RevocationEntry(Schema):
    """One entry; exactly one value, in the field of its kind."""

    kind: str = Field(
        description="SerialNumber, Group, DNS, IP, CommonName or PublicKey, in any letter case.", examples=["Group"]
    )
    description: str | None = None
    not_before: datetime | None = Field(
        None, description="Revokes what was issued before that time; without it, all past and future matches."
    )
    serial_number: str | None = Field(None, description="Hexadecimal; colons and leading zeros are tolerated.")
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
    namespace: str = DEFAULT_NAMESPACE
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    uid: UUID | None = None
    resource_version: str | None = None
    creation_timestamp: datetime | None = None


class RevocationSpec(Schema):
    """Why, and what."""

    description: str | None = None
    revocations: list[RevocationEntry] = Field(min_length=1, max_length=1000)


class RevocationStatus(Schema):
    """What came of it."""

    marked: int | None = Field(None, description="How many certificates this change marked as revoked.")


class RenewRevocation(Schema):
    """The RenewRevocation manifest of AKS hybrid, unchanged."""

    api_version: Literal["certificates.microsoft.com/v1"] = API_VERSION  # type: ignore[assignment]
    kind: Literal["RenewRevocation"] = KIND  # type: ignore[assignment]
    metadata: RevocationMetadata
    spec: RevocationSpec
    status: RevocationStatus | None = None


class PreviewHit(Schema):
    """How many live certificates of a profile and node would be revoked."""

    profile: str
    node: str | None
    count: int


class RevocationPreview(Schema):
    """What a RenewRevocation would do."""

    count: int = Field(description="How many live certificates would be revoked.")
    hits: list[PreviewHit]
    sample: list[Certificate] = Field(description="The newest of them.")
    banned: list[str] = Field(description="What could no longer be issued, and until when.")
    warnings: list[str] = Field(description="Lock-outs in plain words.")
    locks_out: bool = Field(description="Whether some part of a control plane could not renew.")
    token: str = Field(description="Give it as `confirm` where the lock-out guard asks for it.")


class TokenCreate(Schema):
    """An access token to make."""

    role: Literal["admin", "issuer", "approver", "auditor"]
    description: str = Field("", max_length=256)
    cluster: str | None = Field(None, description="The one cluster it holds in; without it, all.", max_length=63)
    expires_in_seconds: Seconds | None = Field(None, description="Without it, the token holds until deleted.")


class Token(Schema):
    """An access token, without its secret."""

    id: UUID
    role: Literal["admin", "issuer", "approver", "auditor"]
    description: str
    cluster: str | None
    created_at: datetime
    created_by: str
    expires_at: datetime | None


class CreatedToken(Token):
    """A new access token; its secret is shown this once."""

    secret: str


class AuditRecord(Schema):
    """A change, and who made it."""

    id: UUID
    recorded_at: datetime
    requester: str
    action: str
    object: str
    cluster: str | None
    details: dict[str, Any]
    request_id: str | None
