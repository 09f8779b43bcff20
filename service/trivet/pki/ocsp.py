"""OCSP requests (RFC 6960 section 4.1): read strictly, one certificate or several, with or without a nonce.

Hostile bytes are read by cryptography's Rust parser, by way of `cryptography.hazmat.asn1`, which is told the types of
the RFC: its OCSP loader takes requests for one certificate only. Nothing here walks DER by hand.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

from cryptography import x509  # noqa: TC002  asn1 reads the annotations
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import OCSPExtensionOID

from trivet.pki.errors import MalformedError
from trivet.pki.pem import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trivet.pki.keys import PublicKey

MAX_REQUEST_BYTES: Final = 16 * 1024
MAX_CERTIFICATES: Final = 64
"""How many certificates one request may ask about: a batch costs a look-up for each, and one signature."""

MAX_NONCE_BYTES: Final = 128  # RFC 9654 section 2.1
_MAX_SERIAL_BITS: Final = 160  # RFC 5280 section 4.1.2.2
# By the OID of the CertID's hashAlgorithm. SHA-1 only names the issuer here (RFC 5019 section 2.1.1).
DIGESTS: Final = {
    "1.3.14.3.2.26": "sha1",
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
}
# Trivet gives the basic response type in any case, so whoever demands it gets what they demand.
_UNDERSTOOD: Final = frozenset({OCSPExtensionOID.NONCE, OCSPExtensionOID.ACCEPTABLE_RESPONSES})


@dataclass(frozen=True, slots=True)
class CertId:
    """A certificate as a request names it: the hashes of its issuer's name and key, and its serial number.

    Attributes:
        digest: by which the hashes were made, a name of hashlib's; "" for one that is not known here.
        der: the CertID, which the answer repeats.
    """

    digest: str
    issuer_name_hash: bytes
    issuer_key_hash: bytes
    serial: int
    der: bytes

    @property
    def issuer(self) -> IssuerId:
        """Who is said to have issued it."""
        return (self.digest, self.issuer_name_hash, self.issuer_key_hash)


IssuerId = tuple[str, bytes, bytes]
"""A digest, and by it the hashes of an issuer's name and key."""


@dataclass(frozen=True, slots=True)
class StatusRequest:
    """What somebody wants to know.

    Attributes:
        certificates: that they ask about, in order.
        nonce: that the answer has to repeat; None where they sent none.
        is_plain: it holds nothing but the certificates, so that whoever sends the same may get the same answer.
    """

    certificates: tuple[CertId, ...]
    nonce: bytes | None
    is_plain: bool


# The types of RFC 6960 section 4.1.1. The order of fields is that of the encoding.


@asn1.sequence
class _AlgorithmIdentifier:
    algorithm: x509.ObjectIdentifier
    parameters: asn1.Null | None  # absent or NULL for all digests (RFC 5754 section 2)


@asn1.sequence
class _CertId:
    hash_algorithm: _AlgorithmIdentifier
    issuer_name_hash: bytes
    issuer_key_hash: bytes
    serial_number: int


@asn1.sequence
class _Extension:
    identifier: x509.ObjectIdentifier
    critical: Annotated[bool, asn1.Default(value=False)]
    value: bytes


@asn1.sequence
class _Request:
    certificate: _CertId
    extensions: Annotated[list[_Extension] | None, asn1.Explicit(0)]


@asn1.sequence
class _TbsRequest:
    version: Annotated[int, asn1.Explicit(0), asn1.Default(value=0)]
    # [1] EXPLICIT GeneralName and below [0] EXPLICIT Signature: read as any one value, and left alone.
    requestor: Annotated[list[asn1.TLV] | None, asn1.Implicit(1)]
    requests: Annotated[list[_Request], asn1.Size(min=1, max=MAX_CERTIFICATES)]
    extensions: Annotated[list[_Extension] | None, asn1.Explicit(2)]


@asn1.sequence
class _OcspRequest:
    tbs: _TbsRequest
    signature: Annotated[list[asn1.TLV] | None, asn1.Implicit(0)]


def parse_status_request(body: bytes) -> StatusRequest:
    """Read one OCSP request, DER.

    A signature and the name of who asks are accepted and not looked at: everybody gets the same answers
    (RFC 5019 section 2.1.1).

    Raises:
        MalformedError: it is none; it is too large or asks about too many; a critical extension is not understood.
    """
    if not 0 < len(body) <= MAX_REQUEST_BYTES:
        message = f"an OCSP request has 1 to {MAX_REQUEST_BYTES} octets, not {len(body)}"
        raise MalformedError(message)
    try:
        request = asn1.decode_der(_OcspRequest, body)
        nonce = _nonce(request.tbs.extensions)
    except UNREADABLE as error:
        message = f"this is no OCSP request in DER, about 1 to {MAX_CERTIFICATES} certificates"
        raise MalformedError(message) from error
    tbs = request.tbs
    if tbs.version != 0 or any(
        part is not None and len(part) != 1 for part in (tbs.requestor, request.signature)
    ):
        message = "this is no OCSP request of version 1"
        raise MalformedError(message)
    for extensions in (tbs.extensions, *(one.extensions for one in tbs.requests)):
        _check_extensions(extensions or ())
    return StatusRequest(
        tuple(_cert_id(one.certificate) for one in tbs.requests), nonce, is_plain=_is_plain(request)
    )


def _nonce(extensions: Sequence[_Extension] | None) -> bytes | None:
    """The nonce.

    Raises:
        ValueError: it is no OCTET STRING of the lengths that there may be (RFC 9654 section 2.1).
    """
    for extension in extensions or ():
        if extension.identifier == OCSPExtensionOID.NONCE:
            nonce = asn1.decode_der(bytes, extension.value)
            if not 0 < len(nonce) <= MAX_NONCE_BYTES:
                message = "length of the nonce"
                raise ValueError(message)
            return nonce
    return None


def _check_extensions(extensions: Sequence[_Extension]) -> None:
    known: set[x509.ObjectIdentifier] = set()
    for extension in extensions:
        if extension.critical and extension.identifier not in _UNDERSTOOD:
            message = f"the critical extension {extension.identifier.dotted_string} is not understood here"
            raise MalformedError(message)
        if extension.identifier in known:
            message = f"the extension {extension.identifier.dotted_string} is there twice"
            raise MalformedError(message)
        known.add(extension.identifier)


def _cert_id(asked: _CertId) -> CertId:
    if not 0 <= asked.serial_number < 1 << _MAX_SERIAL_BITS:
        message = "a serial number has at most 20 octets, and is not negative"
        raise MalformedError(message)
    return CertId(
        DIGESTS.get(asked.hash_algorithm.algorithm.dotted_string, ""),
        asked.issuer_name_hash,
        asked.issuer_key_hash,
        asked.serial_number,
        asn1.encode_der(asked),
    )


def _is_plain(request: _OcspRequest) -> bool:
    tbs = request.tbs
    optional = (tbs.requestor, tbs.extensions, request.signature, *(one.extensions for one in tbs.requests))
    return all(part is None for part in optional)


def issuer_ids(certificate: x509.Certificate) -> frozenset[IssuerId]:
    """What requests about certificates of this CA call their issuer, by each digest (RFC 6960 section 4.1.1)."""
    name, key = certificate.subject.public_bytes(), _subject_public_key(certificate.public_key())
    return frozenset(
        (digest, hashlib.new(digest, name).digest(), hashlib.new(digest, key).digest())
        for digest in DIGESTS.values()
    )


def _subject_public_key(key: PublicKey) -> bytes:
    """The value of the BIT STRING subjectPublicKey, without its tag, length and number of unused bits."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return key.public_bytes(Encoding.DER, PublicFormat.PKCS1)  # authorities have EC or RSA keys


def responder_key_hash(certificate: x509.Certificate) -> bytes:
    """The SHA-1 of the responder's key, by which its answers name it (RFC 6960 section 4.2.1, KeyHash)."""
    key = _subject_public_key(certificate.public_key())
    return hashlib.sha1(key, usedforsecurity=False).digest()
