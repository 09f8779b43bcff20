"""Certificate requests (PKCS#10, RFC 2986): parsed strictly, proof of possession checked.

Hostile bytes are parsed by cryptography's Rust parser, never by hand.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID, NameOID, SignatureAlgorithmOID

from trivet.pki.errors import BadCSRError, BadPublicKeyError
from trivet.pki.keys import spki
from trivet.pki.names import (
    MAX_ATTRIBUTE,
    MAX_SANS,
    DnsName,
    IPAddress,
    Names,
    canonical_ip,
    is_attribute,
    parse_dns_name,
)
from trivet.pki.pem import UNREADABLE

if TYPE_CHECKING:
    from trivet.pki.keys import PublicKey

MAX_CSR_BYTES = 48 * 1024  # RSA-8192 with 100 SANs of full length, as PEM
_PEM = re.compile(rb"\s*-----BEGIN ((?:NEW )?CERTIFICATE REQUEST)-----[A-Za-z0-9+/=\s]+-----END \1-----\s*")
_ECDSA = {
    SignatureAlgorithmOID.ECDSA_WITH_SHA256: ec.ECDSA(hashes.SHA256()),
    SignatureAlgorithmOID.ECDSA_WITH_SHA384: ec.ECDSA(hashes.SHA384()),
    SignatureAlgorithmOID.ECDSA_WITH_SHA512: ec.ECDSA(hashes.SHA512()),
}
_WEAK_HASHES = (hashes.MD5, hashes.SHA1)
_KNOWN_EXTENSIONS = {
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    ExtensionOID.BASIC_CONSTRAINTS,
    ExtensionOID.KEY_USAGE,
    ExtensionOID.EXTENDED_KEY_USAGE,
}


@dataclass(frozen=True, slots=True)
class CertificateRequest:
    """What a CSR asks for, normalised; its self-signature has been verified.

    Attributes:
        der: the request as DER.
        common_name: the subject's CN, or "" for none.
        organizations: the subject's O values, in order, without repetitions.
        dns_names: the SAN dNSNames; wildcards are the profile's to judge.
        ip_addresses: the SAN iPAddresses.
        public_key: the key whose possession was proved.
        spki: that key as DER.
        spki_sha256: the hash of it.
    """

    der: bytes
    common_name: str
    organizations: tuple[str, ...]
    dns_names: tuple[DnsName, ...]
    ip_addresses: tuple[IPAddress, ...]
    public_key: PublicKey
    spki: bytes
    spki_sha256: str

    @property
    def names(self) -> Names:
        """The names that it asks for."""
        return Names(self.common_name, self.organizations, self.dns_names, self.ip_addresses)

    @property
    def sha256(self) -> str:
        """The hash of the request that its decision record keeps."""
        return hashlib.sha256(self.der).hexdigest()


Verifier = Callable[[x509.CertificateSigningRequest, "PublicKey", bytes], bool]
"""Tells whether a request's signature was made by the key that it holds, of which the SPKI is given, too (DER).

It raises one of `pem.UNREADABLE` for an algorithm that it does not know.
"""


def is_self_signed(
    request: x509.CertificateSigningRequest, public_key: PublicKey, encoded_key: bytes
) -> bool:
    """The `Verifier` that is cryptography's own.

    An ECDSA signature is given to the key that was read already: `is_signature_valid` would read it again (40 µs).
    """
    del encoded_key
    algorithm = _ECDSA.get(request.signature_algorithm_oid)
    if algorithm is None or not isinstance(public_key, ec.EllipticCurvePublicKey):
        return request.is_signature_valid
    try:
        public_key.verify(request.signature, request.tbs_certrequest_bytes, algorithm)
    except InvalidSignature:
        return False
    return True


def parse_certificate_request(body: bytes, verifier: Verifier = is_self_signed) -> CertificateRequest:
    """Read one CSR in PEM or DER and check that its sender holds the private key.

    Raises:
        BadCSRError: not one request, badly signed, or asking for what no profile grants.
        BadPublicKeyError: the key is of a kind that cannot be read.
    """
    if not 0 < len(body) <= MAX_CSR_BYTES:
        message = f"a certificate request has 1 to {MAX_CSR_BYTES} bytes, not {len(body)}"
        raise BadCSRError(message)
    request = _load(body)
    key, encoded_key = _proven_key(request, verifier)
    common_name, organizations = _subject(request)
    dns_names, ip_addresses = _subject_alternative_names(_extensions(request))
    return CertificateRequest(
        request.public_bytes(Encoding.DER),
        common_name,
        organizations,
        dns_names,
        ip_addresses,
        key,
        encoded_key,
        hashlib.sha256(encoded_key).hexdigest(),
    )


def _load(body: bytes) -> x509.CertificateSigningRequest:
    is_pem = b"-----BEGIN" in body
    if is_pem and not _PEM.fullmatch(body):
        message = "the body must be one PEM block 'CERTIFICATE REQUEST' and nothing else"
        raise BadCSRError(message)
    try:
        load = x509.load_pem_x509_csr if is_pem else x509.load_der_x509_csr
        return load(body)
    except UNREADABLE as error:
        message = "the body is not a PKCS#10 certificate request in PEM or DER"
        raise BadCSRError(message) from error


def _proven_key(request: x509.CertificateSigningRequest, verifier: Verifier) -> tuple[PublicKey, bytes]:
    try:
        key = request.public_key()
        encoded = spki(key)
        weak = isinstance(request.signature_hash_algorithm, _WEAK_HASHES)
        valid = weak or verifier(request, key, encoded)
    except UNREADABLE as error:
        message = "the key or signature algorithm of the request is not supported"
        raise BadPublicKeyError(message) from error
    if weak:
        message = (
            "the request is signed with MD5 or SHA-1, which can be forged; sign it with SHA-256 or better"
        )
        raise BadCSRError(message)
    if not valid:
        message = "the request's signature is wrong; sign the request with the key that it holds"
        raise BadCSRError(message)
    return key, encoded


def _subject(request: x509.CertificateSigningRequest) -> tuple[str, tuple[str, ...]]:
    try:
        subject = request.subject
    except UNREADABLE as error:
        message = f"the request's subject cannot be read: {error}"[:200]
        raise BadCSRError(message) from error
    values: dict[x509.ObjectIdentifier, list[str]] = {NameOID.COMMON_NAME: [], NameOID.ORGANIZATION_NAME: []}
    for attribute in subject:
        if attribute.oid not in values or not isinstance(attribute.value, str):
            message = f"the subject may hold CN and O only, not {attribute.rfc4514_attribute_name}"
            raise BadCSRError(message)
        if not is_attribute(attribute.value):
            message = f"a CN or O has 1 to {MAX_ATTRIBUTE} octets in UTF-8 and no control characters"
            raise BadCSRError(message)
        values[attribute.oid].append(attribute.value)
    common_names = values[NameOID.COMMON_NAME]
    if len(common_names) > 1:
        message = "the subject has more than one CN"
        raise BadCSRError(message)
    return "".join(common_names), tuple(dict.fromkeys(values[NameOID.ORGANIZATION_NAME]))


def _extensions(request: x509.CertificateSigningRequest) -> x509.Extensions:
    try:
        extensions = request.extensions
    except UNREADABLE as error:
        message = f"the request's extensions cannot be read: {error}"[:200]
        raise BadCSRError(message) from error
    for extension in extensions:
        if extension.critical and extension.oid not in _KNOWN_EXTENSIONS:
            message = f"the critical extension {extension.oid.dotted_string} is not known here"
            raise BadCSRError(message)
        asks_for_ca = isinstance(extension.value, x509.BasicConstraints) and extension.value.ca
        if asks_for_ca or (isinstance(extension.value, x509.KeyUsage) and extension.value.key_cert_sign):
            message = "the request asks for a CA certificate; no profile grants one"
            raise BadCSRError(message)
    return extensions


def _subject_alternative_names(
    extensions: x509.Extensions,
) -> tuple[tuple[DnsName, ...], tuple[IPAddress, ...]]:
    try:
        sans = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return (), ()
    names: list[DnsName] = []
    addresses: list[IPAddress] = []
    for san in sans:
        match san:
            case x509.DNSName():
                names.append(_dns_name(san.value))
            case x509.IPAddress(value=ipaddress.IPv4Address() | ipaddress.IPv6Address() as address):
                addresses.append(canonical_ip(address))
            case _:
                message = "subjectAltNames must be dNSName or iPAddress"
                raise BadCSRError(message)
    if len(names) + len(addresses) > MAX_SANS:
        message = f"a request may have at most {MAX_SANS} subjectAltNames"
        raise BadCSRError(message)
    return tuple(dict.fromkeys(names)), tuple(dict.fromkeys(addresses))


def _dns_name(text: str) -> DnsName:
    try:
        return parse_dns_name(text, wildcard=True)
    except ValueError as error:
        raise BadCSRError(str(error)) from error
