"""OpenAPI v3, as kubectl needs it for apply, create, edit, replace and explain: an index and a document each version.

The address of a document has its hash, so it never changes and is kept by clients; the index tells the hash.
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Any, Final

from trivet import __version__
from trivet.web.kubernetes.resources import ALL, CERTIFICATE_SIGNING_REQUEST, RENEW_REVOCATION, Resource
from trivet.web.kubernetes.schema import (
    LIST_META,
    META_SCHEMAS,
    RENEW_REVOCATION_SCHEMA,
    SIGNING_REQUEST_SCHEMA,
    Schema,
    ref,
)
from trivet.web.kubernetes.status import encode

_SCHEMAS: Final[dict[str, Schema]] = {
    CERTIFICATE_SIGNING_REQUEST.plural: SIGNING_REQUEST_SCHEMA,
    RENEW_REVOCATION.plural: RENEW_REVOCATION_SCHEMA,
}
_ACTIONS: Final = {
    "get": "get",
    "list": "list",
    "create": "post",
    "update": "put",
    "patch": "patch",
    "delete": "delete",
    "deletecollection": "deletecollection",
}
_METHODS: Final = {"list": "get", "create": "post", "update": "put", "deletecollection": "delete"}
_ON_COLLECTION: Final = frozenset({"list", "create", "deletecollection"})
_PATCHES: Final = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/apply-patch+yaml",
)
_STRATEGIC: Final = "application/strategic-merge-patch+json"
_CHANGING: Final = ("dryRun", "fieldManager", "fieldValidation")
_SELECTING: Final = ("labelSelector", "fieldSelector", "limit", "continue", "resourceVersion", "watch")


@cache
def index() -> bytes:
    """The index: where the document of each group and version is."""
    paths = {
        place: {"serverRelativeURL": f"/openapi/v3/{place}?hash={digest(place)}"}
        for place in sorted({_place(resource) for resource in ALL})
    }
    return encode({"paths": paths})


@cache
def digest(place: str) -> str:
    """The hash of a document."""
    return hashlib.sha512(document(place) or b"").hexdigest().upper()


@cache
def document(place: str) -> bytes | None:
    """The document of `api/v1` or `apis/GROUP/VERSION`; None for what there is not."""
    resources = [resource for resource in ALL if _place(resource) == place]
    if not resources:
        return None
    schemas: dict[str, Schema] = dict(META_SCHEMAS)
    paths: dict[str, Any] = {}
    for resource in resources:
        _describe(resource, schemas, paths)
    return encode(
        {
            "openapi": "3.0.0",
            "info": {"title": "Trivet", "version": f"v{__version__}"},
            "paths": paths,
            "components": {"schemas": schemas},
        }
    )


def _place(resource: Resource) -> str:
    return f"apis/{resource.group}/{resource.version}" if resource.group else f"api/{resource.version}"


def schema_name(resource: Resource) -> str:
    """The name of a resource's schema, as definitions of custom resources have it."""
    reverse = ".".join(reversed(resource.group.split("."))) or "io.k8s.api.core"
    return f"{reverse}.{resource.version}.{resource.kind}"


def _describe(resource: Resource, schemas: dict[str, Schema], paths: dict[str, Any]) -> None:
    name = schema_name(resource)
    own = _SCHEMAS.get(resource.plural, {"type": "object", "properties": {}})
    schemas[name] = own | {"x-kubernetes-group-version-kind": [_gvk(resource)]}
    if resource.list_kind:
        schemas[f"{name}List"] = {
            "type": "object",
            "required": ["items"],
            "description": f"{resource.list_kind} is a list of {resource.kind}.",
            "properties": {
                "apiVersion": {"type": "string"},
                "kind": {"type": "string"},
                "metadata": ref(LIST_META),
                "items": {"type": "array", "items": ref(name)},
            },
            "x-kubernetes-group-version-kind": [_gvk(resource) | {"kind": resource.list_kind}],
        }
    prefix = f"/{_place(resource)}" + ("/namespaces/{namespace}" if resource.namespaced else "")
    for verb in resource.verbs:
        if verb == "watch":
            continue
        path = f"{prefix}/{resource.plural}" + ("" if verb in _ON_COLLECTION else "/{name}")
        operations = paths.setdefault(path, {"parameters": _in_path(resource, verb)})
        operations[_METHODS.get(verb, verb)] = _operation(resource, verb, name)
    for subresource, verbs in resource.subresources.items():
        path = f"{prefix}/{resource.plural}/{{name}}/{subresource}"
        operations = paths.setdefault(path, {"parameters": _in_path(resource, "get")})
        for verb in verbs:
            operations[_METHODS.get(verb, verb)] = _operation(resource, verb, name, subresource)


def _in_path(resource: Resource, verb: str) -> list[Schema]:
    names = (["namespace"] if resource.namespaced else []) + ([] if verb in _ON_COLLECTION else ["name"])
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]


def _operation(resource: Resource, verb: str, name: str, subresource: str = "") -> Schema:
    place = f"{'Namespaced' if resource.namespaced else ''}{resource.kind}{subresource.title()}"
    operation: Schema = {
        "operationId": f"{verb}{schema_name(resource).replace('.', '_')}{place}",
        "x-kubernetes-action": _ACTIONS[verb],
        "x-kubernetes-group-version-kind": _gvk(resource),
        "parameters": [_parameter(parameter) for parameter in _parameters(verb)],
        "responses": {"200": {"description": "OK", "content": _json(ref(name))}},
    }
    if verb in {"create", "update"}:
        operation["requestBody"] = {"required": True, "content": _json(ref(name))}
    if verb == "patch":
        patches = (*_PATCHES, _STRATEGIC) if resource.patches_strategically else _PATCHES
        content = {media_type: {"schema": {"type": "object"}} for media_type in patches}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _parameters(verb: str) -> tuple[str, ...]:
    match verb:
        case "create" | "update":
            return _CHANGING
        case "patch":
            return (*_CHANGING, "force")
        case "delete":
            return ("dryRun",)
        case "list" | "deletecollection":
            return _SELECTING
        case _:
            return ()


def _parameter(name: str) -> Schema:
    kind = {"force": "boolean", "watch": "boolean", "limit": "integer"}.get(name, "string")
    return {"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": True}}


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


def _gvk(resource: Resource) -> dict[str, str]:
    return {"group": resource.group, "version": resource.version, "kind": resource.kind}
