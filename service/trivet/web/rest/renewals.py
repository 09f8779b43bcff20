"""Renew a certificate, by proof of possession of its key: in the TLS handshake, or in a signed message."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from trivet.authority.access import Permission
from trivet.authority.issuance.application import PresentedRenewal
from trivet.authority.renew import renewal_by_certificate, renewal_by_message
from trivet.pki.errors import AuthenticationError, Fault, InvalidError
from trivet.web import logs
from trivet.web.authentication import (
    Caller,
    authenticated,
    guesses_limited,
    limit_address,
    presented_certificate,
    services_of,
)
from trivet.web.rest import schemas
from trivet.web.rest.bodies import RENEWAL_BODIES, read_renewal
from trivet.web.rest.certificate_answers import ANSWERS, issued, offered
from trivet.web.rest.certificates import OF_CLUSTER
from trivet.web.rest.negotiation import JSON, JWT, PKCS10, content_type, is_message, negotiate
from trivet.web.rest.operation import IdempotencyKey, operation
from trivet.web.tls import PEER_CERTIFICATE

if TYPE_CHECKING:
    from trivet.authority.issue import IssuedCertificate

router = APIRouter(tags=["certificates"])


async def holder(request: Request) -> Caller | None:
    """Whoever has the token, to be told that it renews nothing.

    None where there is proof of a key: by the TLS connection, or by a signed message. Whose it is, is found out later.
    """
    proves = is_message(request) or request.scope.get(PEER_CERTIFICATE) is not None
    return None if proves else await authenticated(request)


Holder = Annotated[Caller | None, Depends(holder)]


@router.post(
    OF_CLUSTER + "/renew",
    status_code=201,
    response_model=schemas.Certificate,
    responses=ANSWERS,
    **operation(
        "renewCertificate",
        Permission.RENEW,
        holder,
        requestBody=RENEWAL_BODIES,
        security=[{"clientCertificate": []}, {}],
    ),
)
async def renew_certificate(
    cluster: str,
    request: Request,
    caller: Holder,
    query: Annotated[schemas.RenewalQuery, Query()],
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Renew the certificate that the connection was made with: same names, same profile, a new key.

    Where a proxy ends TLS, send an application/jwt body instead: a renewal message signed by the current key, which
    carries the CSR. The signature then is the authentication.
    """
    return await answer_renewal(request, cluster, caller, query, idempotency_key)


async def answer_renewal(
    request: Request,
    cluster: str,
    caller: Caller | None,
    query: schemas.RenewalQuery,
    idempotency_key: str | None,
) -> Response:
    """Read the wish, have it fulfilled, and answer."""
    media_type = negotiate(request, offered(request))
    content_type(request, (JSON, PKCS10, JWT))
    seconds = query.expiration_seconds
    if is_message(request):
        made = await _by_message(request, cluster, seconds)
    else:
        made = await _by_certificate(request, caller, cluster, seconds, idempotency_key)
    return issued(media_type, services_of(request).authority, made, cluster)


async def _by_certificate(
    request: Request, caller: Caller | None, cluster: str, seconds: int | None, idempotency_key: str | None
) -> IssuedCertificate:
    shown = presented_certificate(request)
    body, seconds = await read_renewal(request, seconds)
    lifetime = timedelta(seconds=seconds) if seconds else None
    if shown is None:
        if caller is None:
            raise AuthenticationError("nobody asks")
        wish = renewal_by_certificate(caller.requester, cluster, body, lifetime, idempotency_key)
        return await caller.issuing(caller.requester, wish)
    with guesses_limited(request):
        return await services_of(request).issuing(
            None, PresentedRenewal(shown, cluster, body, lifetime, idempotency_key)
        )


async def _by_message(request: Request, cluster: str, seconds: int | None) -> IssuedCertificate:
    services = services_of(request)
    limit_address(request)
    if seconds is not None:
        text = "a renewal message holds the lifetime that is wanted in its claim exs, where it is signed"
        raise InvalidError(text, Fault("/expirationSeconds", text))
    message = await request.body()
    request_id = logs.request_id.get()
    requester, wish = await services.offload(
        renewal_by_message, services.authority, cluster, message, request_id
    )
    return await services.issuing(requester, wish)
