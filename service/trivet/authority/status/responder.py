"""The delegated OCSP responder of each generation: made when somebody first asks, renewed by a chore.

Its certificate is issued like all others, with a serial number, a decision record and the check of the revocations. Its
key is stored encrypted, so that all processes sign by the same certificate: whichever of them holds the lease makes the
next one.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Final

from trivet.authority.access import Requester, Role
from trivet.authority.issuance.application import Issuance
from trivet.authority.issuance.certify import signers_at_work
from trivet.authority.issue import issue
from trivet.pki.errors import UnavailableError
from trivet.pki.kubernetes import RESPONDER_PROFILES
from trivet.pki.ocsp_response import ResponderId
from trivet.pki.pem import from_der
from trivet.pki.serials import serial_hex
from trivet.pki.validity import SHORTEST, plan_validity, validity_of
from trivet.signing.responder import new_responder_key
from trivet.store import authorities, certificates, clusters, ocsp_responders
from trivet.store.ocsp_responders import StoredResponder

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from trivet.authority.context import Authority
    from trivet.authority.issuance.case import IssuedCertificate
    from trivet.pki.validity import Validity
    from trivet.signing.signer import Signer
    from trivet.store.authorities import Generation
    from trivet.store.certificates import StoredCertificate

_log = logging.getLogger(__name__)

KEEPER: Final = Requester("trivet", Role.ADMIN)
"""Who asks for the responders' certificates: the service itself."""

_LEASE: Final = timedelta(seconds=30)
_RENEWED_AFTER: Final = 2 / 3  # of the lifetime, as agents do
_AT_ONCE: Final = 32


@dataclass(frozen=True)
class Responder:
    """A responder that is ready to sign.

    Attributes:
        stored: as the database has it.
        signer: holds its key.
        identity: what responses state of it.
        serial: of its certificate.
        validity: of its certificate; responses stay within.
    """

    stored: StoredResponder
    signer: Signer
    identity: ResponderId
    serial: str
    validity: Validity

    @cached_property
    def key(self) -> tuple[str, UUID]:
        """Its own certificate, as `store.status` looks it up."""
        return self.serial, self.stored.generation_id

    def is_due(self, now: datetime) -> bool:
        """Whether the next one should be there."""
        return now >= self.stored.renew_at


def open_responder(authority: Authority, stored: StoredResponder) -> Responder:
    """Open a responder's key.

    Raises:
        UnavailableError: it does not open, or belongs to another certificate; an operator has to look at the log.
    """
    with signers_at_work():
        opened = authority.keyring.open(stored.certificate_id, stored.certificate, stored.private_key)
    certificate = from_der(stored.certificate)
    identity = ResponderId(stored.certificate, opened.issuer.algorithm)
    serial = serial_hex(certificate.serial_number)
    return Responder(stored, opened.signer, identity, serial, validity_of(certificate))


def make_responder(authority: Authority, cluster: str, generation: Generation) -> StoredResponder | None:
    """Make the next responder of a generation and store it in the place of the one before.

    Returns:
        the responder; None where another process makes it just now.

    Raises:
        ExpiredError: the authority's certificate is no longer valid for long enough; nothing was tried.
        RevokedError: an entry bans it.
        UnavailableError: the database cannot be reached.
    """
    now = authority.clock()
    plan_validity(now, None, SHORTEST, validity_of(from_der(generation.certificate)))
    until = now + _LEASE
    if not _take_lease(authority, generation, now, until):
        return None
    try:
        return _make(authority, cluster, generation, now)
    except Exception:
        with suppress(UnavailableError), authority.database.write() as connection:
            ocsp_responders.give_back(connection, generation.id, until)
        raise


def _take_lease(authority: Authority, generation: Generation, now: datetime, until: datetime) -> bool:
    with authority.database.write() as connection:
        return ocsp_responders.take_lease(connection, generation.id, now, until)


def _make(authority: Authority, cluster: str, generation: Generation, now: datetime) -> StoredResponder:
    key, request = new_responder_key()
    profile = RESPONDER_PROFILES[generation.name]
    issued = issue(authority, KEEPER, Issuance(cluster, profile.name, request, responder_of=generation))
    made = _stored(issued, generation.id, authority.keyring.encrypt(key), now)
    with authority.database.write() as connection:
        before = ocsp_responders.find(connection, generation.id)
        ocsp_responders.put(connection, made)
        if before is not None:
            certificates.supersede(connection, [before.certificate_id], now)
    _log.info("the OCSP responder of the authority %s of the cluster %s is new", generation.name, cluster)
    return made


def _stored(issued: IssuedCertificate, generation: UUID, key: bytes, now: datetime) -> StoredResponder:
    certificate: StoredCertificate = issued.stored
    renew_at = now + (certificate.not_after - now) * _RENEWED_AFTER
    return StoredResponder(generation, certificate.id, certificate.der, key, renew_at)


def renew_responders(authority: Authority) -> bool:
    """Make those that are due, some at a time; says whether more are left.

    Raises:
        UnavailableError: the database cannot be reached.
    """
    now = authority.clock()
    with authority.database.read() as connection:
        due = ocsp_responders.due(connection, now, _AT_ONCE)
        wanted = [authorities.generation(connection, one) for one in due]
        owners = {one.id: authorities.owner(connection, one.authority_id) for one in wanted}
        names = clusters.names_by_id(connection) if wanted else {}
    for generation in wanted:
        owner = owners[generation.id].cluster_id
        if owner is not None:
            _renew(authority, names[owner], generation)
    return len(due) == _AT_ONCE


def _renew(authority: Authority, cluster: str, generation: Generation) -> None:
    now = authority.clock()
    try:
        # Where it fails the lease stays taken, so that those that cannot be made do not come up again at once.
        if _take_lease(authority, generation, now, now + _LEASE):
            _make(authority, cluster, generation, now)
    except Exception as error:  # noqa: BLE001  of one cluster; the others' turn comes all the same
        _log.warning(
            "no OCSP responder for the authority %s of the cluster %s: %s; again when its lease ends",
            generation.name,
            cluster,
            error,
        )
