"""OCSP requests of every form, from DER: cryptography makes those for one certificate without much choice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from tests.unit.pki.samples import tlv

NONCE_OID = "2b0601050507300102"
NULL = b"\x05\x00"
SHA1: hashes.HashAlgorithm = hashes.SHA1()  # noqa: S303  names an issuer
DIGESTS: dict[str, hashes.HashAlgorithm] = {"sha1": SHA1, "sha256": hashes.SHA256()}


def cert_id(
    issuer: x509.Certificate,
    serial: int,
    digest: hashes.HashAlgorithm = SHA1,
    parameters: bytes | None = None,
) -> bytes:
    """Encode the CertID of a serial number as cryptography does, or with other parameters of the digest."""
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(*hashes_of(issuer, digest), serial, digest)
    der = builder.build().public_bytes(Encoding.DER)
    for _ in range(4):  # OCSPRequest, TBSRequest, requestList, Request
        der = der[2:] if der[1] < 0x80 else der[2 + (der[1] & 0x7F) :]
    return der if parameters is None else der.replace(NULL, parameters, 1)


def hashes_of(issuer: x509.Certificate, digest: hashes.HashAlgorithm) -> tuple[bytes, bytes]:
    """Hash the issuer's name and key, by way of a request that cryptography makes of the issuer itself."""
    request = ocsp.OCSPRequestBuilder().add_certificate(issuer, issuer, digest).build()
    return request.issuer_name_hash, request.issuer_key_hash


def extension(oid: str, value: bytes, *, critical: bool = False) -> bytes:
    flag = b"\x01\x01\xff" if critical else b""
    return tlv(0x30, tlv(0x06, bytes.fromhex(oid)), flag, tlv(0x04, value))


def nonce(octets: bytes) -> bytes:
    return extension(NONCE_OID, tlv(0x04, octets))


def request(cert_ids: Iterable[bytes], *extensions: bytes, before: bytes = b"", after: bytes = b"") -> bytes:
    """Encode an OCSPRequest; `before` the list of certificates and `after` what is to be signed stands more."""
    listed = tlv(0x30, *(tlv(0x30, one) for one in cert_ids))
    own = tlv(0xA2, tlv(0x30, *extensions)) if extensions else b""
    return tlv(0x30, tlv(0x30, before, listed, own), after)


def request_about(issuer: x509.Certificate, serials: Sequence[int], *extensions: bytes) -> bytes:
    return request([cert_id(issuer, serial) for serial in serials], *extensions)
