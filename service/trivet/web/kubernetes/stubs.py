"""Namespaces and events: what kubectl asks about around its work, and Trivet has little of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trivet.web.kubernetes import revocations
from trivet.web.kubernetes.documents import time_text
from trivet.web.kubernetes.media import require_json
from trivet.web.kubernetes.status import json_response, not_found

if TYPE_CHECKING:
    from starlette.responses import Response

    from trivet.web.kubernetes.call import Call


async def list_namespaces(call: Call) -> Response:
    """The namespaces that every cluster has, and those in which something stands."""
    call.require()
    require_json(call.request)
    items = [_namespace(call, name) for name in await revocations.namespaces(call)]
    return json_response({"kind": "NamespaceList", "apiVersion": "v1", "metadata": {}, "items": items})


async def get_namespace(call: Call) -> Response:
    """One namespace."""
    call.require()
    require_json(call.request)
    if call.target.name not in await revocations.namespaces(call):
        raise not_found(call.target)
    return json_response(_namespace(call, call.target.name))


async def list_events(call: Call) -> Response:
    """No events: what was done is in the audit trail."""
    call.require()
    require_json(call.request)
    return json_response({"kind": "EventList", "apiVersion": "v1", "metadata": {}, "items": []})


def _namespace(call: Call, name: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "labels": {"kubernetes.io/metadata.name": name}}
    metadata |= {"creationTimestamp": time_text(call.since)} if call.since else {}
    return {
        "kind": "Namespace",
        "apiVersion": "v1",
        "metadata": metadata,
        "spec": {},
        "status": {"phase": "Active"},
    }
