"""Who is asking: an access token, or the key of a certificate that Trivet issued."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding

from trivet.authority.access import Requester, Role
from trivet.authority.approval.bootstrap_requester import by_bootstrap_token
from trivet.authority.memory import known_generation
from trivet.authority.metrics import measures
from trivet.pki.bootstrap import parse_bootstrap_token
from trivet.pki.errors import AuthenticationError
from trivet.pki.kubernetes import ALL_PROFILES
from trivet.pki.pem import from_der
from trivet.pki.plan import usages_of
from trivet.pki.serials import serial_hex
from trivet.signing.encryption import WrongKeyError
from trivet.store import authorities, certificates, repair_tokens, tokens

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from cryptography import x509
    from sqlalchemy import Connection

    from trivet.authority.context import Authority
    from trivet.store.authorities import Authority as Owner
    from trivet.store.authorities import Generation
    from trivet.store.certificates import StoredCertificate
    from trivet.store.repair_tokens import RepairToken
    from trivet.store.tokens import Token

_log = logging.getLogger(__name__)

REPAIR_PREFIX = "trivet-repair_"
TOKEN_PREFIX = "trivet_"  # noqa: S105  lets secret scanners know one when they see it
_TOKEN = re.compile(rf"{TOKEN_PREFIX}[A-Za-z0-9_-]{{43}}")
_REPAIR_TOKEN = re.compile(rf"{REPAIR_PREFIX}[A-Za-z0-9_-]{{43}}")


def authenticate_token(authority: Authority, secret: str, request_id: str | None = None) -> Requester:
    """Find the requester who holds an access token, a one-time token of a repair, or a bootstrap token.

    Raises:
        AuthenticationError: malformed, unknown or expired.
    """
    if secret.startswith(REPAIR_PREFIX):
        return _by_repair_token(authority, secret, request_id)
    if (bootstrap := parse_bootstrap_token(secret)) is not None:
        return by_bootstrap_token(authority, bootstrap, request_id)
    secret_hash = _hash_of(authority, secret)
    with authority.database.read() as connection:
        token = tokens.find_by_hash(connection, secret_hash)
    if token is None:
        measures.authentication_failed("unknown")
        authority.memory.tokens.forget(secret_hash)
        message = "the access token is unknown or was deleted; ask an administrator for a new one"
        raise AuthenticationError(message)
    authority.memory.tokens.put(secret_hash, token)
    return _requester(authority, token, request_id)


def recognise_token(authority: Authority, secret: str, request_id: str | None = None) -> Requester | None:
    """Find the requester without a look into the database, if this process has seen the token before.

    For what is decided by `issue_all` only, which looks again whether the token still stands.

    Raises:
        AuthenticationError: malformed or expired.
    """
    if secret.startswith(REPAIR_PREFIX) or parse_bootstrap_token(secret) is not None:
        return None  # used once or so: there is nothing to remember
    token = authority.memory.tokens.get(_hash_of(authority, secret))
    return _requester(authority, token, request_id) if token is not None else None


def _by_repair_token(authority: Authority, secret: str, request_id: str | None) -> Requester:
    """Whoever has a one-time token. Whether it still holds is asked again in the transaction that issues."""
    if not _REPAIR_TOKEN.fullmatch(secret):
        measures.authentication_failed("malformed")
        message = f"the one-time token is malformed; it looks like {REPAIR_PREFIX}… and has 57 characters"
        raise AuthenticationError(message)
    with authority.database.read() as connection:
        token = repair_tokens.find(connection, authority.key_encryption_key.token_hash(secret))
    if token is None:
        measures.authentication_failed("unknown")
        message = "the one-time token is unknown; ask an administrator for another: trivet repair token CLUSTER NODE"
        raise AuthenticationError(message)
    try:
        check_token_window(token, authority.clock())
    except AuthenticationError:
        measures.authentication_failed("expired")
        raise
    return Requester(
        f"repair-token:{token.id}",
        Role.REPAIR,
        token.window.cluster_id,
        request_id=request_id,
        expires_at=token.window.ends_at,
        repair_token=token.id,
    )


def check_token_window(token: RepairToken, now: datetime) -> None:
    """Refuse a one-time token whose repair window is over.

    Raises:
        AuthenticationError: it is.
    """
    window = token.window
    if window.is_open(now):
        return
    ended = window.closed_at or window.ends_at
    message = (
        f"the repair window {window.id}, which this one-time token belongs to, was over at"
        f" {ended:%Y-%m-%dT%H:%M:%SZ}; an administrator opens another and makes another token"
    )
    raise AuthenticationError(message)


def _hash_of(authority: Authority, secret: str) -> str:
    if not _TOKEN.fullmatch(secret):
        measures.authentication_failed("malformed")
        message = (
            f"the bearer token is malformed; an access token looks like {TOKEN_PREFIX}… and has 50 characters"
        )
        raise AuthenticationError(message)
    return authority.key_encryption_key.token_hash(secret)


def _requester(authority: Authority, token: Token, request_id: str | None) -> Requester:
    if token.expires_at is not None and token.expires_at <= authority.clock():
        measures.authentication_failed("expired")
        message = f"the access token expired at {token.expires_at:%Y-%m-%dT%H:%M:%SZ}; ask for a new one"
        raise AuthenticationError(message)
    return Requester(
        f"token:{token.id}",
        Role(token.role),
        token.cluster_id,
        request_id=request_id,
        expires_at=token.expires_at,
        token_id=token.id,
    )


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
        measures.authentication_failed("certificate")
        raise AuthenticationError(_unknown(authority, certificate))
    name = f"certificate:{stored.serial} ({stored.common_name})"
    return Requester(name, Role.HOLDER, stored.cluster_id, stored, request_id)


def _unknown(authority: Authority, certificate: x509.Certificate) -> str:
    with authority.database.read() as connection:
        was_pruned = certificates.was_pruned(connection, serial_hex(certificate.serial_number))
    if was_pruned:
        # A serial is kept for good, and is no secret; the certificate itself is gone, so nothing can be compared.
        return (
            "this certificate expired so long ago that it is no longer kept (retention_days), so it cannot renew;"
            " an issuer can give its holder a new one"
        )
    return "the client certificate was not issued by this Trivet; use one that was, or an access token"


def find_issued(authority: Authority, certificate: x509.Certificate) -> StoredCertificate | None:
    """The stored certificate with the very same bytes, if one of our keys signed them.

    The database alone does not vouch: whoever can write to it must not be able to enter a certificate and have it
    renewed into a real one. So the signature is verified with the key of a generation that opens under the
    key-encryption key, and what the row says must be what was signed.
    """
    der = certificate.public_bytes(Encoding.DER)
    with authority.database.read() as connection:
        found = certificates.with_serial(connection, serial_hex(certificate.serial_number))
        stored = next((candidate for candidate in found if candidate.der == der), None)
        if stored is None:
            return None
        generation = known_generation(authority, connection, stored.generation_id)
        owner = _known_owner(authority, connection, generation.authority_id)
    profile = ALL_PROFILES.get(stored.profile)
    as_signed = (
        profile is not None
        and owner.cluster_id == stored.cluster_id
        and profile.authority == generation.name
        and usages_of(certificate) == profile.usages
        and _is_signed_by(authority, generation, certificate)
    )
    if not as_signed:
        _log.critical(
            "the stored certificate %s is not what was signed; was the database tampered with?", stored.id
        )
        return None
    return stored


def _known_owner(authority: Authority, connection: Connection, authority_id: UUID) -> Owner:
    owner = authority.memory.owners.get(authority_id)
    if owner is None:
        owner = authorities.owner(connection, authority_id)
        authority.memory.owners.put(authority_id, owner)
    return owner


def _is_signed_by(authority: Authority, generation: Generation, certificate: x509.Certificate) -> bool:
    try:
        authority.keyring.signer(generation.id, generation.certificate, generation.private_key)
        certificate.verify_directly_issued_by(from_der(generation.certificate))
    except (WrongKeyError, InvalidSignature, ValueError, TypeError):
        return False
    return True
