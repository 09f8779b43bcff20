"""How a route is declared: an operation id that makes a good method name, its permission, its bodies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Header, Query

from trivet.authority.access import Permission

if TYPE_CHECKING:
    from collections.abc import Sequence

Limit = Annotated[int, Query(ge=1, le=500, description="The most items of a page.")]
Cursor = Annotated[
    str | None, Query(max_length=2000, description="From the `next` of the page before; opaque.")
]
IdempotencyKey = Annotated[
    str | None,
    Header(alias="Idempotency-Key", description="One result for it, however often the request is sent.", max_length=255),
]
IfMatch = Annotated[
    str | None, Header(alias="If-Match", description="The ETag of the version that is to be changed.", max_length=100)
]


def operation(operation_id: str, permission: Permission, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    """Arguments of a route: its operationId, and the permission that its use case asks for."""
    extra = more.pop("extra", {}) | {"x-trivet-permission": permission.value}
    return {"operation_id": operation_id, "openapi_extra": extra, **more}


def bodies(contents: dict[str, Any]) -> dict[str, Any]:
    """The request bodies of an operation that reads them itself, by media type."""
    return {"requestBody": {"required": True, "content": contents}}


def text_answers(media_types: Sequence[str], example: str = "") -> dict[str, Any]:
    """Answers other than JSON, by media type."""
    return {
        media_type: {"schema": {"type": "string"}, **({"example": example} if example else {})}
        for media_type in media_types
    }
