"""The extensions of a certificate, in order."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtensionOID

from trivet.pki.der import OCTET_STRING, SEQUENCE, element
from trivet.pki.profiles import StatusPolicy

if TYPE_CHECKING:
    from trivet.pki.keys import PublicKey
    from trivet.pki.locations import StatusLocations
    from trivet.pki.names import Names
    from trivet.pki.plan import Plan

KINDS_KEPT: Final = 4096  # each profile of each authority is one, or two with RSA
NO_REV_AVAIL: Final = x509.ObjectIdentifier("2.5.29.56")  # id-ce-noRevAvail (RFC 9608 section 2)
_NULL: Final = b"\x05\x00"


def has_extensions(certificate: x509.Certificate, plan: Plan) -> bool:
    """Whether a certificate says in its extensions what the plan wants, in order, and nothing else."""
    is_rsa = isinstance(plan.public_key, rsa.RSAPublicKey)
    *before, after = fixed_extensions(plan.profile.usages, plan.issuer.key_identifier, is_rsa=is_rsa)
    status = status_extensions(plan.profile.status, plan.locations)
    expected = [*before, (x509.SubjectKeyIdentifier(plan.key_identifier), False), after, *status]
    stated = [(extension.value, extension.critical) for extension in certificate.extensions]
    return stated[: len(expected)] == expected and _has_names(stated[len(expected) :], plan.names)


def _has_names(rest: list[tuple[x509.ExtensionType, bool]], names: Names) -> bool:
    expected = [
        *((x509.DNSName, name) for name in names.dns_names),
        *((x509.IPAddress, address) for address in names.ip_addresses),
    ]
    if not expected:
        return not rest
    match rest:
        case [(x509.SubjectAlternativeName() as sans, False)]:
            return [(type(san), san.value) for san in sans] == expected
        case _:
            return False


@lru_cache(maxsize=KINDS_KEPT)
def fixed_extensions(
    usages: tuple[x509.ObjectIdentifier, ...], issuer_key_identifier: bytes, *, is_rsa: bool
) -> tuple[tuple[x509.ExtensionType, bool], ...]:
    """The extensions, and whether they are critical, that all certificates of one kind share.

    All come before the subjectKeyIdentifier but the last, which comes after it.
    """
    return (
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_key_usage(is_rsa=is_rsa), True),
        (x509.ExtendedKeyUsage(usages), False),
        (x509.AuthorityKeyIdentifier(issuer_key_identifier, None, None), False),
    )


@lru_cache(maxsize=KINDS_KEPT)
def status_extensions(
    policy: StatusPolicy, locations: StatusLocations | None
) -> tuple[tuple[x509.ExtensionType, bool], ...]:
    """What tells where a certificate's status is published, or that it is not; after all of `fixed_extensions`.

    Never critical (RFC 5280 sections 4.2.1.13 and 4.2.2.1, RFC 9608 section 2, RFC 6960 section 4.2.2.2.1).
    """
    if policy is StatusPolicy.NO_REV_AVAIL:
        return ((x509.UnrecognizedExtension(NO_REV_AVAIL, _NULL), False),)
    if policy is StatusPolicy.NO_CHECK:
        return ((x509.OCSPNoCheck(), False),)
    if locations is None:
        return ()
    point = x509.DistributionPoint([_uri(locations.crl)], None, None, None)
    access = [(AuthorityInformationAccessOID.CA_ISSUERS, locations.issuer)]
    if locations.ocsp is not None:
        access.insert(0, (AuthorityInformationAccessOID.OCSP, locations.ocsp))
    described = [x509.AccessDescription(method, _uri(url)) for method, url in access]
    return (
        (x509.CRLDistributionPoints([point]), False),
        (x509.AuthorityInformationAccess(described), False),
    )


def _uri(url: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(url)


@lru_cache(maxsize=KINDS_KEPT)
def status_octets(policy: StatusPolicy, locations: StatusLocations | None) -> bytes:
    """The one encoding of `status_extensions`, as they stand in the certificate one after the other."""
    # None is critical, so there is nothing between the OBJECT IDENTIFIER and the value (DER omits the DEFAULT).
    return b"".join(
        element(SEQUENCE, _OIDS[value.oid], element(OCTET_STRING, value.public_bytes()))
        for value, _ in status_extensions(policy, locations)
    )


_OIDS: Final = {
    ExtensionOID.CRL_DISTRIBUTION_POINTS: bytes.fromhex("0603551d1f"),
    ExtensionOID.AUTHORITY_INFORMATION_ACCESS: bytes.fromhex("06082b06010505070101"),
    NO_REV_AVAIL: bytes.fromhex("0603551d38"),
    ExtensionOID.OCSP_NO_CHECK: bytes.fromhex("06092b0601050507300105"),
}


def _key_usage(*, is_rsa: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        # RFC 8446 has no use for it, but TLS 1.2's RSA key exchange has; RFC 8813 forbids it for EC keys.
        key_encipherment=is_rsa,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def key_usage_octets(key: PublicKey) -> bytes:
    """The one encoding of the keyUsage of a certificate for this key."""
    # cryptography reads a BIT STRING that states another number of unused bits as the same usages.
    return _KEY_USAGES[isinstance(key, rsa.RSAPublicKey)]


_KEY_USAGES = [element(OCTET_STRING, _key_usage(is_rsa=is_rsa).public_bytes()) for is_rsa in (False, True)]
