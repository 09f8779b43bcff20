"""What will be signed, and the check of what was.

A certificate is built from its profile plus what the profile lets the request choose; nothing else is
copied. After signing, the bytes are parsed again and compared with the plan, before they leave.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.x509.oid import NameOID

from trivet.pki.der import COMMON_NAME, ORGANIZATION, bit_string, distinguished_name
from trivet.pki.extensions import has_extensions, key_usage_octets, status_octets
from trivet.pki.keys import check_public_key, key_identifier, signature_algorithm, spki
from trivet.pki.pem import UNREADABLE
from trivet.pki.profiles import StatusPolicy
from trivet.pki.validity import Validity, validity_of

if TYPE_CHECKING:
    from trivet.pki.keys import PublicKey
    from trivet.pki.locations import StatusLocations
    from trivet.pki.names import Names
    from trivet.pki.profiles import Profile
    from trivet.pki.serials import SerialNumber


class WronglySignedError(Exception):
    """What was signed is not what was planned: a defect, never shown to a client, and nothing leaves."""


@dataclass(frozen=True)
class Issuer:
    """What a certificate states of the one who signs it, and must stay within.

    Attributes:
        subject: its name.
        key_identifier: its subjectKeyIdentifier.
        validity: what its certificates stay within.
        algorithm: the AlgorithmIdentifier by which it signs, DER.
    """

    subject: x509.Name
    key_identifier: bytes
    validity: Validity
    algorithm: bytes

    @cached_property
    def subject_der(self) -> bytes:
        """Its name as the octets that its certificates repeat."""
        return self.subject.public_bytes()


@dataclass(frozen=True)
class Plan:
    """Everything that a certificate will say.

    Attributes:
        spki: the public key as it will be stated, DER.
        locations: where its status will be published; None where it does not say.
    """

    profile: Profile
    names: Names
    public_key: PublicKey
    spki: bytes
    validity: Validity
    serial: SerialNumber
    issuer: Issuer
    locations: StatusLocations | None = None

    @cached_property
    def subject_der(self) -> bytes:
        """The subject as octets: each O in an RDN of its own, then the CN, as Kubernetes' own tools order them."""
        return distinguished_name(
            *((ORGANIZATION, value) for value in self.names.organizations),
            (COMMON_NAME, self.names.common_name),
        )

    @cached_property
    def key_identifier(self) -> bytes:
        """The subjectKeyIdentifier."""
        return key_identifier(self.public_key, self.spki)


def issuer_of(certificate: x509.Certificate) -> Issuer:
    """The issuer's side of the certificates that this CA certificate signs.

    Raises:
        ValueError: its key is of a kind that no authority has.
    """
    algorithm = signature_algorithm(certificate.public_key()).identifier
    identifier = stated_key_identifier(certificate)
    return Issuer(certificate.subject, identifier, validity_of(certificate), algorithm)


def stated_key_identifier(certificate: x509.Certificate) -> bytes:
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
    *,
    encoded_key: bytes | None = None,
    locations: StatusLocations | None = None,
) -> Plan:
    """Put together what will be signed.

    Args:
        profile: what is asked for.
        names: what the profile grants.
        public_key: the holder's.
        validity: from when to when.
        serial: new.
        issuer: who will sign.
        encoded_key: the `spki` of the public key, where it is known already.
        locations: where its status is published; a profile without revocation takes no notice of it.

    Raises:
        BadPublicKeyError: the profile does not accept the key.
    """
    check_public_key(public_key, profile.keys)
    if profile.status is not StatusPolicy.PUBLISHED:
        locations = None
    return Plan(
        profile, names, public_key, encoded_key or spki(public_key), validity, serial, issuer, locations
    )


def _subject(names: Names) -> list[tuple[x509.ObjectIdentifier, str]]:
    organizations = [(NameOID.ORGANIZATION_NAME, value) for value in names.organizations]
    return [*organizations, (NameOID.COMMON_NAME, names.common_name)]


def usages_of(certificate: x509.Certificate) -> tuple[x509.ObjectIdentifier, ...]:
    """The extended key usages of a certificate, in order."""
    try:
        return tuple(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except (x509.ExtensionNotFound, *UNREADABLE):
        return ()


def check_signed(plan: Plan, der: bytes) -> x509.Certificate:
    """Parse what was signed and compare it, field by field, with the plan and the issuer's bounds.

    Returns:
        the certificate, parsed from the very bytes that will leave.

    Raises:
        WronglySignedError: it differs in any way. This is a defect of Trivet or of its signer.
    """
    try:
        certificate = x509.load_der_x509_certificate(der)
        differences = _differences(plan, certificate, der)
    except UNREADABLE as error:
        message = f"what was signed cannot be read: {error}"
        raise WronglySignedError(message) from error
    if differences:
        message = f"what was signed differs from its plan in {', '.join(differences)}"
        raise WronglySignedError(message)
    return certificate


def _differences(plan: Plan, certificate: x509.Certificate, der: bytes) -> list[str]:
    algorithm = plan.issuer.algorithm
    # Names by value and by octets: Go chains them by these (crypto/x509), and x509.Name takes two string types for
    # equal. To encode again what was read takes 15 µs; that the planned octets stand there is as good.
    issuer, subject = plan.issuer.subject_der, plan.subject_der
    holder = [(attribute.oid, attribute.value) for attribute in certificate.subject]
    checks = (
        ("version", certificate.version is x509.Version.v3),
        ("serialNumber", certificate.serial_number == plan.serial),
        # cryptography does not tell this field; it stands before the issuer.
        ("signature", algorithm + issuer in der or issuer not in der),
        ("issuer", certificate.issuer == plan.issuer.subject and issuer in der),
        ("validity", validity_of(certificate) == plan.validity),
        ("bounds", _within(plan.validity, plan.issuer.validity)),
        ("subject", holder == _subject(plan.names) and subject in der),
        # The key that is read, and its octets after the subject: to encode it again takes 19 µs (P-384).
        (
            "subjectPublicKeyInfo",
            certificate.public_key() == plan.public_key
            and (subject + plan.spki in der or subject not in der),
        ),
        (
            "extensions",
            has_extensions(certificate, plan)
            and key_usage_octets(plan.public_key) in der
            and status_octets(plan.profile.status, plan.locations) in der,
        ),
        ("signatureAlgorithm", der.endswith(algorithm + bit_string(certificate.signature))),
    )
    return [name for name, equal in checks if not equal]


def _within(inner: Validity, outer: Validity) -> bool:
    return outer.not_before <= inner.not_before < inner.not_after <= outer.not_after
