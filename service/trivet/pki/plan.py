"""What will be signed, and the check of what was.

A certificate is built from its profile plus what the profile lets the request choose; nothing else is
copied. After signing, the bytes are parsed again and compared with the plan, before they leave.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from trivet.pki.keys import check_public_key, spki
from trivet.pki.pem import UNREADABLE
from trivet.pki.validity import Validity, validity_of

if TYPE_CHECKING:
    from trivet.pki.keys import PublicKey
    from trivet.pki.names import Names
    from trivet.pki.profiles import Profile
    from trivet.pki.serials import SerialNumber


class WronglySignedError(Exception):
    """What was signed is not what was planned: a defect, never shown to a client, and nothing leaves."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """What a certificate states of the one who signs it, and must stay within."""

    subject: x509.Name
    key_identifier: bytes
    validity: Validity


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a certificate will say."""

    profile: Profile
    names: Names
    public_key: PublicKey
    validity: Validity
    serial: SerialNumber
    issuer: Issuer


def issuer_of(certificate: x509.Certificate) -> Issuer:
    """The issuer's side of the certificates that this CA certificate signs."""
    return Issuer(certificate.subject, key_identifier(certificate), validity_of(certificate))


def key_identifier(certificate: x509.Certificate) -> bytes:
    """The CA's subjectKeyIdentifier as it states it, or the SHA-1 of its key (RFC 5280 section 4.2.1.2)."""
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        return x509.SubjectKeyIdentifier.from_public_key(certificate.public_key()).digest


def plan_certificate(
    profile: Profile,
    names: Names,
    public_key: PublicKey,
    validity: Validity,
    serial: SerialNumber,
    issuer: Issuer,
) -> Plan:
    """Put together what will be signed.

    Raises:
        BadPublicKeyError: the profile does not accept the key.
    """
    check_public_key(public_key, profile.keys)
    return Plan(profile, names, public_key, validity, serial, issuer)


def certificate_builder(plan: Plan) -> x509.CertificateBuilder:
    """The unsigned certificate (RFC 5280 section 4.1)."""
    builder = (
        x509.CertificateBuilder()
        .serial_number(plan.serial)
        .issuer_name(plan.issuer.subject)
        .subject_name(subject(plan.names))
        .not_valid_before(plan.validity.not_before)
        .not_valid_after(plan.validity.not_after)
        .public_key(plan.public_key)
    )
    for value, critical in _extensions(plan):
        builder = builder.add_extension(value, critical=critical)
    return builder


def subject(names: Names) -> x509.Name:
    """The subject: each O in an RDN of its own, then the CN, as Kubernetes' own tools order them."""
    organizations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, value) for value in names.organizations]
    return x509.Name([*organizations, x509.NameAttribute(NameOID.COMMON_NAME, names.common_name)])


def _extensions(plan: Plan) -> list[tuple[x509.ExtensionType, bool]]:
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_key_usage(plan.public_key), True),
        (x509.ExtendedKeyUsage(plan.profile.usages), False),
        (x509.SubjectKeyIdentifier.from_public_key(plan.public_key), False),
        (x509.AuthorityKeyIdentifier(plan.issuer.key_identifier, None, None), False),
    ]
    sans = [*map(x509.DNSName, plan.names.dns_names), *map(x509.IPAddress, plan.names.ip_addresses)]
    if sans:
        extensions.append((x509.SubjectAlternativeName(sans), False))
    return extensions


def usages_of(certificate: x509.Certificate) -> tuple[x509.ObjectIdentifier, ...]:
    """The extended key usages of a certificate, in order."""
    try:
        return tuple(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except (x509.ExtensionNotFound, *UNREADABLE):
        return ()


def _key_usage(key: PublicKey) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        # RFC 8446 has no use for it, but TLS 1.2's RSA key exchange has; RFC 8813 forbids it for EC keys.
        key_encipherment=isinstance(key, rsa.RSAPublicKey),
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def check_signed(plan: Plan, der: bytes) -> x509.Certificate:
    """Parse what was signed and compare it, field by field, with the plan and the issuer's bounds.

    Returns:
        the certificate, parsed from the very bytes that will leave.

    Raises:
        WronglySignedError: it differs in any way. This is a defect of Trivet or of its signer.
    """
    try:
        certificate = x509.load_der_x509_certificate(der)
        differences = _differences(plan, certificate)
    except UNREADABLE as error:
        message = f"what was signed cannot be read: {error}"
        raise WronglySignedError(message) from error
    if differences:
        message = f"what was signed differs from its plan in {', '.join(differences)}"
        raise WronglySignedError(message)
    return certificate


def _differences(plan: Plan, certificate: x509.Certificate) -> list[str]:
    extensions = [(extension.value, extension.critical) for extension in certificate.extensions]
    checks = (
        ("version", certificate.version is x509.Version.v3),
        ("serialNumber", certificate.serial_number == plan.serial),
        # By octets: Go chains names so (crypto/x509), and x509.Name takes two string types for equal.
        ("issuer", certificate.issuer.public_bytes() == plan.issuer.subject.public_bytes()),
        ("subject", certificate.subject.public_bytes() == subject(plan.names).public_bytes()),
        ("validity", validity_of(certificate) == plan.validity),
        ("bounds", _within(plan.validity, plan.issuer.validity)),
        ("subjectPublicKeyInfo", spki(certificate.public_key()) == spki(plan.public_key)),
        ("extensions", extensions == _extensions(plan)),
    )
    return [name for name, equal in checks if not equal]


def _within(inner: Validity, outer: Validity) -> bool:
    return outer.not_before <= inner.not_before < inner.not_after <= outer.not_after
