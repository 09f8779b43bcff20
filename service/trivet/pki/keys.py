"""Which public keys are accepted, and what makes one bad."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from enum import StrEnum

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import (
    CertificateIssuerPrivateKeyTypes,
    CertificateIssuerPublicKeyTypes,
    CertificatePublicKeyTypes,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import SubjectKeyIdentifier

from trivet.pki.errors import BadPublicKeyError

PublicKey = CertificatePublicKeyTypes
IssuerPublicKey = CertificateIssuerPublicKeyTypes
IssuerPrivateKey = CertificateIssuerPrivateKeyTypes


class KeyAlgorithm(StrEnum):
    """Kinds of key by the names that people use for them."""

    P256 = "ECDSA-P256"
    P384 = "ECDSA-P384"
    P521 = "ECDSA-P521"
    RSA = "RSA"
    ED25519 = "Ed25519"


MIN_RSA_BITS = 3072
MAX_RSA_BITS = 8192  # a verifier pays for every bit; nobody needs more
_CURVES = {"secp256r1": KeyAlgorithm.P256, "secp384r1": KeyAlgorithm.P384, "secp521r1": KeyAlgorithm.P521}
_FERMAT_ROUNDS = 100
# Factors below 752, as letsencrypt/boulder's goodkey checks; one gcd instead of a division each.
_SMALL_PRIMES_PRODUCT = math.prod(n for n in range(2, 752) if all(n % d for d in range(2, math.isqrt(n) + 1)))
# ROCA (CVE-2017-15361): moduli of the flawed generator are powers of 65537 modulo each of these primes;
# a sound modulus is so with a chance of 2^-27.
_ROCA_PRIMES = (11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157)
_ROCA_RESIDUES = {prime: {pow(65537, n, prime) for n in range(prime)} for prime in _ROCA_PRIMES}


def key_algorithm(key: object) -> KeyAlgorithm | None:
    """The kind of a key, or None for those that no profile accepts."""
    match key:
        case ec.EllipticCurvePublicKey():
            return _CURVES.get(key.curve.name)
        case rsa.RSAPublicKey():
            return KeyAlgorithm.RSA
        case ed25519.Ed25519PublicKey():
            return KeyAlgorithm.ED25519
        case _:
            return None


def check_public_key(key: object, accepted: frozenset[KeyAlgorithm]) -> None:
    """Refuse a key that the profile does not accept or that is weak.

    Raises:
        BadPublicKeyError: wrong kind, wrong size, or a modulus that can be factored.
    """
    kind = key_algorithm(key)
    if kind not in accepted:
        message = f"the key must be one of {', '.join(sorted(accepted))}"
        raise BadPublicKeyError(message)
    if isinstance(key, rsa.RSAPublicKey):
        _check_rsa(key.public_numbers())


def _check_rsa(numbers: rsa.RSAPublicNumbers) -> None:
    if not MIN_RSA_BITS <= numbers.n.bit_length() <= MAX_RSA_BITS:
        bits = numbers.n.bit_length()
        message = f"an RSA modulus must have {MIN_RSA_BITS} to {MAX_RSA_BITS} bits, not {bits}"
        raise BadPublicKeyError(message)
    # NIST SP 800-56B section 6.2.1.2: odd, 65537 or more, below 2^256.
    if numbers.e % 2 == 0 or not 1 << 16 < numbers.e < 1 << 256:
        message = "an RSA exponent must be odd, from 65537 and below 2^256"
        raise BadPublicKeyError(message)
    if math.gcd(numbers.n, _SMALL_PRIMES_PRODUCT) != 1:
        message = "the RSA modulus has a small factor; make a new key"
        raise BadPublicKeyError(message)
    if all(numbers.n % prime in residues for prime, residues in _ROCA_RESIDUES.items()):
        message = "the RSA key comes from a flawed generator (ROCA, CVE-2017-15361); make it elsewhere"
        raise BadPublicKeyError(message)
    if _factors_by_fermat(numbers.n):
        message = "the primes of the RSA modulus are too close to each other; make a new key"
        raise BadPublicKeyError(message)


def _factors_by_fermat(modulus: int) -> bool:
    a = math.isqrt(modulus)
    a += a * a < modulus
    for _ in range(_FERMAT_ROUNDS):
        rest = a * a - modulus
        if math.isqrt(rest) ** 2 == rest:
            return True
        a += 1
    return False


def spki(key: PublicKey) -> bytes:
    """The DER SubjectPublicKeyInfo. A P-384 key takes OpenSSL 19 µs: make it once and hand it on."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def spki_sha256(key: PublicKey) -> str:
    """SHA-256 of the SubjectPublicKeyInfo in lower-case hex, as PublicKey entries name it."""
    return hashlib.sha256(spki(key)).hexdigest()


# What stands before the subjectPublicKey where the algorithm fixes its length (RFC 5480, RFC 8410).
_HEADS = {
    KeyAlgorithm.P256: bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200"),
    KeyAlgorithm.P384: bytes.fromhex("3076301006072a8648ce3d020106052b81040022036200"),
    KeyAlgorithm.P521: bytes.fromhex("30819b301006072a8648ce3d020106052b8104002303818600"),
    KeyAlgorithm.ED25519: bytes.fromhex("302a300506032b6570032100"),
}


def is_plain_spki(encoded: bytes, algorithm: KeyAlgorithm) -> bool:
    """Whether a SubjectPublicKeyInfo has the usual form of that algorithm: a named curve, and no parameters more."""
    return encoded.startswith(_HEADS[algorithm])


def key_identifier(key: PublicKey, encoded: bytes) -> bytes:
    """The SHA-1 of the subjectPublicKey (RFC 5280 section 4.2.1.2).

    Args:
        key: the key.
        encoded: its `spki`, which spares OpenSSL from encoding it again (19 µs for P-384).
    """
    for head in _HEADS.values():
        if encoded.startswith(head):
            return hashlib.sha1(encoded[len(head) :], usedforsecurity=False).digest()
    return SubjectKeyIdentifier.from_public_key(key).digest


@dataclass(frozen=True, slots=True)
class SignatureAlgorithm:
    """How an authority's key signs.

    Attributes:
        identifier: the AlgorithmIdentifier that certificates state, DER.
        digest: what is made of the message first; None where the algorithm does so itself.
    """

    identifier: bytes
    digest: hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None


_ECDSA_SHA256 = SignatureAlgorithm(bytes.fromhex("300a06082a8648ce3d040302"), hashes.SHA256())
_ECDSA_SHA384 = SignatureAlgorithm(bytes.fromhex("300a06082a8648ce3d040303"), hashes.SHA384())
_ECDSA_SHA512 = SignatureAlgorithm(bytes.fromhex("300a06082a8648ce3d040304"), hashes.SHA512())
_RSA_SHA256 = SignatureAlgorithm(bytes.fromhex("300d06092a864886f70d01010b0500"), hashes.SHA256())
_ED25519 = SignatureAlgorithm(bytes.fromhex("300506032b6570"), None)
_P256_BITS, _P384_BITS = 256, 384


def signature_algorithm(key: object) -> SignatureAlgorithm:
    """The one algorithm by which an authority with this key signs (RFC 5758 section 3.2, RFC 8017, RFC 8410).

    Raises:
        ValueError: no authority has a key of this kind.
    """
    # RFC 5480 section 4: a digest about as strong as the curve.
    match key:
        case ec.EllipticCurvePublicKey() if key.key_size > _P384_BITS:
            return _ECDSA_SHA512
        case ec.EllipticCurvePublicKey() if key.key_size > _P256_BITS:
            return _ECDSA_SHA384
        case ec.EllipticCurvePublicKey():
            return _ECDSA_SHA256
        case rsa.RSAPublicKey():
            return _RSA_SHA256
        case ed25519.Ed25519PublicKey():
            return _ED25519
        case _:
            message = f"no authority signs with a {type(key).__name__}"
            raise ValueError(message)


def verify_signature(key: object, signature: bytes, message: bytes | memoryview) -> None:
    """Verify what an authority with this key signed, by its one algorithm.

    Raises:
        InvalidSignature: it did not sign this.
        ValueError: no authority has a key of this kind.
    """
    match key, signature_algorithm(key).digest:
        case ec.EllipticCurvePublicKey(), hashes.HashAlgorithm() as digest:
            key.verify(signature, message, ec.ECDSA(digest))
        case rsa.RSAPublicKey(), hashes.HashAlgorithm() as digest:
            key.verify(signature, bytes(message), padding.PKCS1v15(), digest)
        case ed25519.Ed25519PublicKey(), _:
            key.verify(signature, message)
