"""What Trivet needs of whoever holds an authority's private key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from cryptography import x509

    from trivet.pki.keys import IssuerPublicKey


class Signer(Protocol):
    """Holds one authority's key.

    It signs whatever it is given: what may be signed was decided before (`pki.plan`), and what was signed is
    checked after. It guarantees that the key does not leave it, nor show in its repr.
    """

    @property
    def public_key(self) -> IssuerPublicKey:
        """The key's public half."""

    def sign_certificate(self, builder: x509.CertificateBuilder) -> bytes:
        """Sign and give the certificate as DER."""
