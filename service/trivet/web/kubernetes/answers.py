"""Answers about objects, in the form that was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from trivet.web.kubernetes.documents import document_of, partial_of
from trivet.web.kubernetes.media import PARTIAL, TABLE, form_of
from trivet.web.kubernetes.status import json_response
from trivet.web.kubernetes.tables import table_of
from trivet.web.warning_header import add_warnings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.responses import Response

    from trivet.store.changes import ObjectImage
    from trivet.web.kubernetes.call import Call

_MOST_WARNINGS: Final = 20


def object_answer(call: Call, image: ObjectImage, code: int = 200, warnings: Sequence[str] = ()) -> Response:
    """An object."""
    answer = json_response(rendered(call, image, form_of(call.request)), code)
    add_warnings(answer, warnings[:_MOST_WARNINGS])
    return answer


def rendered(call: Call, image: ObjectImage, form: str, *, with_columns: bool = True) -> dict[str, Any]:
    """An object in a form; a Table has one row."""
    if form == TABLE:
        metadata = {"resourceVersion": str(image.version)}
        return table_of(
            [image],
            call.resource,
            call.objects,
            call.now(),
            metadata,
            include=included(call),
            with_columns=with_columns,
        )
    return partial_of(image) if form == PARTIAL else document_of(image, call.resource)


def list_answer(call: Call, images: Sequence[ObjectImage], metadata: dict[str, Any]) -> Response:
    """Many objects."""
    form, resource = form_of(call.request), call.resource
    if form == TABLE:
        table = table_of(images, resource, call.objects, call.now(), metadata, include=included(call))
        return json_response(table)
    if form == PARTIAL:
        kind, api_version = "PartialObjectMetadataList", "meta.k8s.io/v1"
        items = [partial_of(image) for image in images]
    else:
        kind, api_version = resource.list_kind, resource.api_version
        items = [document_of(image, resource) for image in images]
    return json_response({"kind": kind, "apiVersion": api_version, "metadata": metadata, "items": items})


def included(call: Call) -> str:
    """What of each object comes with its row of a Table."""
    return call.request.query_params.get("includeObject") or "Metadata"
