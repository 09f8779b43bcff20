"""The messages that clients send as protobuf: field numbers from the generated.proto of k8s.io/api and apimachinery."""

from __future__ import annotations

from typing import Final

from trivet.web.kubernetes.protobuf import Field, Table

_OBJECT_META: Final[Table] = {
    1: Field("name", "string"),
    2: Field("generateName", "string"),
    3: Field("namespace", "string"),
    5: Field("uid", "string"),
    6: Field("resourceVersion", "string"),
    11: Field("labels", "map"),
    12: Field("annotations", "map"),
    14: Field("finalizers", "string", repeated=True),
}
_METADATA: Final = Field("metadata", "message", _OBJECT_META)
_RESOURCE_ATTRIBUTES: Final[Table] = {
    1: Field("namespace", "string"),
    2: Field("verb", "string"),
    3: Field("group", "string"),
    4: Field("version", "string"),
    5: Field("resource", "string"),
    6: Field("subresource", "string"),
    7: Field("name", "string"),
}
_ACCESS_SPEC: Final[Table] = {
    1: Field("resourceAttributes", "message", _RESOURCE_ATTRIBUTES),
    2: Field("nonResourceAttributes", "message", {1: Field("path", "string"), 2: Field("verb", "string")}),
}
_DELETE_OPTIONS: Final[Table] = {
    1: Field("gracePeriodSeconds", "int"),
    2: Field("preconditions", "message", {1: Field("uid", "string"), 2: Field("resourceVersion", "string")}),
    4: Field("propagationPolicy", "string"),
    5: Field("dryRun", "string", repeated=True),
}

_SIGNING_REQUEST_SPEC: Final[Table] = {
    1: Field("request", "base64"),
    2: Field("username", "string"),
    3: Field("uid", "string"),
    4: Field("groups", "string", repeated=True),
    5: Field("usages", "string", repeated=True),
    7: Field("signerName", "string"),
    8: Field("expirationSeconds", "int"),
}
_CONDITION: Final[Table] = {
    1: Field("type", "string"),
    2: Field("reason", "string"),
    3: Field("message", "string"),
    4: Field("lastUpdateTime", "time"),
    5: Field("lastTransitionTime", "time"),
    6: Field("status", "string"),
}
_SIGNING_REQUEST_STATUS: Final[Table] = {
    1: Field("conditions", "message", _CONDITION, repeated=True),
    2: Field("certificate", "base64"),
}

MESSAGES: Final[dict[str, Table]] = {
    "CertificateSigningRequest": {
        1: _METADATA,
        2: Field("spec", "message", _SIGNING_REQUEST_SPEC),
        3: Field("status", "message", _SIGNING_REQUEST_STATUS),
    },
    "SelfSubjectReview": {1: _METADATA},
    "SelfSubjectAccessReview": {1: _METADATA, 2: Field("spec", "message", _ACCESS_SPEC)},
    "SelfSubjectRulesReview": {1: _METADATA, 2: Field("spec", "message", {1: Field("namespace", "string")})},
    "DeleteOptions": _DELETE_OPTIONS,
}
