"""What a cluster holds, early renewal, and the outage budget."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import ConfigDict, Field

from trivet.web.rest.schemas.base import Page, RequestSchema, Schema
from trivet.web.rest.schemas.enumerations import CertificateStatus, StageName

_Span = Annotated[int, Field(ge=0, le=10 * 366 * 24 * 3600)]


class Identity(Schema):
    """A certificate that nothing has replaced: what a node holds, expired or revoked or not."""

    serial_number: str
    profile: str
    node: str | None
    common_name: str
    issued_at: datetime
    not_after: datetime
    status: CertificateStatus
    revoked_at: datetime | None
    stage: StageName = Field(description="Of a repair.")
    waited_for: bool = Field(
        description="Whether a repair waits for it; not for users, nor for what was given up."
    )
    abandoned: bool = Field(description="Whether an administrator gave it up.")


class IdentityPage(Page[Identity]):
    """A part of a list of Identity objects."""


class AbandonedNode(Schema):
    """A node that was given up: nobody waits for what it holds."""

    node: str
    identities: int = Field(description="How many were given up now.")


class EarlyRenewalCreate(RequestSchema):
    """A wish that a whole cluster renews early."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"overSeconds": 3600}]})

    over_seconds: _Span = Field(3600, description="Spread over so long; 0 for at once.")


class LateIdentity(Schema):
    """An identity that has not renewed yet."""

    serial_number: str
    profile: str
    node: str | None
    common_name: str
    not_after: datetime
    due_since: datetime | None = Field(
        description="Since when it should have; null while its time has not come."
    )


class EarlyRenewal(Schema):
    """How far a cluster is that was asked to renew early."""

    id: UUID
    cluster: str
    asked_at: datetime
    asked_by: str
    ends_at: datetime
    total: int = Field(description="How many identities are waited for.")
    fresh: int = Field(description="How many got a certificate since.")
    late: list[LateIdentity] = Field(
        description="Those that did not, the longest overdue first; at most 500."
    )


class EarlyRenewalSummary(Schema):
    """A wish that a whole cluster renews early."""

    id: UUID
    asked_at: datetime
    asked_by: str
    ends_at: datetime


class EarlyRenewalPage(Page[EarlyRenewalSummary]):
    """A part of a list of EarlyRenewalSummary objects."""


class NodeBudget(Schema):
    """How long a node survives if contact with Trivet is lost now."""

    node: str | None = Field(description="Null for identities that were issued without a node's name.")
    seconds: int = Field(description="Until its first certificate ends; negative where that has ended.")
    ends_at: datetime
    profile: str = Field(description="Of the certificate that ends first.")
    serial_number: str
    identities: int


class OutageBudget(Schema):
    """How long a cluster, and each of its nodes, survives if contact with Trivet is lost now."""

    cluster: str
    seconds: int | None = Field(description="The least of its nodes'; null where nothing is held.")
    ends_at: datetime | None
    abandoned: int = Field(description="How many identities were given up, and are not counted.")
    nodes: list[NodeBudget] = Field(description="The shortest first.")
