"""Bootstrap tokens."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import ConfigDict, Field

from trivet.web.rest.schemas.base import Page, RequestSchema, Schema
from trivet.web.rest.schemas.enumerations import BootstrapTokenUsage


class BootstrapTokenCreate(RequestSchema):
    """A bootstrap token to make."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"node": "node-7", "description": "rack 3", "expiresInSeconds": 3600}]
        }
    )

    node: str | None = Field(
        None, max_length=253, description="The one node that it is for; without it, any."
    )
    usages: list[BootstrapTokenUsage] = Field(["authentication"], min_length=1, max_length=2)
    groups: list[Annotated[str, Field(max_length=300)]] = Field(
        [],
        max_length=100,
        description="Beside system:bootstrappers, which every token has: system:bootstrappers:NAME.",
    )
    description: str = Field("", max_length=1024)
    expires_in_seconds: int = Field(86_400, ge=1, le=366 * 86_400)


class BootstrapToken(Schema):
    """A bootstrap token, without its secret."""

    id: str = Field(description="The six characters before the dot; they may be shown.")
    node: str | None
    usages: list[BootstrapTokenUsage]
    groups: list[str]
    description: str
    created_at: datetime
    created_by: str
    expires_at: datetime


class CreatedBootstrapToken(BootstrapToken):
    """A new bootstrap token; all of it is shown this once."""

    token: str = Field(description="In Kubernetes' format: id, dot, secret.")


class BootstrapTokenPage(Page[BootstrapToken]):
    """A part of a list of BootstrapToken objects."""
