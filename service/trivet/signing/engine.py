"""Who does the arithmetic of signatures: cryptography (OpenSSL), or AWS-LC where its package is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from trivet.pki.csr import is_self_signed
from trivet.pki.keys import signature_algorithm

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography import x509

    from trivet.pki.keys import IssuerPrivateKey, IssuerPublicKey, PublicKey
    from trivet.signing.signer import Signer


class Engine(Protocol):
    """Makes signers, and verifies what others signed. All engines accept the same signatures."""

    def signer(self, key: IssuerPrivateKey) -> Signer:
        """A signer that holds this key.

        Raises:
            ValueError: no authority has a key of this kind.
        """

    def is_self_signed(
        self, request: x509.CertificateSigningRequest, public_key: PublicKey, encoded_key: bytes
    ) -> bool:
        """Whether the request's signature was made by the key that it holds: see `pki.csr.Verifier`."""


class CryptographySigner:
    """A private key in this process's memory, used by cryptography."""

    __slots__ = ("_key", "_public_key", "_sign")

    def __init__(self, key: IssuerPrivateKey) -> None:
        """Take the key.

        Raises:
            ValueError: no authority has a key of this kind.
        """
        self._key = key
        self._public_key = key.public_key()
        self._sign = _signing(key)

    def __repr__(self) -> str:
        """Show what kind of key it is, and nothing of it."""
        return f"CryptographySigner({type(self._key).__name__})"

    @property
    def public_key(self) -> IssuerPublicKey:
        """The key's public half."""
        return self._public_key

    def sign(self, message: bytes) -> bytes:
        """The signature as certificates hold it; other threads run meanwhile."""
        return self._sign(message)


def _signing(key: IssuerPrivateKey) -> Callable[[bytes], bytes]:
    match key, signature_algorithm(key.public_key()).digest:
        case ec.EllipticCurvePrivateKey() as curve_key, hashes.HashAlgorithm() as digest:
            algorithm = ec.ECDSA(digest)
            return lambda message: curve_key.sign(message, algorithm)
        case rsa.RSAPrivateKey() as rsa_key, hashes.HashAlgorithm() as digest:
            scheme = padding.PKCS1v15()
            return lambda message: rsa_key.sign(message, scheme, digest)
        case ed25519.Ed25519PrivateKey() as edwards_key, None:
            return edwards_key.sign
        case _:
            raise ValueError(type(key).__name__)


class CryptographyEngine:
    """The default: OpenSSL, by way of cryptography."""

    def signer(self, key: IssuerPrivateKey) -> Signer:
        """A signer that holds this key."""
        return CryptographySigner(key)

    def is_self_signed(
        self, request: x509.CertificateSigningRequest, public_key: PublicKey, encoded_key: bytes
    ) -> bool:
        """Whether the request's signature was made by the key that it holds."""
        return is_self_signed(request, public_key, encoded_key)


CRYPTOGRAPHY = CryptographyEngine()
