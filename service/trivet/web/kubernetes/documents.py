"""Objects as documents: rendered from what is stored, and checked before they are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from trivet.web.kubernetes.schema import known_fields
from trivet.web.kubernetes.status import Cause, StatusError, bad_request, invalid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from trivet.store.changes import ObjectImage
    from trivet.web.kubernetes.bodies import Document
    from trivet.web.kubernetes.options import Options
    from trivet.web.kubernetes.resources import Resource
    from trivet.web.kubernetes.schema import Schema
    from trivet.web.kubernetes.target import Target

# What would have to be honoured, and is not: who sets it must not believe it was.
_REFUSED_METADATA: Final = ("finalizers", "ownerReferences")
_NAME_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"  # apimachinery's util/rand
_SUFFIX: Final = 5
_LONGEST_PREFIX: Final = 58  # apiserver's storage/names


def document_of(image: ObjectImage, resource: Resource) -> dict[str, Any]:
    """An object as the API shows it."""
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": metadata_of(image),
        **image.body,
    }


def metadata_of(image: ObjectImage) -> dict[str, Any]:
    """An object's metadata; what is empty is left out."""
    metadata = {
        "annotations": dict(image.annotations),
        "creationTimestamp": time_text(image.created_at),
        "generateName": image.generate_name,
        "generation": image.generation,
        "labels": dict(image.labels),
        "managedFields": list(image.managed_fields),
        "name": image.name,
        "namespace": image.namespace,
        "resourceVersion": str(image.version) if image.version else "",
        "uid": str(image.id),
    }
    return {key: value for key, value in metadata.items() if value}


def partial_of(image: ObjectImage) -> dict[str, Any]:
    """An object's metadata alone."""
    return {"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": metadata_of(image)}


def time_text(time: datetime) -> str:
    """A time as metav1.Time writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def check_document(
    found: Document, target: Target, resource: Resource, schema: Schema, options: Options
) -> tuple[dict[str, Any], list[str]]:
    """A document that may be read as an object at its place, and what to beware of.

    Raises:
        StatusError: it is of another kind or place, or has unknown fields and those are to be refused.
    """
    document = check_place(found.value, target, resource)
    known, unknown = known_fields(document, schema)
    faults = [f'unknown field "{path[:200]}"' for path in unknown]
    faults += [f'duplicate field "{name[:200]}"' for name in found.doubled]
    if faults and options.validation == "Strict":
        told = f"strict decoding error: {', '.join(faults)}"
        raise bad_request(
            f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: {told}'
        )
    return known, faults if options.validation == "Warn" else []


def check_place(value: object, target: Target, resource: Resource) -> dict[str, Any]:
    """A document that is of the kind and at the place where it was sent; its name and namespace are set.

    Raises:
        StatusError: it is not (400), or asks for what is not honoured (422).
    """
    if not isinstance(value, dict):
        raise bad_request(f"the body must be an object of kind {resource.kind}")
    _check_kind(value, resource)
    metadata = value.get("metadata")
    metadata = {} if metadata is None else metadata
    if not isinstance(metadata, dict):
        raise bad_request("metadata must be an object")
    namespace, name = metadata.get("namespace") or target.namespace, metadata.get("name") or target.name
    if namespace != target.namespace:
        message = "the namespace of the provided object does not match the namespace sent on the request"
        raise bad_request(message)
    if target.name and name != target.name:
        message = f"the name of the object ({name}) does not match the name on the URL ({target.name})"
        raise bad_request(message[:400])
    for field in _REFUSED_METADATA:
        if metadata.get(field):
            raise invalid(
                target, Cause("FieldValueForbidden", "Forbidden: it is not supported", f"metadata.{field}")
            )
    placed = ({"namespace": namespace} if namespace else {}) | ({"name": name} if name else {})
    return value | {"metadata": metadata | placed}


def _check_kind(value: Mapping[str, Any], resource: Resource) -> None:
    api_version, kind = value.get("apiVersion"), value.get("kind")
    if api_version != resource.api_version:
        message = f"the API version in the data ({api_version}) does not match the expected API version"
        raise bad_request(f"{message[:300]} ({resource.api_version})")
    if kind != resource.kind:
        raise bad_request(
            f"the kind in the data ({kind}) does not match the expected kind ({resource.kind})"[:400]
        )


def generated_name(prefix: object, random: int) -> str:
    """A name that begins with the prefix; `random` has at least 32 bits.

    Raises:
        StatusError: the prefix is no text.
    """
    if not isinstance(prefix, str):
        raise bad_request("metadata.generateName must be a string")
    letters = []
    for _ in range(_SUFFIX):
        random, place = divmod(random, len(_NAME_ALPHABET))
        letters.append(_NAME_ALPHABET[place])
    return prefix[:_LONGEST_PREFIX] + "".join(letters)


def resource_version_of(document: Mapping[str, Any]) -> str:
    """metadata.resourceVersion; empty where there is none.

    Raises:
        StatusError: it is no text.
    """
    version = document.get("metadata", {}).get("resourceVersion") or ""
    if not isinstance(version, str):
        raise bad_request("metadata.resourceVersion must be a string")
    return version


def refuse_patched(faults: Sequence[str], patch: bytes, target: Target) -> StatusError:
    """422 for a patch that brings in what is not known (apiserver's handlers/patch.go)."""
    told = f"strict decoding error: {', '.join(faults)}"
    shown = patch[:200].decode("utf-8", "replace")
    return invalid(target, Cause("FieldValueInvalid", f'Invalid value: "{shown}": {told}', "patch"))
