"""Who is asking by the key of a certificate that Trivet issued.

The certificate must be, byte for byte, one that is stored: no chain is built, and no name is trusted. Whether it is
expired or revoked is judged where it is used (`access.authorize`).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature

from trivet.authority.access import Requester, Role
from trivet.authority.memory import known_generation
from trivet.authority.metrics import measures
from trivet.authority.seals import has_seal
from trivet.pki.errors import AuthenticationError
from trivet.pki.kubernetes import ALL_PROFILES
from trivet.pki.pem import from_der, to_der
from trivet.pki.plan import usages_of
from trivet.pki.serials import serial_hex
from trivet.signing.encryption import WrongKeyError
from trivet.store import authorities, issuing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from cryptography import x509
    from sqlalchemy import Connection

    from trivet.authority.context import Authority
    from trivet.store.authorities import Authority as Owner
    from trivet.store.authorities import Generation
    from trivet.store.certificates import StoredCertificate
    from trivet.store.issuing import OfSerial

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Presented:
    """A certificate whose key somebody proved to hold; whether Trivet issued it is not known yet."""

    certificate: x509.Certificate
    serial: str
    der: bytes
    request_id: str | None = None


def presented(certificate: x509.Certificate, request_id: str | None = None) -> Presented:
    """Take a certificate whose key was proved to be held."""
    return Presented(certificate, serial_hex(certificate.serial_number), to_der(certificate), request_id)


def authenticate_certificate(
    authority: Authority, certificate: x509.Certificate, request_id: str | None = None
) -> Requester:
    """Find the requester who proved to hold a certificate's key.

    Raises:
        AuthenticationError: Trivet did not issue it.
        UnavailableError: the database cannot be reached.
    """
    found = recognise_holders(authority, [presented(certificate, request_id)])[0]
    if isinstance(found, AuthenticationError):
        raise found
    return found


def recognise_holders(
    authority: Authority, holders: Sequence[Presented]
) -> list[Requester | AuthenticationError]:
    """Find all who proved to hold the keys of certificates, by one look-up; or say why one is nobody.

    Raises:
        UnavailableError: the database cannot be reached.
    """
    with authority.database.read() as connection:
        rows = issuing.of_serials(connection, {one.serial for one in holders})
        return [_recognise(authority, connection, one, rows) for one in holders]


def _recognise(
    authority: Authority, connection: Connection, one: Presented, rows: Sequence[OfSerial]
) -> Requester | AuthenticationError:
    found = [stored for serial, stored in rows if serial == one.serial]
    stored = next((each for each in found if each is not None and each.der == one.der), None)
    is_ours = stored is not None and _is_ours(authority, connection, stored, one.certificate)
    if stored is None or stored.cluster_id is None or not is_ours:
        measures.authentication_failed("certificate")
        return AuthenticationError(_PRUNED if None in found else _UNKNOWN)
    name = f"certificate:{stored.serial} ({stored.common_name})"
    return Requester(name, Role.HOLDER, stored.cluster_id, stored, one.request_id)


_UNKNOWN = "the client certificate was not issued by this Trivet; use one that was, or an access token"
# A serial is kept for good, and is no secret; the certificate itself is gone, so nothing can be compared.
_PRUNED = (
    "this certificate expired so long ago that it is no longer kept (retention_days), so it cannot renew;"
    " an issuer can give its holder a new one"
)


def _is_ours(
    authority: Authority, connection: Connection, stored: StoredCertificate, certificate: x509.Certificate
) -> bool:
    """Whether Trivet issued it, and what the row says is what was issued.

    The database alone does not vouch: whoever can write to it must not be able to enter a certificate and have it
    renewed into a real one. So it needs its seal; or, where it has none that holds, a signature by the key of a
    generation that opens under the key-encryption key.
    """
    profile = ALL_PROFILES.get(stored.profile)
    if profile is not None and has_seal(authority, stored):
        return True
    generation = known_generation(authority, connection, stored.generation_id)
    owner = _known_owner(authority, connection, generation.authority_id)
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
    return as_signed


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
