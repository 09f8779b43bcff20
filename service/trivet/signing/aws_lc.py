"""AWS-LC by way of awscrt, for ECDSA on P-256 and P-384, where it takes less than half of OpenSSL's time.

All else goes to cryptography; so does all reading of what others wrote. awscrt comes with `trivet[fast]` only:
import this module where the operator asked for it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from awscrt.crypto import EC
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import SignatureAlgorithmOID

from trivet.pki.keys import KeyAlgorithm, is_plain_spki, signature_algorithm, spki
from trivet.signing.encryption import WrongKeyError
from trivet.signing.engine import CRYPTOGRAPHY

if TYPE_CHECKING:
    from cryptography import x509

    from trivet.pki.keys import IssuerPrivateKey, IssuerPublicKey, PublicKey
    from trivet.signing.signer import Signer

_CURVES = (KeyAlgorithm.P256, KeyAlgorithm.P384)
_DIGESTS = {
    SignatureAlgorithmOID.ECDSA_WITH_SHA256: hashlib.sha256,
    SignatureAlgorithmOID.ECDSA_WITH_SHA384: hashlib.sha384,
    SignatureAlgorithmOID.ECDSA_WITH_SHA512: hashlib.sha512,
}


class AwsLcSigner:
    """An EC private key in this process's memory, used by AWS-LC."""

    __slots__ = ("_digest", "_key", "_public_key")

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        """Take the key, and see that AWS-LC signs with it as OpenSSL verifies.

        Raises:
            WrongKeyError: it does not.
        """
        self._public_key = key.public_key()
        digest = signature_algorithm(self._public_key).digest or hashes.SHA256()
        self._digest = digest.name
        try:
            # The only time that the key is plain octets; no name holds them.
            self._key = EC.new_key_from_der_data(
                key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
            )
            self._public_key.verify(self.sign(b""), b"", ec.ECDSA(digest))
        except (InvalidSignature, RuntimeError, ValueError):
            message = "AWS-LC does not sign with a stored private key as it should"
            raise WrongKeyError(message) from None

    def __repr__(self) -> str:
        """Show what kind of key it is, and nothing of it."""
        return f"AwsLcSigner({self._public_key.curve.name})"

    @property
    def public_key(self) -> IssuerPublicKey:
        """The key's public half."""
        return self._public_key

    def sign(self, message: bytes) -> bytes:
        """The signature as certificates hold it. Other threads wait: awscrt keeps the interpreter's lock."""
        signature: bytes = self._key.sign(hashlib.new(self._digest, message).digest())
        return signature


class AwsLcEngine:
    """AWS-LC where it is faster, cryptography for the rest."""

    def signer(self, key: IssuerPrivateKey) -> Signer:
        """A signer that holds this key.

        Raises:
            ValueError: no authority has a key of this kind.
            WrongKeyError: AWS-LC does not sign with it as it should.
        """
        if isinstance(key, ec.EllipticCurvePrivateKey) and _is_fast(spki(key.public_key())):
            return AwsLcSigner(key)
        return CRYPTOGRAPHY.signer(key)

    def is_self_signed(
        self, request: x509.CertificateSigningRequest, public_key: PublicKey, encoded_key: bytes
    ) -> bool:
        """Whether the request's signature was made by the key that it holds.

        AWS-LC sees only what cryptography read: keys encoded anew, on a curve by its name and uncompressed.
        """
        digest = _DIGESTS.get(request.signature_algorithm_oid)
        if digest is None or not _is_fast(encoded_key):
            return CRYPTOGRAPHY.is_self_signed(request, public_key, encoded_key)
        if not _is_strict(request.signature):
            return False
        message = digest(request.tbs_certrequest_bytes).digest()
        try:
            return EC.new_key_from_der_data(encoded_key).verify(message, request.signature) is True
        except (RuntimeError, ValueError):
            return False


def _is_fast(encoded_key: bytes) -> bool:
    return any(is_plain_spki(encoded_key, curve) for curve in _CURVES)


def _is_strict(signature: bytes) -> bool:
    # As OpenSSL demands: one encoding for a pair of numbers, so that both engines accept the same octets.
    try:
        return encode_dss_signature(*decode_dss_signature(signature)) == signature
    except ValueError:
        return False
