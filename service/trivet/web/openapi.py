"""What FastAPI cannot know of the OpenAPI document: how requesters are known, permissions, the error schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trivet.web.problems import PROBLEM_TYPE, RENDERINGS, TYPE_PREFIX

if TYPE_CHECKING:
    from fastapi import FastAPI

_DESCRIPTION = """\
For every cluster Trivet hosts the Cluster CA, the etcd CA and the Front Proxy CA. It signs certificate requests,
renews certificates that live four days, and takes revocations, which it checks on every issuance.

Errors are `application/problem+json` (RFC 9457); their `type` is stable. Lists are paged by an opaque cursor.
"""

_SECURITY_SCHEMES = {
    "accessToken": {"type": "http", "scheme": "bearer", "description": "An access token, `trivet_…`."},
    "clientCertificate": {"type": "mutualTLS", "description": "A certificate that this Trivet issued, and its key."},
}

_PROBLEM: dict[str, Any] = {
    "title": "Problem",
    "type": "object",
    "description": "A refusal or failure (RFC 9457).",
    "required": ["type", "title", "status", "detail", "requestId"],
    "properties": {
        "type": {
            "type": "string",
            "format": "uri",
            "enum": sorted(TYPE_PREFIX + slug for slug in RENDERINGS),
            "description": "The kind of problem; stable.",
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
            "items": {
                "title": "ProblemError",
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {
                    "pointer": {"type": "string", "description": "RFC 6901; a parameter's name for parameters."},
                    "detail": {"type": "string"},
                },
            },
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


def complete_document(app: FastAPI) -> None:
    """Let the application's document say what is missing."""
    original = app.openapi

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            _complete(original())
        return app.openapi_schema or {}

    app.openapi = document  # type: ignore[method-assign]  FastAPI's documented way


def _complete(document: dict[str, Any]) -> None:
    document["info"]["description"] = _DESCRIPTION
    document["info"]["license"] = {"name": "Apache-2.0", "identifier": "Apache-2.0"}
    components = document.setdefault("components", {})
    components["securitySchemes"] = _SECURITY_SCHEMES
    schemas = components.setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas["Problem"] = _PROBLEM
    for operations in document["paths"].values():
        for operation in operations.values():
            _complete_operation(operation)


def _complete_operation(operation: dict[str, Any]) -> None:
    operation.setdefault("security", [{"accessToken": []}, {"clientCertificate": []}])
    operation["responses"].pop("422", None)
    operation["responses"]["default"] = {
        "description": "A refusal or failure.",
        "content": {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
