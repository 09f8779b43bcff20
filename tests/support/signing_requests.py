"""Certificate requests for any profile, signed once and kept; keys come from a small pool."""

from __future__ import annotations

from functools import cache

from cryptography.hazmat.primitives.serialization import Encoding
from tests.unit.pki.samples import PrivateKey, dn, private_key, sans, signing_request

from trivet.pki.keys import spki_sha256


def pooled_key(number: int = 0) -> PrivateKey:
    """Give key `number` of the pool; Ed25519 signs fastest and is the same in every process."""
    return private_key("Ed25519", number)


def key_hash(number: int = 0) -> str:
    """Give the SHA-256 of that key's SubjectPublicKeyInfo, as PublicKey entries name it."""
    return spki_sha256(pooled_key(number).public_key())


@cache
def csr(
    common_name: str = "", organizations: tuple[str, ...] = (), hosts: tuple[str, ...] = (), key: int = 0
) -> bytes:
    """Make a CSR in DER; hosts become dNSNames or iPAddresses, whichever they are."""
    extensions = [sans(*hosts)] if hosts else []
    request = signing_request(dn(common_name, organizations), *extensions, key=pooled_key(key))
    return request.public_bytes(Encoding.DER)
