"""Suggest when to renew a certificate: spread over the fleet, and earlier where a cluster was asked to (RFC 9773)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509

from trivet.authority.access import Permission, authorized_cluster
from trivet.authority.memory import known_generation
from trivet.authority.search import readable_certificate
from trivet.pki.errors import NotFoundError
from trivet.pki.pem import from_der
from trivet.pki.renewal import (
    SHORTEST_POLL,
    EarlyRenewal,
    early_window,
    parse_certificate_id,
    poll_after,
    spread,
    suggested_window,
)
from trivet.pki.validity import Validity
from trivet.store import certificates, renewals

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime, timedelta

    from sqlalchemy import Connection

    from trivet.authority.access import Requester
    from trivet.authority.context import Authority
    from trivet.store.certificates import StoredCertificate
    from trivet.store.renewals import StoredEarlyRenewal


@dataclass(frozen=True, slots=True)
class Suggestion:
    """When to renew, and after how long to ask again."""

    window: Validity
    ask_after: timedelta


def renewal_window(stored: StoredCertificate, asked: Iterable[StoredEarlyRenewal]) -> Validity:
    """When a certificate should be renewed; in the past where it was revoked or superseded.

    The same for the same certificate, whoever asks and however often.

    Args:
        stored: the certificate.
        asked: the wishes of administrators about its cluster.
    """
    replaced_at = stored.revoked_at or stored.superseded_at
    position = spread(int(stored.serial, 16))
    regular = suggested_window(Validity(stored.not_before, stored.not_after), replaced_at, position)
    if replaced_at is not None:
        return regular
    wishes = [EarlyRenewal(wish.asked_at, wish.ends_at) for wish in asked]
    return early_window(regular, stored.issued_at, position, wishes)


def suggest(authority: Authority, requester: Requester, cluster: str, serial: str) -> Suggestion:
    """When to renew one certificate of a cluster; a holder may ask about their own.

    Raises:
        NotFoundError: there is none of that serial in the cluster.
    """
    with authority.database.read() as connection:
        now = authority.clock()
        found = authorized_cluster(connection, requester, Permission.READ_CERTIFICATE, cluster, now)
        return _suggestion(connection, readable_certificate(connection, requester, found, serial), now)


def suggest_by_id(authority: Authority, certificate_id: str) -> Suggestion:
    """When to renew the certificate that RFC 9773 names so, for anybody: it tells no more than the certificate does.

    Raises:
        NotFoundError: there is no such certificate; or it is kept no longer.
    """
    try:
        wanted = parse_certificate_id(certificate_id)
    except ValueError as error:
        raise NotFoundError(str(error)) from error
    with authority.database.read() as connection:
        for stored in certificates.with_serial(connection, wanted.serial):
            issuer = known_generation(authority, connection, stored.generation_id)
            if _key_identifier(issuer.certificate) == wanted.key_identifier:
                return _suggestion(connection, stored, authority.clock())
    message = f"there is no certificate {certificate_id}; it may have expired long ago"
    raise NotFoundError(message)


def _suggestion(connection: Connection, stored: StoredCertificate, now: datetime) -> Suggestion:
    asked = renewals.latest(connection, stored.cluster_id) if stored.cluster_id is not None else []
    window = renewal_window(stored, asked)
    ask_after = poll_after(Validity(stored.not_before, stored.not_after))
    return Suggestion(window, SHORTEST_POLL if window.not_before <= now else ask_after)


def _key_identifier(issuer: bytes) -> bytes:
    extensions = from_der(issuer).extensions
    return extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
