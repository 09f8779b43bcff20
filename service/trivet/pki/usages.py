"""Key usages as Kubernetes names them in a CertificateSigningRequest, and which a profile is asked for with."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from cryptography.x509.oid import ExtendedKeyUsageOID

from trivet.pki.errors import Fault, InvalidError
from trivet.pki.profiles import FROM_REQUEST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trivet.pki.profiles import Profile

DIGITAL_SIGNATURE: Final = "digital signature"
KEY_ENCIPHERMENT: Final = "key encipherment"
_EXTENDED: Final = {
    ExtendedKeyUsageOID.SERVER_AUTH: "server auth",
    ExtendedKeyUsageOID.CLIENT_AUTH: "client auth",
}
# k8s.io/api/certificates/v1/types.go
KNOWN: Final = (
    "signing", DIGITAL_SIGNATURE, "content commitment", KEY_ENCIPHERMENT, "key agreement", "data encipherment",
    "cert sign", "crl sign", "encipher only", "decipher only", "any", "server auth", "client auth", "code signing",
    "email protection", "s/mime", "ipsec end system", "ipsec tunnel", "ipsec user", "timestamping", "ocsp signing",
    "microsoft sgc", "netscape sgc",
)  # fmt: skip


def usual_usages(profile: Profile) -> tuple[str, ...]:
    """What a request for the profile says where it leaves it to Trivet."""
    return DIGITAL_SIGNATURE, *(_EXTENDED[usage] for usage in profile.usages)


def check_usages(profile: Profile, usages: Sequence[str]) -> None:
    """Hold a request to the usages of its profile, neither more nor less (pkg/apis/certificates/helpers.go).

    Raises:
        InvalidError: some are missing, doubled, unknown, or none that the profile has.
    """
    needed = set(usual_usages(profile)) - ({DIGITAL_SIGNATURE} if _is_any_user(profile) else set())
    granted = {*usual_usages(profile), KEY_ENCIPHERMENT}
    faults = [
        *_faults(usages, [usage for usage in usages if usage not in KNOWN], "is no usage that there is"),
        *_faults(usages, [usage for usage, times in Counter(usages).items() if times > 1], "stands twice"),
        *_faults(
            usages,
            [usage for usage in usages if usage in KNOWN and usage not in granted],
            f"is none of the profile {profile.name}",
        ),
    ]
    if missing := [usage for usage in usual_usages(profile) if usage in needed and usage not in usages]:
        faults.append(Fault("/usages", f"must have {', '.join(missing)}"))
    if faults:
        wanted = ", ".join(usage for usage in usual_usages(profile) if usage in needed)
        allowed = ", ".join(sorted(granted - needed))
        message = f"the profile {profile.name} has the usages {wanted}, and if wanted {allowed}"
        raise InvalidError(message, *faults)


def _is_any_user(profile: Profile) -> bool:
    return profile.common_name == FROM_REQUEST


def _faults(usages: Sequence[str], wrong: Sequence[str], message: str) -> list[Fault]:
    return [Fault(f"/usages/{usages.index(usage)}", f"{usage[:80]!r} {message}") for usage in wrong]
