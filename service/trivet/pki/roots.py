"""Root certificates: the self-signed CAs that a cluster stands on, made or imported."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from trivet.pki.errors import InvalidError
from trivet.pki.keys import key_algorithm, spki
from trivet.pki.pem import UNREADABLE
from trivet.pki.profiles import AuthorityName
from trivet.pki.validity import BACKDATE, ROOT_LIFETIME, Validity, validity_of

if TYPE_CHECKING:
    from datetime import datetime

    from trivet.pki.keys import IssuerPublicKey
    from trivet.pki.serials import SerialNumber


class RootAlgorithm(StrEnum):
    """Keys that Trivet makes for authorities, by the names of kubeadm's `encryptionAlgorithm`."""

    P384 = "ECDSA-P384"
    RSA_4096 = "RSA-4096"


_TITLES = {
    AuthorityName.CLUSTER: "Cluster CA",
    AuthorityName.ETCD: "etcd CA",
    AuthorityName.FRONT_PROXY: "Front Proxy CA",
    AuthorityName.SERVICE: "Service CA",
}
_OLDEST_RSA_BITS = 2048  # what kubeadm made before 1.31; a living cluster's root is taken as it is


def root_subject(authority: AuthorityName, cluster: str) -> x509.Name:
    """The subject of a root: which CA of which cluster; distinct, so that a mix-up shows at once."""
    title = f"{cluster[: 63 - len(_TITLES[authority])]} {_TITLES[authority]}".lstrip()
    # The CN may have to cut a long name; the O holds it whole.
    attributes = {NameOID.ORGANIZATION_NAME: cluster, NameOID.COMMON_NAME: title}
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes.items()])


def root_validity(now: datetime) -> Validity:
    """Ten years, from a little before now."""
    not_before = now.replace(microsecond=0) - BACKDATE
    return Validity(not_before, not_before + ROOT_LIFETIME)


def root_builder(
    subject: x509.Name, public_key: IssuerPublicKey, serial: SerialNumber, validity: Validity
) -> x509.CertificateBuilder:
    """The unsigned root (RFC 5280 sections 4.2.1.2, 4.2.1.3 and 4.2.1.9): CA:TRUE, pathlen:0."""
    identifier = x509.SubjectKeyIdentifier.from_public_key(public_key)
    return (
        x509.CertificateBuilder()
        .serial_number(serial)
        .issuer_name(subject)
        .subject_name(subject)
        .not_valid_before(validity.not_before)
        .not_valid_after(validity.not_after)
        .public_key(public_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_ROOT_KEY_USAGE, critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier(identifier.digest, None, None), critical=False)
    )


_ROOT_KEY_USAGE = x509.KeyUsage(
    digital_signature=True,
    key_cert_sign=True,
    crl_sign=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)


def check_imported_root(certificate: x509.Certificate, key: object, now: datetime) -> None:
    """Accept a running cluster's own root with its key.

    Raises:
        InvalidError: it is not a self-signed CA, is expired, or the key is another's or of no accepted kind.
    """
    validity = validity_of(certificate)
    if not _is_ca(certificate):
        message = (
            "the certificate is not a CA: it needs CA:TRUE, keyCertSign in any keyUsage, and a plain subject"
        )
    elif not _is_self_signed(certificate):
        message = "the certificate is not self-signed; import the root that the cluster trusts"
    elif not validity.contains(now):
        message = f"the certificate is valid from {validity.not_before} to {validity.not_after} only"
    elif not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) or not key_algorithm(
        key.public_key()
    ):
        message = "the private key must be RSA, or EC on P-256, P-384 or P-521"
    elif isinstance(key, rsa.RSAPrivateKey) and key.key_size < _OLDEST_RSA_BITS:
        message = f"the RSA key has fewer than {_OLDEST_RSA_BITS} bits"
    elif spki(key.public_key()) != spki(certificate.public_key()):
        message = "the private key does not belong to the certificate"
    else:
        return
    raise InvalidError(message)


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        extensions = certificate.extensions
        constraints = extensions.get_extension_for_class(x509.BasicConstraints).value
        # Every leaf repeats it as its issuer, so it must be read; an empty one names nobody.
        subject = certificate.subject
    except (x509.ExtensionNotFound, *UNREADABLE):
        return False
    usages = [extension.value for extension in extensions if isinstance(extension.value, x509.KeyUsage)]
    return constraints.ca and len(subject.rdns) > 0 and all(usage.key_cert_sign for usage in usages)


def _is_self_signed(certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(certificate)
    except (InvalidSignature, *UNREADABLE):
        return False
    return True
