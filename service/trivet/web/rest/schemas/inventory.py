"""The inventory of nodes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import ConfigDict, Field

from trivet.web.rest.schemas.base import Page, RequestSchema, Schema

Text = Annotated[str, Field(max_length=300)]


class InventoryNodePut(RequestSchema):
    """What a node owns."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"dnsNames": ["db.lab.example.com"], "ipAddresses": ["192.0.2.17", "10.1.7.0/24"]}]
        }
    )

    dns_names: list[Text] = Field([], max_length=1000, description="Beside its own name.")
    ip_addresses: list[Text] = Field([], max_length=1000, description="Addresses and CIDR ranges.")


class InventoryNode(Schema):
    """What a node owns: a serving certificate with these names needs no approver."""

    node: str
    dns_names: list[str]
    ip_addresses: list[str]
    pinned: bool = Field(description="Whether the node's own first request said so, and no administrator.")
    updated_at: datetime
    updated_by: str


class InventoryNodePage(Page[InventoryNode]):
    """A part of a list of InventoryNode objects."""
