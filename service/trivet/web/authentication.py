"""From a request to its requester: an access token, or the client certificate of the TLS connection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, Request

from trivet.authority.authenticate import authenticate_certificate, authenticate_token
from trivet.pki.errors import AuthenticationError
from trivet.web import logs
from trivet.web.tls import peer_certificate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trivet.authority.access import Requester
    from trivet.authority.context import Authority
    from trivet.web.limits import RateLimit
    from trivet.web.offload import Offload


@dataclass(frozen=True, slots=True)
class Services:
    """What the routes of one application share."""

    authority: Authority
    offload: Offload
    limit: RateLimit


@dataclass(frozen=True, slots=True)
class Caller:
    """A request on its way to a use case: who asks, and what runs it."""

    requester: Requester
    authority: Authority
    offload: Offload


def services_of(request: Request) -> Services:
    """The services of the application that a request came to."""
    services: Services = request.app.state.services
    return services


async def authenticated(request: Request) -> Caller:
    """Whoever asks, by token or (without one) by certificate.

    Raises:
        AuthenticationError: by neither.
        RateLimitedError: too often.
    """
    return await _caller(request, token=_bearer_token(request))


async def certificate_holder(request: Request) -> Caller:
    """Whoever holds the key of the connection's client certificate, whatever else the request says.

    Raises:
        AuthenticationError, RateLimitedError: as `authenticated`.
    """
    return await _caller(request, token=None)


AnyCaller = Annotated[Any, Depends(authenticated)]


async def _caller(request: Request, token: str | None) -> Caller:
    services = services_of(request)
    try:
        requester = await _authenticate(services, request.scope, token)
    except AuthenticationError:
        # Guessing is limited by where it comes from, as there is no name yet.
        services.limit.check(f"address:{request.client.host if request.client else ''}")
        raise
    services.limit.check(requester.name)
    return Caller(requester, services.authority, services.offload)


async def _authenticate(services: Services, scope: Mapping[str, Any], token: str | None) -> Requester:
    request_id = logs.request_id.get()
    if token is not None:
        return await services.offload(authenticate_token, services.authority, token, request_id)
    try:
        certificate = peer_certificate(scope)
    except ValueError as error:
        message = "the client certificate cannot be read"
        raise AuthenticationError(message) from error
    if certificate is None:
        message = "give an access token (Authorization: Bearer trivet_…) or a client certificate that Trivet issued"
        raise AuthenticationError(message)
    return await services.offload(authenticate_certificate, services.authority, certificate, request_id)


def _bearer_token(request: Request) -> str | None:
    header = request.headers.get("authorization")
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer":
        message = "the Authorization header must be of the scheme Bearer"
        raise AuthenticationError(message)
    return token.strip()
