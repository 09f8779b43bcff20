"""A certificate as cryptography's own builder makes it from a plan: what the assembly is held to."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

from trivet.pki.names import Names
from trivet.pki.plan import Plan
from trivet.pki.profiles import StatusPolicy


def certificate_builder(plan: Plan) -> x509.CertificateBuilder:
    """Give the unsigned certificate (RFC 5280 section 4.1)."""
    builder = (
        x509.CertificateBuilder()
        .serial_number(plan.serial)
        .issuer_name(plan.issuer.subject)
        .subject_name(_subject(plan.names))
        .not_valid_before(plan.validity.not_before)
        .not_valid_after(plan.validity.not_after)
        .public_key(plan.public_key)
    )
    for value, critical in _extensions(plan):
        builder = builder.add_extension(value, critical=critical)
    return builder


def _subject(names: Names) -> x509.Name:
    organizations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, value) for value in names.organizations]
    return x509.Name([*organizations, x509.NameAttribute(NameOID.COMMON_NAME, names.common_name)])


def _extensions(plan: Plan) -> list[tuple[x509.ExtensionType, bool]]:
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_key_usage(encipherment=isinstance(plan.public_key, rsa.RSAPublicKey)), True),
        (x509.ExtendedKeyUsage(plan.profile.usages), False),
        (x509.SubjectKeyIdentifier.from_public_key(plan.public_key), False),
        (x509.AuthorityKeyIdentifier(plan.issuer.key_identifier, None, None), False),
    ]
    extensions += _status(plan)
    sans = [*map(x509.DNSName, plan.names.dns_names), *map(x509.IPAddress, plan.names.ip_addresses)]
    if sans:
        extensions.append((x509.SubjectAlternativeName(sans), False))
    return extensions


def _status(plan: Plan) -> list[tuple[x509.ExtensionType, bool]]:
    if plan.profile.status is StatusPolicy.NO_REV_AVAIL:
        return [(x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.56"), b"\x05\x00"), False)]
    if plan.profile.status is StatusPolicy.NO_CHECK:
        return [(x509.OCSPNoCheck(), False)]
    if plan.locations is None:
        return []
    point = x509.DistributionPoint(
        [x509.UniformResourceIdentifier(plan.locations.crl)],
        relative_name=None,
        reasons=None,
        crl_issuer=None,
    )
    access = [
        x509.AccessDescription(method, x509.UniformResourceIdentifier(url))
        for method, url in (
            (AuthorityInformationAccessOID.OCSP, plan.locations.ocsp),
            (AuthorityInformationAccessOID.CA_ISSUERS, plan.locations.issuer),
        )
        if url is not None
    ]
    return [(x509.CRLDistributionPoints([point]), False), (x509.AuthorityInformationAccess(access), False)]


def _key_usage(*, encipherment: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_encipherment=encipherment,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
