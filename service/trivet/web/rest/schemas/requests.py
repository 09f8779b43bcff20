"""Certificate requests that wait for approval."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from trivet.web.rest.schemas.base import Page, RequestSchema, Schema, Seconds
from trivet.web.rest.schemas.certificates import PEM_EXAMPLE
from trivet.web.rest.schemas.enumerations import (
    Annotations,
    CertificateRequestState,
    Labels,
    ProfileName,
)


class CertificateRequestCreate(RequestSchema):
    """A certificate request to submit."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"profile": "kubelet-client", "csr": PEM_EXAMPLE}]}
    )

    profile: ProfileName
    csr: str = Field(description="The PKCS#10 request, PEM.", max_length=65536)
    node: str | None = Field(
        None, description="The node, where the profile holds one and the CSR does not tell.", max_length=253
    )
    expiration_seconds: Seconds | None = Field(
        None, description="The longest wanted; at least 600, and the profile may grant less."
    )
    name: str | None = Field(
        None, description="Of the request; made up where it is left out.", max_length=253
    )
    generate_name: str | None = Field(
        None, description="What a name that is made up begins with.", max_length=200
    )


class CertificateRequestQuery(Schema):
    """What the query says beside a body that is the CSR itself."""

    profile: ProfileName | None = Field(None, description="With an application/pkcs10 body.")
    node: str | None = Field(None, max_length=253, description="With an application/pkcs10 body.")
    expiration_seconds: Seconds | None = Field(None, description="With an application/pkcs10 body.")
    name: str | None = Field(None, max_length=253, description="With an application/pkcs10 body.")


class RequestDecision(RequestSchema):
    """Why a request is approved or denied."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "rack 3, as planned"}]})

    reason: str | None = Field(None, max_length=1024)


class RequestCondition(Schema):
    """A step that a request took."""

    type: Literal["Approved", "Denied", "Failed"]
    status: Literal["True"]
    reason: str
    message: str
    by: str = Field(description="An approver, `rule:` and the rule's name, or `trivet`.")
    last_update_time: str
    last_transition_time: str


class CertificateRequest(Schema):
    """A certificate request, and what became of it."""

    name: str
    uid: UUID
    cluster: str
    resource_version: str = Field(description="Grows with every change of any request of the cluster.")
    profile: str
    signer_name: str | None = Field(description="Kubernetes' name of the profile, where it has one.")
    node: str | None
    usages: list[str]
    expiration_seconds: int | None
    csr: str = Field(description="PEM.")
    common_name: str
    organizations: list[str]
    dns_names: list[str]
    ip_addresses: list[str]
    public_key_sha256: str
    requester: str = Field(description="As records name who submitted it.")
    username: str = Field(description="As Kubernetes names who submitted it.")
    groups: list[str]
    extra: dict[str, Any]
    labels: Labels
    annotations: Annotations
    state: CertificateRequestState
    reason: str = Field(description="Why it waits, or what became of it.")
    conditions: list[RequestCondition]
    created_at: datetime
    decided_at: datetime | None
    decided_by: str | None
    collect_at: datetime = Field(description="When it is removed.")
    serial_number: str | None = Field(description="Of the certificate that was issued.")
    certificate: str | None = Field(description="PEM.")
    decision: UUID | None = Field(description="The decision record of its issue or refusal.")


class CertificateRequestPage(Page[CertificateRequest]):
    """A part of a list of CertificateRequest objects."""
