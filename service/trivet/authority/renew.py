"""The wish to renew a certificate, by one who proved to hold its key; `issue` fulfils it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from trivet.authority import record
from trivet.authority.access import Permission, Requester, Role, authorized_cluster
from trivet.authority.deny import record_refusal
from trivet.authority.holders import authenticate_certificate
from trivet.authority.issuance.application import Renewal
from trivet.authority.metrics import measures
from trivet.pki.errors import AccessDeniedError, AuthenticationError, ConflictError, NotFoundError
from trivet.pki.possession import CARRIED_AGE, MAX_AGE, check_fresh, parse_renewal_message
from trivet.store import repairs

if TYPE_CHECKING:
    from datetime import timedelta
    from uuid import UUID

    from trivet.authority.context import Authority


def renewal_by_certificate(
    requester: Requester,
    cluster: str,
    request: bytes,
    lifetime: timedelta | None = None,
    idempotency_key: str | None = None,
) -> Renewal:
    """The wish to renew the certificate whose key the requester proved to hold in the TLS handshake.

    Raises:
        AccessDeniedError: the requester holds no certificate.
    """
    if requester.role is not Role.HOLDER or requester.certificate is None:
        message = "a renewal needs the certificate's own key: connect with the certificate, or send a signed message"
        raise AccessDeniedError(message)
    return Renewal(requester.certificate, cluster, request, lifetime, idempotency_key)


def renewal_by_carried_message(
    authority: Authority,
    requester: Requester,
    cluster: str,
    window_id: UUID,
    message: bytes,
) -> tuple[Requester, Renewal]:
    """The wish to renew the certificate whose key signed the message, which an administrator carried here.

    It may be days old, as it comes by hand. That is safe: an administrator vouches for it, a window must be open, and
    it can only yield a certificate for the key that is in it, and for an expired certificate only once, as that is
    replaced then.

    Raises:
        AccessDeniedError: the requester may not repair.
        NotFoundError, ConflictError: there is no such window, or it is over.
        MalformedError, AuthenticationError: the message is not one, is too old, or of an unknown certificate.
    """
    with authority.database.read() as connection:
        now = authority.clock()
        found = authorized_cluster(connection, requester, Permission.WRITE_REPAIR, cluster, now)
        window = repairs.find(connection, found.id, window_id)
    if window is None:
        text = f"there is no repair window {window_id} of the cluster {cluster}"
        raise NotFoundError(text)
    if not window.is_open(now):
        text = f"the repair window {window_id} is over; open another: trivet repair {cluster}"
        raise ConflictError(text)
    holder, wish = _by_message(authority, cluster, message, requester.request_id, CARRIED_AGE)
    with authority.database.write() as connection:
        # The decision record names the certificate; who carried its message stands here.
        details = {"certificate": wish.current.serial, "node": wish.current.node}
        record.change(authority, connection, requester, "repair.carry", str(window.id), found.id, details)
    return holder, wish


def renewal_by_message(
    authority: Authority,
    cluster: str,
    message: bytes,
    request_id: str | None = None,
) -> tuple[Requester, Renewal]:
    """The wish to renew the certificate whose key signed the message, and who sent it.

    The same request for the same certificate, sent again or signed anew, gives the same certificate.

    Raises:
        MalformedError, AuthenticationError: the message is not one, not fresh, or of an unknown certificate.
    """
    return _by_message(authority, cluster, message, request_id, MAX_AGE)


def _by_message(
    authority: Authority, cluster: str, message: bytes, request_id: str | None, max_age: timedelta
) -> tuple[Requester, Renewal]:
    proof = parse_renewal_message(message)
    requester = authenticate_certificate(authority, proof.certificate, request_id)
    try:
        check_fresh(proof, cluster, authority.clock(), max_age)
    except AuthenticationError as refusal:
        measures.authentication_failed("message")
        # A message that was kept, or meant for elsewhere, is what an auditor wants to see.
        record_refusal(authority, requester, "renew", cluster, message, refusal)
        raise
    # By what it asks for, not by its spelling or time: whoever did not hear the answer may say it anew.
    once = hashlib.sha256(proof.request).hexdigest()
    if proof.lifetime is not None:
        once += f".{proof.lifetime.total_seconds():.0f}"
    return requester, renewal_by_certificate(requester, cluster, proof.request, proof.lifetime, once)
