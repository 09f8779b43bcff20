"""Keys of OCSP responders: made here, and asked for by a request of their own."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding


def new_responder_key() -> tuple[ec.EllipticCurvePrivateKey, bytes]:
    """A P-384 key, and a certificate request (DER) that proves its possession and names nothing."""
    key = ec.generate_private_key(ec.SECP384R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, SHA384())
    return key, request.public_bytes(Encoding.DER)
