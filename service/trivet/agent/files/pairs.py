"""A certificate with its key, as read from files and written to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from trivet.client.keys import key_pem
from trivet.pki.keys import spki
from trivet.pki.pem import UNREADABLE, to_pem

if TYPE_CHECKING:
    from trivet.client.keys import PrivateKey


class MismatchError(ValueError):
    """The key belongs to another certificate."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its private key. The repr shows no secret.

    Attributes:
        chain: the certificate, then those of its issuers that stand in the same file.
        key: its private key.
    """

    chain: tuple[x509.Certificate, ...]
    key: PrivateKey = field(repr=False)

    @property
    def certificate(self) -> x509.Certificate:
        """The leaf."""
        return self.chain[0]

    @property
    def certificates_pem(self) -> bytes:
        """The chain, leaf first, as PEM."""
        return to_pem(self.chain)

    @property
    def key_pem(self) -> bytes:
        """The key as unencrypted PKCS #8, PEM: for a file that nobody else reads."""
        return key_pem(self.key)


def key_pair_from_pem(certificates: bytes, key: bytes) -> KeyPair:
    """Read a pair; other PEM blocks are read over.

    Raises:
        ValueError: one of the two cannot be read; MismatchError: the key belongs to another certificate. The message
            says which, and nothing of the content.
    """
    return checked(KeyPair(read_chain(certificates), read_private_key(key)))


def checked(pair: KeyPair) -> KeyPair:
    """The pair, if it is one.

    Raises:
        MismatchError: the key belongs to another certificate.
    """
    if spki(pair.certificate.public_key()) != spki(pair.key.public_key()):
        message = "the key belongs to another certificate"
        raise MismatchError(message)
    return pair


def read_chain(text: bytes) -> tuple[x509.Certificate, ...]:
    """Read one or more PEM certificates.

    Raises:
        ValueError: there is none.
    """
    try:
        return tuple(x509.load_pem_x509_certificates(text))
    except UNREADABLE:
        message = "there is no certificate in PEM"
        raise ValueError(message) from None


def read_private_key(text: bytes) -> PrivateKey:
    """Read an unencrypted PEM private key.

    Raises:
        ValueError: there is none, or of a kind that Trivet does not certify.
    """
    try:
        key = load_pem_private_key(text, password=None)
    except UNREADABLE:
        # Without its cause: what cryptography says could quote what it read.
        message = "there is no unencrypted private key in PEM"
        raise ValueError(message) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey):
        message = "the key is of a kind that Trivet does not certify"
        raise ValueError(message)  # noqa: TRY004  to the reader it is one more file that cannot be used
    return key
