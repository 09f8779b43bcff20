"""The wish to renew a certificate, by one who proved to hold its key; `issue` fulfils it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from trivet.authority import measures
from trivet.authority.access import Requester, Role
from trivet.authority.application import Renewal
from trivet.authority.authenticate import authenticate_certificate
from trivet.authority.deny import record_refusal
from trivet.pki.errors import AccessDeniedError, AuthenticationError
from trivet.pki.possession import check_fresh, parse_renewal_message

if TYPE_CHECKING:
    from datetime import timedelta

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


def renewal_by_message(
    authority: Authority,
    cluster: str,
    message: bytes,
    request_id: str | None = None,
) -> tuple[Requester, Renewal]:
    """The wish to renew the certificate whose key signed the message, and who sent it.

    Sent again, it gives the same certificate.

    Raises:
        MalformedError, AuthenticationError: the message is not one, not fresh, or of an unknown certificate.
    """
    proof = parse_renewal_message(message)
    requester = authenticate_certificate(authority, proof.certificate, request_id)
    try:
        check_fresh(proof, cluster, authority.clock())
    except AuthenticationError as refusal:
        measures.authentication_failed("message")
        # A message that was kept, or meant for elsewhere, is what an auditor wants to see.
        record_refusal(authority, requester, "renew", cluster, message, refusal)
        raise
    # Without the signature, which has more than one spelling: none of them may count as another wish.
    once = hashlib.sha256(message.rpartition(b".")[0]).hexdigest()
    return requester, renewal_by_certificate(requester, cluster, proof.request, proof.lifetime, once)
