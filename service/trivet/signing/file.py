"""The embedded default: private keys as encrypted PKCS#8, opened in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from trivet.pki.keys import signature_algorithm, spki
from trivet.pki.plan import issuer_of
from trivet.pki.roots import RootAlgorithm
from trivet.signing.encryption import KeyEncryptionKey, WrongKeyError
from trivet.signing.engine import CRYPTOGRAPHY

if TYPE_CHECKING:
    from uuid import UUID

    from trivet.pki.keys import IssuerPrivateKey
    from trivet.pki.plan import Issuer
    from trivet.signing.engine import Engine
    from trivet.signing.signer import Signer

_CACHED_SIGNERS = 4096


def generate_key(algorithm: RootAlgorithm) -> IssuerPrivateKey:
    """Make a private key for an authority."""
    if algorithm is RootAlgorithm.P384:
        return ec.generate_private_key(ec.SECP384R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=4096)


def sign_root(key: IssuerPrivateKey, builder: x509.CertificateBuilder) -> x509.Certificate:
    """Sign an authority's own certificate with its key.

    Raises:
        ValueError: no authority has a key of this kind.
    """
    return builder.sign(key, signature_algorithm(key.public_key()).digest)


@dataclass(frozen=True, slots=True)
class Opened:
    """A generation of an authority with its key open: who signs, and what its certificates state of it."""

    signer: Signer
    issuer: Issuer


class Keyring:
    """Opens the stored keys of authorities, and keeps those in use open. Safe to share between threads."""

    def __init__(self, key_encryption_key: KeyEncryptionKey, engine: Engine = CRYPTOGRAPHY) -> None:
        """Take the key that opens them, and the engine that signs with them."""
        self.engine = engine
        self._encryption = key_encryption_key
        # By certificate as well: a generation's never changes, and one that did must not pass unseen.
        self._open: OrderedDict[tuple[UUID, bytes], Opened] = OrderedDict()
        self._lock = threading.Lock()

    def encrypt(self, key: IssuerPrivateKey) -> bytes:
        """The private key in the form in which it is stored."""
        return self._encryption.encrypt(key)

    def open(self, generation: UUID, certificate: bytes, private_key: bytes) -> Opened:
        """The signer of a generation, and its side of what it signs.

        Args:
            generation: its id; a generation's key never changes.
            certificate: its CA certificate, DER.
            private_key: its key as stored.

        Raises:
            WrongKeyError: the key does not open, or belongs to another certificate.
        """
        wanted = (generation, certificate)
        with self._lock:
            opened = self._open.get(wanted)
            if opened is None:
                opened = self._load(certificate, private_key)
                self._open[wanted] = opened
            self._open.move_to_end(wanted)
            while len(self._open) > _CACHED_SIGNERS:
                self._open.popitem(last=False)
            return opened

    def signer(self, generation: UUID, certificate: bytes, private_key: bytes) -> Signer:
        """The signer alone: see `open`."""
        return self.open(generation, certificate, private_key).signer

    def _load(self, certificate: bytes, private_key: bytes) -> Opened:
        key = self._encryption.decrypt(private_key)
        parsed = x509.load_der_x509_certificate(certificate)
        stated = spki(parsed.public_key())
        if (
            not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
            or spki(key.public_key()) != stated
        ):
            # Whoever can write to the database must not make one cluster's CA sign for another's.
            message = "a stored private key does not belong to its certificate"
            raise WrongKeyError(message)
        return Opened(self.engine.signer(key), issuer_of(parsed))
