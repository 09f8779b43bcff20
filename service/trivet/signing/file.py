"""The embedded default: private keys as encrypted PKCS#8, opened in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from trivet.pki.keys import spki
from trivet.pki.roots import RootAlgorithm
from trivet.signing.encryption import KeyEncryptionKey, WrongKeyError

if TYPE_CHECKING:
    from uuid import UUID

    from trivet.pki.keys import IssuerPrivateKey, IssuerPublicKey

_CACHED_SIGNERS = 4096


def generate_key(algorithm: RootAlgorithm) -> IssuerPrivateKey:
    """Make a private key for an authority."""
    if algorithm is RootAlgorithm.P384:
        return ec.generate_private_key(ec.SECP384R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=4096)


class FileSigner:
    """A private key in this process's memory."""

    __slots__ = ("_hash", "_key")

    def __init__(self, key: IssuerPrivateKey) -> None:
        """Take the key."""
        self._key = key
        self._hash = _hash_for(key)

    def __repr__(self) -> str:
        """Show what kind of key it is, and nothing of it."""
        return f"FileSigner({type(self._key).__name__})"

    @property
    def public_key(self) -> IssuerPublicKey:
        """The key's public half."""
        return self._key.public_key()

    def sign_certificate(self, builder: x509.CertificateBuilder) -> bytes:
        """Sign and give the certificate as DER."""
        return builder.sign(self._key, self._hash).public_bytes(Encoding.DER)


_P256_BITS, _P384_BITS = 256, 384


def _hash_for(key: IssuerPrivateKey) -> hashes.SHA256 | hashes.SHA384 | hashes.SHA512:
    # RFC 5480 section 4: a digest about as strong as the curve.
    match key:
        case ec.EllipticCurvePrivateKey() if key.key_size > _P384_BITS:
            return hashes.SHA512()
        case ec.EllipticCurvePrivateKey() if key.key_size > _P256_BITS:
            return hashes.SHA384()
        case _:
            return hashes.SHA256()


class Keyring:
    """Opens the stored keys of authorities, and keeps those in use open. Safe to share between threads."""

    def __init__(self, key_encryption_key: KeyEncryptionKey) -> None:
        """Take the key that opens them."""
        self._encryption = key_encryption_key
        # By certificate as well: a generation's never changes, and one that did must not pass unseen.
        self._open: OrderedDict[tuple[UUID, bytes], FileSigner] = OrderedDict()
        self._lock = threading.Lock()

    def encrypt(self, key: IssuerPrivateKey) -> bytes:
        """The private key in the form in which it is stored."""
        return self._encryption.encrypt(key)

    def signer(self, generation: UUID, certificate: bytes, private_key: bytes) -> FileSigner:
        """The signer of a generation.

        Args:
            generation: its id; a generation's key never changes.
            certificate: its CA certificate, DER.
            private_key: its key as stored.

        Raises:
            WrongKeyError: the key does not open, or belongs to another certificate.
        """
        wanted = (generation, certificate)
        with self._lock:
            signer = self._open.get(wanted)
            if signer is None:
                signer = self._load(certificate, private_key)
                self._open[wanted] = signer
            self._open.move_to_end(wanted)
            while len(self._open) > _CACHED_SIGNERS:
                self._open.popitem(last=False)
            return signer

    def _load(self, certificate: bytes, private_key: bytes) -> FileSigner:
        key = self._encryption.decrypt(private_key)
        stated = spki(x509.load_der_x509_certificate(certificate).public_key())
        if (
            not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
            or spki(key.public_key()) != stated
        ):
            # Whoever can write to the database must not make one cluster's CA sign for another's.
            message = "a stored private key does not belong to its certificate"
            raise WrongKeyError(message)
        return FileSigner(key)
