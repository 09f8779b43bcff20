"""Begin an installation: the service authority, the first administrator, and proof of the key-encryption key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trivet.authority.access import Requester, Role
from trivet.authority.create import add_authority, make_root
from trivet.authority.issuance.application import Issuance
from trivet.authority.issue import IssuedCertificate, issue
from trivet.pki.pem import from_der
from trivet.pki.profiles import AuthorityName
from trivet.pki.roots import RootAlgorithm
from trivet.pki.validity import validity_of
from trivet.signing.encryption import WrongKeyError
from trivet.store import authorities, installation, revocations
from trivet.store.clusters import ALL_CLUSTERS

if TYPE_CHECKING:
    from trivet.authority.context import Authority

OPERATOR = Requester("operator", Role.ADMIN)
"""Whoever runs `trivet` on the server itself, with the database and the key-encryption key at hand."""


class NotReadyError(Exception):
    """The service cannot start; the message says why and what to do."""


def install(authority: Authority) -> bool:
    """Make the service authority and store the proof of the key-encryption key, once.

    Returns:
        whether the installation was made now.

    Raises:
        WrongKeyError: it was made before, under another key-encryption key.
    """
    with authority.database.write() as connection:
        check = installation.key_check(connection)
        if check is not None:
            _compare(authority, check)
            return False
        now = authority.clock()
        installation.begin(connection, authority.key_encryption_key.check(), now)
        revocations.add_set(connection, ALL_CLUSTERS)
        certificate, key = make_root(authority, AuthorityName.SERVICE, "Trivet", RootAlgorithm.P384)
        add_authority(authority, connection, None, AuthorityName.SERVICE, certificate, key)
        return True


def _compare(authority: Authority, check: str) -> None:
    if check != authority.key_encryption_key.check():
        message = (
            "the key-encryption key is not the one that this database was made with; the private keys in it"
            " cannot be opened. Give the key that `trivet init` made or was given."
        )
        raise WrongKeyError(message)


def check_ready(authority: Authority) -> None:
    """Refuse to start where it could not work.

    Raises:
        NotReadyError: nothing is installed, or the clock is outside the service authority's validity.
        WrongKeyError: the key-encryption key is another one.
    """
    with authority.database.read() as connection:
        check = installation.key_check(connection)
        if check is None:
            message = "this database has no installation yet; run `trivet init`"
            raise NotReadyError(message)
        _compare(authority, check)
        generation = authorities.active_generation(connection, None, AuthorityName.SERVICE)
    validity = validity_of(from_der(generation.certificate))
    now = authority.clock()
    if not validity.contains(now):
        message = (
            f"the clock says {now:%Y-%m-%dT%H:%M:%SZ}, but the service authority is valid from"
            f" {validity.not_before:%Y-%m-%dT%H:%M:%SZ} to {validity.not_after:%Y-%m-%dT%H:%M:%SZ};"
            " set the clock right"
        )
        raise NotReadyError(message)
    authority.keyring.signer(generation.id, generation.certificate, generation.private_key)


def service_certificate(authority: Authority) -> bytes:
    """The service authority's certificate, DER: what clients of this Trivet trust."""
    with authority.database.read() as connection:
        return authorities.active_generation(connection, None, AuthorityName.SERVICE).certificate


def issue_service_certificate(authority: Authority, request: bytes) -> IssuedCertificate:
    """Issue Trivet's own HTTPS certificate for a CSR with its host names."""
    return issue(authority, OPERATOR, Issuance(None, "trivet-server", request))
