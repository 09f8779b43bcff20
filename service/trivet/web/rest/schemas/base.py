"""What all schemas share: names are camelCase, and unknown members of requests are refused."""

from __future__ import annotations

from typing import Annotated, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

T = TypeVar("T")
Seconds = Annotated[int, Field(ge=1, le=10 * 366 * 24 * 3600)]


class Schema(BaseModel):
    """What all share."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, serialize_by_alias=True, hide_input_in_errors=True
    )


class RequestSchema(Schema):
    """What clients send: read strictly, and named as the document says only."""

    model_config = ConfigDict(validate_by_name=False, validate_by_alias=True, extra="forbid")


class Page(Schema, Generic[T]):
    """A part of a list."""

    items: list[T]
    next: str | None = Field(description="The cursor of the next page; null on the last.")
