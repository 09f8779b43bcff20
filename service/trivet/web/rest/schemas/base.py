"""What all schemas share: names are camelCase, and unknown members of requests are refused."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Generic, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

from trivet.pki.entries import parse_rfc3339

T = TypeVar("T")
Seconds = Annotated[int, Field(ge=1, le=10 * 366 * 24 * 3600)]
# Pydantic alone would take a number for seconds since 1970, and a date or a time without an offset for a time.
Moment = Annotated[datetime, BeforeValidator(parse_rfc3339)]
"""A time with its offset in text, as in RFC 3339; aware UTC once it is read."""


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
