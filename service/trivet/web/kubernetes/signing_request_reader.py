"""Reading a CertificateSigningRequest into what is submitted: its form only, in the words of an API server."""

from __future__ import annotations

import base64
import binascii
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from trivet.authority.approval.submission import Submission
from trivet.pki.errors import Fault, InvalidError
from trivet.pki.kubernetes import PROFILES_BY_SIGNER
from trivet.web.kubernetes.status import Cause, bad_request, invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trivet.web.kubernetes.target import Target

_LEGACY: Final = "kubernetes.io/legacy-unknown"
_LARGEST: Final = (1 << 31) - 1
_MOST_USAGES: Final = 100  # there are 23, and each that is wrong is told
_PLACES: Final = {
    "profile": "/spec/signerName",
    "node": "/spec/request",
    "expirationSeconds": "/spec/expirationSeconds",
    "usages": "/spec/usages",
    "name": "/metadata/name",
    "generateName": "/metadata/generateName",
    "labels": "/metadata/labels",
    "annotations": "/metadata/annotations",
}


def read(target: Target, document: Mapping[str, Any]) -> Submission:
    """What a document submits; what the server sets is left out.

    Raises:
        StatusError: a value is of another type than it should be (400), or missing or wrong (422).
    """
    metadata, spec = document["metadata"], document.get("spec") or {}
    if not isinstance(spec, dict):
        raise bad_request("spec must be an object")
    target = target.named(str(metadata.get("name") or "")[:253])
    name, prefix = (_text(metadata, key, "metadata") for key in ("name", "generateName"))
    if not name:
        message = "Required value: name or generateName is required"
        raise invalid(target, Cause("FieldValueRequired", message, "metadata.name"))
    seconds = _seconds(spec)
    return Submission(
        _profile(target, _text(spec, "signerName", "spec")),
        _request(target, _text(spec, "request", "spec")),
        lifetime=timedelta(seconds=seconds) if seconds is not None else None,
        name=name,
        generate_name=prefix or None,
        usages=_usages(target, spec),
        labels=texts(metadata, "labels"),
        annotations=texts(metadata, "annotations"),
    )


def texts(metadata: Mapping[str, Any], name: str) -> dict[str, str]:
    """Labels or annotations.

    Raises:
        StatusError: they are no map of strings.
    """
    given = metadata.get(name) or {}
    if not isinstance(given, dict) or not all(isinstance(each, str | None) for each in given.values()):
        raise bad_request(f"metadata.{name} must be an object whose values are strings")
    return {key: value or "" for key, value in given.items()}


def told_as_written(error: InvalidError) -> InvalidError:
    """The refusal with its places as the document has them."""
    faults = []
    for fault in error.faults:
        first, slash, rest = fault.pointer.removeprefix("/").partition("/")
        faults.append(Fault(_PLACES.get(first, f"/{first}") + slash + rest, fault.message))
    return InvalidError(error.detail, *faults)


def _text(place: Mapping[str, Any], key: str, where: str) -> str:
    given = place.get(key)
    if given is not None and not isinstance(given, str):
        raise bad_request(f"{where}.{key} must be a string")
    return given or ""


def _profile(target: Target, signer: str) -> str:
    field = "spec.signerName"
    if not signer:
        raise invalid(target, Cause("FieldValueRequired", "Required value", field))
    if signer == _LEGACY:
        message = f'Invalid value: "{signer}": the legacy signerName is not allowed via this API version'
        raise invalid(target, Cause("FieldValueInvalid", message, field))
    profile = PROFILES_BY_SIGNER.get(signer)
    if profile is None:
        supported = ", ".join(f'"{each}"' for each in PROFILES_BY_SIGNER)
        message = f'Unsupported value: "{signer[:200]}": supported values: {supported}'
        raise invalid(target, Cause("FieldValueNotSupported", message, field))
    return profile.name


def _request(target: Target, text: str) -> bytes:
    """The PEM; Go's reader of Base64 passes over line breaks."""
    try:
        written = base64.b64decode(text.replace("\r", "").replace("\n", ""), validate=True)
    except (binascii.Error, ValueError) as error:
        raise bad_request("spec.request must be Base64 of a certificate request in PEM") from error
    if b"-----BEGIN CERTIFICATE REQUEST-----" not in written:
        message = "Invalid value: must be a PEM block of the type CERTIFICATE REQUEST, in Base64"
        raise invalid(target, Cause("FieldValueInvalid", message, "spec.request"))
    return written


def _seconds(spec: Mapping[str, Any]) -> int | None:
    given = spec.get("expirationSeconds")
    if given is None:
        return None
    if not isinstance(given, int) or isinstance(given, bool) or abs(given) > _LARGEST:
        raise bad_request("spec.expirationSeconds must be an integer of 32 bits")
    return given


def _usages(target: Target, spec: Mapping[str, Any]) -> tuple[str, ...]:
    given = spec.get("usages") or []
    if not isinstance(given, list) or not all(isinstance(usage, str) for usage in given):
        raise bad_request("spec.usages must be a list of strings")
    if len(given) > _MOST_USAGES:
        raise bad_request(f"spec.usages has at most {_MOST_USAGES} items")
    if not given:
        raise invalid(
            target, Cause("FieldValueRequired", "Required value: usages is required", "spec.usages")
        )
    return tuple(given)
