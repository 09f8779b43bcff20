"""What a CertificateSigningRequest of a cluster is to its external signer. Pure: objects in, a verdict out.

Source: Kubernetes' "Certificate Signing Requests" and `pkg/controller/certificates/signer/signer.go`.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from trivet.pki.errors import InvalidError
from trivet.pki.usages import check_usages

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trivet.pki.profiles import Profile
    from trivet.signer.resources import Object

APPROVED, DENIED, FAILED = "Approved", "Denied", "Failed"
_TRUE: Final = "True"


@dataclass(frozen=True, slots=True)
class Wish:
    """An approved request, as Trivet is asked for it.

    Attributes:
        profile: by the signerName.
        request: the CSR, PEM.
        expiration_seconds: the longest wanted.
        uid: of the object: one certificate for each, whoever asks how often.
    """

    profile: Profile
    request: bytes = field(repr=False)
    expiration_seconds: int | None
    uid: str


@dataclass(frozen=True, slots=True)
class Unfit:
    """An approved request that its signerName's rules do not allow."""

    message: str


def is_open(found: Object, profiles: Mapping[str, Profile]) -> bool:
    """Whether a request is for one of these signerNames, and nothing was decided about its certificate yet."""
    spec, status = _part(found, "spec"), _part(found, "status")
    is_decided = bool(status.get("certificate")) or not _conditions(found).keys().isdisjoint({DENIED, FAILED})
    is_going = bool(found["metadata"].get("deletionTimestamp"))
    return spec.get("signerName") in profiles and not is_decided and not is_going


def judge(found: Object, profiles: Mapping[str, Profile]) -> Wish | Unfit | None:
    """What is to be done about a request; None for nothing: it is not ours, not approved, or done."""
    if not is_open(found, profiles) or _conditions(found).get(APPROVED) != _TRUE:
        return None
    spec = _part(found, "spec")
    profile = profiles[spec["signerName"]]
    try:
        check_usages(profile, [str(usage) for usage in spec.get("usages") or ()])
        request = base64.b64decode(str(spec.get("request") or ""), validate=True)
    except InvalidError as refusal:
        return Unfit(
            "; ".join((refusal.detail, *(f"{fault.pointer} {fault.message}" for fault in refusal.faults)))
        )
    except binascii.Error:
        return Unfit("spec.request is not Base64")
    seconds = spec.get("expirationSeconds")
    return Wish(profile, request, int(seconds) if seconds else None, str(found["metadata"]["uid"]))


def _part(found: Object, name: str) -> dict[str, Any]:
    part = found.get(name)
    return part if isinstance(part, dict) else {}


def _conditions(found: Object) -> dict[str, str]:
    """The status of each condition by its type."""
    items = _part(found, "status").get("conditions") or ()
    return {str(item.get("type")): str(item.get("status")) for item in items if isinstance(item, dict)}
