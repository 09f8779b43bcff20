"""Who is asking: an access token, or the key of a certificate that Trivet issued."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding

from trivet.authority.access import Requester, Role
from trivet.pki.errors import AuthenticationError
from trivet.pki.serials import serial_hex
from trivet.store import certificates, tokens

if TYPE_CHECKING:
    from cryptography import x509

    from trivet.authority.context import Authority
    from trivet.store.certificates import StoredCertificate

TOKEN_PREFIX = "trivet_"  # noqa: S105  lets secret scanners know one when they see it
_TOKEN = re.compile(rf"{TOKEN_PREFIX}[A-Za-z0-9_-]{{43}}")


def authenticate_token(authority: Authority, secret: str, request_id: str | None = None) -> Requester:
    """Find the requester who holds an access token.

    Raises:
        AuthenticationError: malformed, unknown or expired.
    """
    if not _TOKEN.fullmatch(secret):
        message = (
            f"the bearer token is malformed; an access token looks like {TOKEN_PREFIX}… and has 50 characters"
        )
        raise AuthenticationError(message)
    with authority.database.read() as connection:
        token = tokens.find_by_hash(connection, authority.key_encryption_key.token_hash(secret))
    if token is None:
        message = "the access token is unknown or was deleted; ask an administrator for a new one"
        raise AuthenticationError(message)
    if token.expires_at is not None and token.expires_at <= authority.clock():
        message = f"the access token expired at {token.expires_at:%Y-%m-%dT%H:%M:%SZ}; ask for a new one"
        raise AuthenticationError(message)
    return Requester(f"token:{token.id}", Role(token.role), token.cluster_id, request_id=request_id)


def authenticate_certificate(
    authority: Authority, certificate: x509.Certificate, request_id: str | None = None
) -> Requester:
    """Find the requester who proved to hold a certificate's key.

    The certificate must be, byte for byte, one that Trivet issued and stored: no chain is built, and no name
    is trusted. Whether it is expired or revoked is judged where it is used (`access.authorize`).

    Raises:
        AuthenticationError: Trivet did not issue it.
    """
    stored = find_issued(authority, certificate)
    if stored is None or stored.cluster_id is None:
        message = "the client certificate was not issued by this Trivet; use one that was, or an access token"
        raise AuthenticationError(message)
    name = f"certificate:{stored.serial} ({stored.common_name})"
    return Requester(name, Role.HOLDER, stored.cluster_id, stored, request_id)


def find_issued(authority: Authority, certificate: x509.Certificate) -> StoredCertificate | None:
    """The stored certificate with the very same bytes."""
    der = certificate.public_bytes(Encoding.DER)
    with authority.database.read() as connection:
        found = certificates.with_serial(connection, serial_hex(certificate.serial_number))
    return next((stored for stored in found if stored.der == der), None)
