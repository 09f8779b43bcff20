"""Access tokens and audit records."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import ConfigDict, Field

from trivet.web.rest.schemas.base import Page, RequestSchema, Schema, Seconds
from trivet.web.rest.schemas.enumerations import AccessRole


class TokenCreate(RequestSchema):
    """An access token to make."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"role": "issuer", "description": "provisioning", "expiresInSeconds": 86400}]
        }
    )

    role: AccessRole
    description: str = Field("", max_length=256)
    cluster: str | None = Field(
        None, description="The one cluster it holds in; without it, all.", max_length=63
    )
    expires_in_seconds: Seconds | None = Field(None, description="Without it, the token holds until deleted.")
    signer_names: list[str] = Field(
        [],
        description="For an approver: the signers whose requests it decides; without any, all.",
        max_length=20,
    )


class Token(Schema):
    """An access token, without its secret."""

    id: UUID
    role: AccessRole
    description: str
    cluster: str | None
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    signer_names: list[str]


class CreatedToken(Token):
    """A new access token; its secret is shown this once."""

    secret: str


class TokenPage(Page[Token]):
    """A part of a list of Token objects."""


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


class AuditRecordPage(Page[AuditRecord]):
    """A part of a list of AuditRecord objects."""
