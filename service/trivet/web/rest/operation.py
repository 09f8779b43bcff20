"""How a route is declared: an operation id that makes a good method name, its permission, its bodies."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import Depends, Header, Query

from trivet.authority.access import Permission
from trivet.web.authentication import authenticated, permitted
from trivet.web.rest import schemas
from trivet.web.rest.negotiation import DER, JSON

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_TEXT = {"schema": {"type": "string"}}
_BINARY = {"schema": {"type": "string", "format": "binary"}}

PUBLIC: Final = "public"
"""In place of a permission, where none is needed."""

MAX_KEY: Final = 255  # characters of an Idempotency-Key

Limit = Annotated[int, Query(ge=1, le=500, description="The most items of a page.")]
Cursor = Annotated[
    str | None, Query(max_length=2000, description="From the `next` of the page before; opaque.")
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="One result for it, however often the request is sent.",
        max_length=MAX_KEY,
    ),
]
IfMatch = Annotated[
    str | None,
    Header(alias="If-Match", description="The ETag of the version that is to be changed.", max_length=100),
]


def operation(
    operation_id: str,
    permission: Permission,
    known: Callable[..., Any] = authenticated,
    *,
    in_dry_run: Permission | None = None,
    **extra: object,
) -> dict[str, Any]:
    """Arguments of a route: its operationId, and the permission that is asked for before the request is read.

    Args:
        operation_id: a good name for an SDK's method.
        permission: declared in the OpenAPI document and enforced, both from here.
        known: the dependency that gives the Caller.
        in_dry_run: the permission that is asked for instead with dryRun=All.
        extra: further members of the OpenAPI operation.
    """
    declared: dict[str, object] = {"x-trivet-permission": permission.value}
    if in_dry_run is not None:
        declared["x-trivet-permission-dry-run"] = in_dry_run.value
    return {
        "operation_id": operation_id,
        "summary": _words(operation_id),
        "dependencies": [Depends(permitted(permission, known, in_dry_run))],
        "openapi_extra": {**extra, **declared},
    }


def public_operation(operation_id: str, **extra: object) -> dict[str, Any]:
    """Arguments of a route that anybody may use: it tells what is public by its nature."""
    return {
        "operation_id": operation_id,
        "summary": _words(operation_id),
        "openapi_extra": {**extra, "security": [{}], "x-trivet-permission": PUBLIC},
    }


def _words(operation_id: str) -> str:
    # "getRenewalInfo" reads "Get renewal info"; its description says more.
    return re.sub(r"[A-Z]", lambda letter: " " + letter[0].lower(), operation_id).capitalize()


def body_of(contents: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The request body of an operation that reads it itself, by media type."""
    return {"required": True, "content": contents}


def json_body(model: type[schemas.Schema]) -> dict[str, Any]:
    """The request body of an operation that reads JSON itself."""
    return body_of({JSON: schema_of(model)})


def schema_of(model: type[schemas.Schema]) -> dict[str, Any]:
    """A body by its schema; `openapi.COMPONENTS` holds those that no route returns."""
    return {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}


def text_answers(media_types: Sequence[str]) -> dict[str, Any]:
    """Answers other than JSON, by media type."""
    return {media_type: _BINARY if media_type == DER else _TEXT for media_type in media_types}
