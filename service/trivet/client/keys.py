"""Keys and certificate requests, made where the key will live."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from trivet.pki.keys import KeyAlgorithm
from trivet.pki.subjects import parse_host

if TYPE_CHECKING:
    from collections.abc import Sequence

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey

_CURVES: Final = {
    KeyAlgorithm.P256: ec.SECP256R1(),
    KeyAlgorithm.P384: ec.SECP384R1(),
    KeyAlgorithm.P521: ec.SECP521R1(),
}
RSA_BITS: Final = 4096


def new_key(algorithm: KeyAlgorithm) -> PrivateKey:
    """Make a private key; RSA keys have 4096 bits."""
    match algorithm:
        case KeyAlgorithm.RSA:
            return rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
        case KeyAlgorithm.ED25519:
            return ed25519.Ed25519PrivateKey.generate()
        case _:
            return ec.generate_private_key(_CURVES[algorithm])


def key_pem(key: PrivateKey) -> bytes:
    """The key as unencrypted PKCS#8, PEM: for a file of mode 0600."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def build_request(
    key: PrivateKey,
    *,
    common_name: str | None = None,
    organizations: Sequence[str] = (),
    hosts: Sequence[str] = (),
) -> bytes:
    """Make a certificate request (PKCS #10, RFC 2986) and sign it.

    Args:
        key: the key to be certified.
        common_name: the subject's CN; the profile gives it where it is left out.
        organizations: the subject's O values.
        hosts: DNS names and IP addresses for the subjectAltName.

    Returns:
        DER.

    Raises:
        ValueError: a host is neither a DNS name nor an address, or a name is too long for its field.
    """
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, value) for value in organizations]
    if common_name is not None:
        attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, common_name))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes))
    if hosts:
        names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
        # RFC 5280 section 4.2.1.6: critical where the subject is empty.
        builder = builder.add_extension(names, critical=not attributes)
    return builder.sign(key, _digest(key)).public_bytes(Encoding.DER)


def _general_name(host: str) -> x509.GeneralName:
    parsed = parse_host(host.removeprefix("*."))
    if isinstance(parsed, ipaddress.IPv4Address | ipaddress.IPv6Address):
        return x509.IPAddress(parsed)
    return x509.DNSName(f"*.{parsed}" if host.startswith("*.") else parsed)


def _digest(key: PrivateKey) -> hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None:
    # RFC 5480 section 4: a digest about as strong as the curve.
    match key:
        case ed25519.Ed25519PrivateKey():
            return None
        case ec.EllipticCurvePrivateKey(curve=ec.SECP521R1()):
            return hashes.SHA512()
        case ec.EllipticCurvePrivateKey(curve=ec.SECP384R1()):
            return hashes.SHA384()
        case _:
            return hashes.SHA256()
