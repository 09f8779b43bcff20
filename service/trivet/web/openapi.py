"""What FastAPI cannot know of the OpenAPI document: how requesters are known, permissions, the error schema."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from pydantic.json_schema import models_json_schema

from trivet.web.problems import PROBLEM_TYPE, RENDERINGS, TYPE_PREFIX
from trivet.web.tidying import as_written, never_null

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastapi import FastAPI
    from pydantic import BaseModel
    from pydantic.json_schema import JsonSchemaMode

_DESCRIPTION = """\
For every cluster Trivet hosts the Cluster CA, the etcd CA and the Front Proxy CA. It signs certificate requests,
renews certificates that live four days, and takes revocations, which it checks on every issuance.

Errors are `application/problem+json` (RFC 9457); their `type` is stable. Lists are paged by an opaque cursor.
"""

_SECURITY_SCHEMES = {
    "accessToken": {"type": "http", "scheme": "bearer", "description": "An access token, `trivet_…`."},
    "clientCertificate": {
        "type": "mutualTLS",
        "description": "A certificate that this Trivet issued, and its key.",
    },
}

_PROBLEM_TYPE: dict[str, Any] = {
    "type": "string",
    "enum": sorted(TYPE_PREFIX + slug for slug in RENDERINGS),
    "description": "The kinds of problem that this version knows.",
}

_PROBLEM_ERROR: dict[str, Any] = {
    "type": "object",
    "description": "A place in the request that is wrong.",
    "required": ["pointer", "detail"],
    "properties": {
        "pointer": {"type": "string", "description": "RFC 6901; a parameter's name for parameters."},
        "detail": {"type": "string", "description": "What was wrong, and what would be accepted."},
    },
}

_PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "A refusal or failure (RFC 9457).",
    "required": ["type", "title", "status", "detail", "requestId"],
    "properties": {
        "type": {
            "anyOf": [{"$ref": "#/components/schemas/ProblemType"}, {"type": "string", "format": "uri"}],
            "description": "The kind of problem; stable. A later version may have more kinds.",
        },
        "title": {"type": "string", "description": "The kind of problem in words."},
        "status": {"type": "integer", "description": "The HTTP status."},
        "detail": {"type": "string", "description": "What was wrong, and what would be accepted."},
        "instance": {"type": "string", "description": "Where the decision behind a refusal is explained."},
        "decision": {"type": "string", "format": "uuid", "description": "The id of that decision."},
        "requestId": {"type": "string", "description": "Finds the request in the log."},
        "errors": {
            "type": "array",
            "description": "Every place in the request that is wrong.",
            "items": {"$ref": "#/components/schemas/ProblemError"},
        },
    },
    "examples": [
        {
            "type": "urn:trivet:problem:revoked",
            "title": "Revoked",
            "status": 403,
            "detail": "the entry Group 'system:nodes' of the RenewRevocation kube-system/my-renew-revocation"
            " (in this cluster) names this request.",
            "instance": "/api/v1/decisions/01a20b1c-da20-7c96-b5e3-ef0c4e77be3b",
            "decision": "01a20b1c-da20-7c96-b5e3-ef0c4e77be3b",
            "requestId": "5b7c1a90e2f34d68",
        }
    ],
}

_PROBLEMS: dict[str, Any] = {
    "Problem": _PROBLEM,
    "ProblemError": _PROBLEM_ERROR,
    "ProblemType": _PROBLEM_TYPE,
}

_ID = "01a20b1c-da20-7c96-b5e3-ef0c4e77be3b"
_PATH_PARAMETERS = {
    "cluster": ("The name of a cluster.", "prod"),
    "authority": ("`cluster`, `etcd` or `front-proxy`.", "cluster"),
    "serial": ("A serial number, hexadecimal.", "77fdf4b1033b387aaace6ce1c18710c2"),
    "decision": ("The id of a decision.", _ID),
    "token": ("The id of an access token, not its secret.", _ID),
    "bootstrap-tokens/token": ("The id of a bootstrap token: what stands before its dot.", "07401b"),
    "namespace": ("The namespace of the object.", "kube-system"),
    "name": ("The name of the object.", "my-renew-revocation"),
    "certificate": (
        "base64url(authorityKeyIdentifier).base64url(serialNumber), as in RFC 9773 section 4.1.",
        "4Y5ZbQ3lAXnmFaBZ1P7p4Hl5Yz8.d_30sQM7OHqqrOzhwYcQwg",
    ),
    "repair": ("The id of a repair window.", _ID),
    "renewal": ("The id of an early renewal.", _ID),
    "node": ("The name of a node.", "worker-1"),
}

_HEADERS = {
    "ETag": "The version, for If-Match.",
    "Link": 'Where the next page is, as `<…>; rel="next"` (RFC 8288); absent on the last.',
    "Location": "Where the new object is.",
    "Retry-After": "After how many seconds to try again (with 429, 503, and 409 in a repair), or to ask again.",
    "WWW-Authenticate": "With 401.",
    "Warning": 'Lock-outs in plain words, each as `299 - "…"`; kubectl prints them.',
}

_TAGS = [
    {"name": "clusters", "description": "Clusters, each with three authorities of its own."},
    {"name": "authorities", "description": "The CA certificates that sign, and those to trust."},
    {"name": "certificates", "description": "Issue, renew, search, explain."},
    {"name": "bootstrap tokens", "description": "Let new nodes ask for their first certificate."},
    {
        "name": "certificate requests",
        "description": "Requests that a rule or an approver approves, and what became of them.",
    },
    {"name": "inventory", "description": "Which node owns which names and addresses."},
    {
        "name": "upkeep",
        "description": "What a cluster holds, when it renews, how long it survives without Trivet.",
    },
    {"name": "repairs", "description": "Bring back a cluster whose certificates expired or were revoked."},
    {"name": "revocations", "description": "What must not be issued or renewed, and what is revoked."},
    {"name": "access tokens", "description": "Bearer tokens, each with a role, for all clusters or one."},
    {"name": "audit", "description": "Who changed what."},
]


def complete_document(app: FastAPI, bodies: Iterable[type[BaseModel]]) -> None:
    """Let the application's document say what is missing.

    Args:
        app: the application.
        bodies: the schemas that request bodies refer to.
    """
    original = app.openapi

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            _complete(original(), bodies)
        return app.openapi_schema or {}

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's documented way


def _complete(document: dict[str, Any], bodies: Iterable[type[BaseModel]]) -> None:
    document["info"]["description"] = _DESCRIPTION
    document["info"]["license"] = {"name": "Apache-2.0", "identifier": "Apache-2.0"}
    document["tags"] = _TAGS
    components = document.setdefault("components", {})
    components["securitySchemes"] = _SECURITY_SCHEMES
    components["schemas"] = _schemas(components.get("schemas", {}), bodies)
    document["components"] = as_written(components)
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            _complete_operation(path, operation)
            operations[method] = as_written(operation)


def _schemas(known: dict[str, Any], bodies: Iterable[type[BaseModel]]) -> dict[str, Any]:
    """Those that FastAPI found in routes, those of bodies and the problem, by name."""
    wanted: list[tuple[type[BaseModel], JsonSchemaMode]] = [(model, "validation") for model in bodies]
    _, definitions = models_json_schema(wanted, ref_template="#/components/schemas/{model}")
    schemas = known | definitions["$defs"] | _PROBLEMS
    # FastAPI's own errors, which are answered as problems.
    return {
        name: schemas[name] for name in sorted(schemas.keys() - {"HTTPValidationError", "ValidationError"})
    }


def _complete_operation(path: str, operation: dict[str, Any]) -> None:
    operation.setdefault("security", [{"accessToken": []}, {"clientCertificate": []}])
    operation["responses"].pop("422", None)
    operation["responses"]["default"] = {
        "description": "A refusal or failure.",
        "content": {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for status, response in operation["responses"].items():
        if headers := _headers(status, operation["operationId"]):
            response["headers"] = headers
    in_path = [
        _path_parameter(collection, part.strip("{}"))
        for collection, part in pairwise(path.split("/"))
        if part.startswith("{")
    ]
    others = [
        never_null(parameter) for parameter in operation.pop("parameters", []) if parameter["in"] != "path"
    ]
    if in_path or others:
        operation["parameters"] = in_path + others


def _headers(status: str, operation_id: str) -> dict[str, Any]:
    """The headers of a response that say more than its body."""
    wanted = []
    if status == "201":
        wanted.append("Location")
    if status in {"200", "201"} and re.fullmatch(
        r"(create|get|replace)(Global)?RenewRevocation", operation_id
    ):
        wanted += ["ETag", "Warning"]
    if status == "200" and operation_id.startswith("list"):
        wanted.append("Link")
    if status == "200" and operation_id.startswith("getRenewalInfo"):
        wanted.append("Retry-After")
    if status == "default":
        wanted += ["Retry-After", "WWW-Authenticate"]
    return {name: {"description": _HEADERS[name], "schema": {"type": "string"}} for name in wanted}


def _path_parameter(collection: str, name: str) -> dict[str, Any]:
    description, example = _PATH_PARAMETERS.get(f"{collection}/{name}") or _PATH_PARAMETERS[name]
    schema: dict[str, Any] = {"type": "string"}
    if name == "authority":
        schema = {"$ref": "#/components/schemas/AuthorityName"}
    elif example == _ID:
        schema["format"] = "uuid"
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": schema,
        "example": example,
    }
