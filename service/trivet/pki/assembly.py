"""A certificate put together from DER, much of it prepared: the way in which Trivet makes what it signs.

cryptography's builder makes the same octets and takes two to four times as long; a test holds the two to each other.
What is made here is never trusted: `pki.plan.check_signed` reads all of it again by cryptography.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtensionOID

from trivet.pki.der import (
    DNS_NAME,
    IP_ADDRESS,
    OCTET_STRING,
    SEQUENCE,
    bit_string,
    element,
    explicit,
    integer,
    time,
)
from trivet.pki.extensions import fixed_extensions, status_octets

if TYPE_CHECKING:
    from trivet.pki.names import Names
    from trivet.pki.plan import Plan

_KINDS_KEPT = 4096  # each profile of each authority is one, or two with RSA
_VERSION_3 = element(explicit(0), integer(2))
_TRUE = b"\x01\x01\xff"
# RFC 5280 section 4.2.1, id-ce.
_OIDS = {
    ExtensionOID.SUBJECT_KEY_IDENTIFIER: bytes.fromhex("0603551d0e"),
    ExtensionOID.KEY_USAGE: bytes.fromhex("0603551d0f"),
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME: bytes.fromhex("0603551d11"),
    ExtensionOID.BASIC_CONSTRAINTS: bytes.fromhex("0603551d13"),
    ExtensionOID.AUTHORITY_KEY_IDENTIFIER: bytes.fromhex("0603551d23"),
    ExtensionOID.EXTENDED_KEY_USAGE: bytes.fromhex("0603551d25"),
}


def assemble(plan: Plan) -> bytes:
    """The TBSCertificate (RFC 5280 section 4.1), DER: what the authority signs."""
    issuer, validity = plan.issuer, plan.validity
    return element(
        SEQUENCE,
        _VERSION_3,
        integer(plan.serial),
        issuer.algorithm,
        issuer.subject_der,
        element(SEQUENCE, time(validity.not_before), time(validity.not_after)),
        plan.subject_der,
        plan.spki,
        element(explicit(3), element(SEQUENCE, *_extensions(plan))),
    )


def certificate_of(tbs: bytes, algorithm: bytes, signature: bytes) -> bytes:
    """The certificate, DER: what was signed, by which AlgorithmIdentifier, and the signature."""
    return element(SEQUENCE, tbs, algorithm, bit_string(signature))


def _extensions(plan: Plan) -> tuple[bytes, ...]:
    is_rsa = isinstance(plan.public_key, rsa.RSAPublicKey)
    before, after = _prepared(plan.profile.usages, plan.issuer.key_identifier, is_rsa=is_rsa)
    own = _extension(x509.SubjectKeyIdentifier(plan.key_identifier), critical=False)
    status = status_octets(plan.profile.status, plan.locations)
    return (before, own, after, status, _alternative_names(plan.names))


def _alternative_names(names: Names) -> bytes:
    """The subjectAltName; nothing where there is none."""
    hosts = [element(DNS_NAME, name.encode("ascii")) for name in names.dns_names]
    addresses = [element(IP_ADDRESS, address.packed) for address in names.ip_addresses]
    if not hosts and not addresses:
        return b""
    value = element(OCTET_STRING, element(SEQUENCE, *hosts, *addresses))
    return element(SEQUENCE, _OIDS[ExtensionOID.SUBJECT_ALTERNATIVE_NAME], value)


def _extension(value: x509.ExtensionType, *, critical: bool) -> bytes:
    return element(
        SEQUENCE,
        _OIDS[value.oid],
        _TRUE if critical else b"",
        element(OCTET_STRING, value.public_bytes()),
    )


@lru_cache(maxsize=_KINDS_KEPT)  # 0.2 µs for 4
def _prepared(
    usages: tuple[x509.ObjectIdentifier, ...], issuer_key_identifier: bytes, *, is_rsa: bool
) -> tuple[bytes, bytes]:
    """The extensions that all certificates of one kind share: those before the holder's key identifier, and after."""
    *before, after = (
        _extension(value, critical=critical)
        for value, critical in fixed_extensions(usages, issuer_key_identifier, is_rsa=is_rsa)
    )
    return b"".join(before), after
