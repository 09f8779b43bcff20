"""The structural schemas of objects: what OpenAPI tells of them, and which of their fields are known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from trivet.pki.entries import MAX_NAME
from trivet.pki.kubernetes import PROFILES_BY_SIGNER
from trivet.pki.manifest import MAX_ENTRIES, MAX_TEXT
from trivet.pki.revocation import EntryKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Schema = dict[str, Any]

OBJECT_META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
LIST_META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"
MANAGED_FIELDS: Final = "io.k8s.apimachinery.pkg.apis.meta.v1.ManagedFieldsEntry"
_API_VERSION: Final = {
    "type": "string",
    "description": "APIVersion defines the versioned schema of this representation of an object.",
}
_KIND: Final = {"type": "string", "description": "Kind is the REST resource that this object represents."}


def ref(name: str) -> Schema:
    """A reference to a schema of the same document."""
    return {"$ref": f"#/components/schemas/{name}"}


def _text(description: str, **more: Any) -> Schema:  # noqa: ANN401
    return {"type": "string", "description": description, **more}


_ENTRY: Final[Schema] = {
    "type": "object",
    "description": "One entry: exactly one value, in the field of its kind.",
    "required": ["kind"],
    "properties": {
        "kind": _text(f"What is named: {', '.join(EntryKind)}, in any letter case."),
        "description": _text("Why it is revoked.", maxLength=MAX_TEXT),
        "notBefore": _text(
            "Only what was issued before this time is revoked. Without it all existing and future matches are.",
            format="date-time",
        ),
        "serialNumber": _text("Hexadecimal; letter case, colons and leading zeros do not matter."),
        "group": _text("An organizationName of the subject.", maxLength=MAX_NAME),
        "dns": _text("A DNS name; with a leading dot, all names below it."),
        "ip": _text("An IP address, or a range as CIDR."),
        "commonName": _text("The commonName of the subject.", maxLength=MAX_NAME),
        "publicKey": _text("The SHA-256 of the SubjectPublicKeyInfo, in hexadecimal."),
        "includeRenewed": {
            "type": "boolean",
            "description": "Whether a serialNumber names the certificates renewed from it as well, as by default.",
        },
    },
}
RENEW_REVOCATION_SCHEMA: Final[Schema] = {
    "type": "object",
    "description": "RenewRevocation names certificates that are revoked, and that can no longer be issued or renewed.",
    "required": ["spec"],
    "properties": {
        "apiVersion": _API_VERSION,
        "kind": _KIND,
        "metadata": {
            "allOf": [ref(OBJECT_META)],
            "description": "Standard object's metadata.",
            "default": {},
        },
        "spec": {
            "type": "object",
            "description": "What is revoked.",
            "required": ["revocations"],
            "properties": {
                "description": _text("What all the entries are for.", maxLength=MAX_TEXT),
                "revocations": {
                    "type": "array",
                    "description": "The entries. Each holds by itself.",
                    "minItems": 1,
                    "maxItems": MAX_ENTRIES,
                    "items": _ENTRY,
                },
            },
        },
    },
}
_TEXTS: Final[Schema] = {"type": "array", "items": {"type": "string", "default": ""}}
_CONDITION: Final[Schema] = {
    "type": "object",
    "description": "CertificateSigningRequestCondition describes a condition of a CertificateSigningRequest.",
    "required": ["type", "status"],
    "properties": {
        "type": _text("Approved, Denied or Failed."),
        "status": _text("Of these three it is True."),
        "reason": _text("Why, in one word."),
        "message": _text("Why, in words."),
        "lastUpdateTime": _text("When it was last updated.", format="date-time"),
        "lastTransitionTime": _text("When it last went from one status to another.", format="date-time"),
    },
}
SIGNING_REQUEST_SCHEMA: Final[Schema] = {
    "type": "object",
    "description": "CertificateSigningRequest asks for a certificate by a certificate signing request, which is"
    " approved and issued, or denied. Trivet is the signer, so nobody else sets status.certificate.",
    "required": ["spec"],
    "properties": {
        "apiVersion": _API_VERSION,
        "kind": _KIND,
        "metadata": {"allOf": [ref(OBJECT_META)], "default": {}},
        "spec": {
            "type": "object",
            "description": "What is asked for; it never changes.",
            "required": ["request", "signerName"],
            "properties": {
                "request": _text("A PKCS#10 certificate request as PEM, in Base64.", format="byte"),
                "signerName": _text(f"One of {', '.join(PROFILES_BY_SIGNER)}."),
                "expirationSeconds": {
                    "type": "integer",
                    "format": "int32",
                    "description": "How long the certificate is to live; at least 600. It may live shorter.",
                },
                "usages": _TEXTS
                | {"description": "What the key is for: the usages of the signer, neither more nor less."},
                "username": _text("Who made the request; the server sets it."),
                "uid": _text("The UID of whoever made it; the server sets it."),
                "groups": _TEXTS | {"description": "The groups of whoever made it; the server sets them."},
                "extra": {
                    "type": "object",
                    "description": "More about whoever made it; the server sets it.",
                    "additionalProperties": _TEXTS,
                },
            },
        },
        "status": {
            "type": "object",
            "description": "What became of it.",
            "properties": {
                "certificate": _text("What was issued, as PEM in Base64.", format="byte"),
                "conditions": {
                    "type": "array",
                    "description": "Approved, Denied and Failed, as they came.",
                    "items": _CONDITION,
                    "x-kubernetes-list-map-keys": ["type"],
                    "x-kubernetes-list-type": "map",
                },
            },
        },
    },
}
META_SCHEMAS: Final[dict[str, Schema]] = {
    OBJECT_META: {
        "type": "object",
        "description": "ObjectMeta is metadata that all persisted resources must have.",
        "properties": {
            "name": _text("Name must be unique within a namespace."),
            "generateName": _text("A prefix, used by the server to generate a unique name."),
            "namespace": _text("Namespace defines the space within which each name must be unique."),
            "uid": _text("UID is the unique in time and space value for this object."),
            "resourceVersion": _text("An opaque value by which clients tell whether an object has changed."),
            "generation": {
                "type": "integer",
                "format": "int64",
                "description": "A sequence number of the desired state.",
            },
            "creationTimestamp": _text("When the object was created.", format="date-time"),
            "labels": {
                "type": "object",
                "description": "Map of string keys and values to organize and select objects.",
                "additionalProperties": {"type": "string", "default": ""},
            },
            "annotations": {
                "type": "object",
                "description": "Unstructured key value map set by tools.",
                "additionalProperties": {"type": "string", "default": ""},
            },
            "managedFields": {
                "type": "array",
                "description": "Which manager manages which fields.",
                "items": {"allOf": [ref(MANAGED_FIELDS)], "default": {}},
            },
        },
    },
    MANAGED_FIELDS: {
        "type": "object",
        "description": "A workflow-id, a set of fields and the version of the resource that it applies to.",
        "properties": {
            "apiVersion": _text("The version of this resource that this field set applies to."),
            "fieldsType": _text('The discriminator for the different fields format: "FieldsV1".'),
            "fieldsV1": {"type": "object", "description": "The set of fields."},
            "manager": _text("An identifier of the workflow managing these fields."),
            "operation": _text("Apply or Update."),
            "subresource": _text("The subresource used to update the object."),
            "time": _text("When the entry was last changed.", format="date-time"),
        },
    },
    LIST_META: {
        "type": "object",
        "description": "ListMeta describes metadata that synthetic resources must have.",
        "properties": {
            "continue": _text("A token for the next part of the list."),
            "remainingItemCount": {
                "type": "integer",
                "format": "int64",
                "description": "How many items follow.",
            },
            "resourceVersion": _text("The version of the list."),
        },
    },
}
# What apimachinery knows of metadata and this server does not tell about.
_MORE_METADATA: Final = (
    "selfLink",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "finalizers",
    "ownerReferences",
)


def known_fields(document: Any, schema: Mapping[str, Any]) -> tuple[Any, list[str]]:  # noqa: ANN401
    """A document without the fields that its schema does not know, and the paths of those."""
    unknown: list[str] = []
    return _known(document, schema, "", unknown), unknown


def _known(value: Any, schema: Mapping[str, Any], place: str, unknown: list[str]) -> Any:  # noqa: ANN401
    schema = _resolved(schema)
    properties = schema.get("properties")
    if isinstance(value, dict) and properties is not None:
        return dict(_members(value, properties, place, unknown))
    items = schema.get("items")
    if isinstance(value, list) and items is not None:
        return [_known(item, items, f"{place}[{index}]", unknown) for index, item in enumerate(value)]
    return value


def _members(
    value: dict[str, Any], properties: Mapping[str, Any], place: str, unknown: list[str]
) -> Iterator[tuple[str, Any]]:
    for key, member in value.items():
        path = f"{place}.{key}" if place else key
        if key in properties:
            yield key, _known(member, properties[key], path, unknown)
        elif place == "metadata" and key in _MORE_METADATA:
            yield key, member
        else:
            unknown.append(path)


def _resolved(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    for part in schema.get("allOf", ()):
        return META_SCHEMAS[part["$ref"].rpartition("/")[2]]
    return schema
