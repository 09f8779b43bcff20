"""From a request to its requester: an access token, or the client certificate of the TLS connection."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, ParamSpec, TypeVar

from fastapi import Depends, Request

from trivet.authority.access import Permission, Requester, require_permission
from trivet.authority.authenticate import authenticate_token, recognise_token
from trivet.authority.deny import require_or_record
from trivet.authority.holders import authenticate_certificate, presented
from trivet.authority.metrics import measures
from trivet.pki.errors import AccessDeniedError, AuthenticationError
from trivet.web import logs
from trivet.web.tls import PEER_CERTIFICATE, peer_certificate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from trivet.authority.context import Authority
    from trivet.authority.holders import Presented
    from trivet.web.issuing import Issuing
    from trivet.web.limits import RateLimit
    from trivet.web.offload import Offload

_P = ParamSpec("_P")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Services:
    """What the routes of one application share."""

    authority: Authority
    offload: Offload
    issuing: Issuing
    limit: RateLimit


@dataclass(frozen=True, slots=True)
class Caller:
    """A request on its way to a use case: who asks, and what runs it (`issuing` for certificates)."""

    requester: Requester
    authority: Authority
    offload: Offload
    issuing: Issuing

    async def ask(
        self,
        use_case: Callable[Concatenate[Authority, Requester, _P], _T],
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> _T:
        """Run a use case as who asks, off the event loop.

        Raises:
            Refusal: of the use case.
            UnavailableError: too many are waiting already, or no answer came in time.
        """
        return await self.offload(use_case, self.authority, self.requester, *args, **kwargs)


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
    return await _caller(request, _by_token_or_certificate)


async def applicant(request: Request) -> Caller:
    """Whoever asks for a certificate; a token that this process has seen before is not looked up again here.

    The transaction that issues looks whether the token still stands.

    Raises:
        AuthenticationError, RateLimitedError: as `authenticated`.
    """
    return await _caller(request, _by_known_token)


Applicant = Annotated[Caller, Depends(applicant)]
"""The parameter of a route that issues."""


def presented_certificate(request: Request) -> Presented | None:
    """The client certificate of the connection, counted; whether it is Trivet's is asked by whoever issues.

    Raises:
        AuthenticationError: it cannot be read.
        RateLimitedError: too often.
    """
    if request.scope.get(PEER_CERTIFICATE) is None:
        return None
    with guesses_limited(request):
        shown = _presented(request)
    services_of(request).limit.check(_bucket_of(shown.der))
    return shown


Authenticated = Annotated[Caller, Depends(authenticated)]
"""The parameter of a route that is told who asks."""


def permitted(
    permission: Permission, known: Callable[..., Any] = authenticated, in_dry_run: Permission | None = None
) -> Callable[..., Any]:
    """A dependency that refuses whose role lacks the permission, before anything else of a request is read.

    Args:
        permission: what the route is declared to need.
        known: the dependency that gives its Caller, or None where the use case finds out who asks.
        in_dry_run: what the route needs instead with dryRun=All.
    """

    async def check(request: Request, caller: Caller | None = Depends(known)) -> None:  # noqa: B008  no module's name
        is_dry_run = request.query_params.get("dryRun") == "All"
        if caller is not None:
            asked = (in_dry_run if is_dry_run else None) or permission
            await require(caller, asked, request)

    return check


async def require(caller: Caller, permission: Permission, request: Request) -> None:
    """Refuse whose role lacks the permission; leave a record where a certificate was asked for.

    Raises:
        AccessDeniedError: it lacks it.
    """
    try:
        require_permission(caller.requester, permission)
    except AccessDeniedError:
        cluster = request.path_params.get("cluster")
        body = await request.body()
        await caller.ask(require_or_record, permission, cluster, body)


def limit_address(request: Request) -> None:
    """Count a request by where it comes from, as there is no name yet.

    Raises:
        RateLimitedError: too often.
    """
    services_of(request).limit.check(f"address:{request.client.host if request.client else ''}")


@contextmanager
def guesses_limited(request: Request) -> Iterator[None]:
    """Count whoever is nobody by where they come from: guessing is limited, too.

    Raises:
        RateLimitedError: in place of the AuthenticationError, too often.
    """
    try:
        yield
    except AuthenticationError:
        limit_address(request)
        raise


async def _caller(
    request: Request, authenticate: Callable[[Services, Request], Awaitable[Requester]]
) -> Caller:
    services = services_of(request)
    with guesses_limited(request):
        requester = await authenticate(services, request)
    held = requester.certificate
    services.limit.check(_bucket_of(held.der) if held is not None else requester.name)
    return Caller(requester, services.authority, services.offload, services.issuing)


async def _by_token_or_certificate(services: Services, request: Request) -> Requester:
    token = bearer_token(request)
    if token is None:
        return await _by_certificate(services, request)
    return await services.offload(authenticate_token, services.authority, token, logs.request_id.get())


async def _by_known_token(services: Services, request: Request) -> Requester:
    token = bearer_token(request)
    known = recognise_token(services.authority, token, logs.request_id.get()) if token is not None else None
    return known or await _by_token_or_certificate(services, request)


def _bucket_of(der: bytes) -> str:
    # By what only its holder can present, also before it is known: a serial and a name anybody can put together.
    return f"certificate:{hashlib.sha256(der).hexdigest()}"


async def _by_certificate(services: Services, request: Request) -> Requester:
    shown = _presented(request)
    return await services.offload(
        authenticate_certificate, services.authority, shown.certificate, shown.request_id
    )


def _presented(request: Request) -> Presented:
    try:
        certificate = peer_certificate(request.scope)
        if certificate is not None:
            return presented(certificate, logs.request_id.get())
    except ValueError as error:
        measures.authentication_failed("certificate")
        message = "the client certificate cannot be read"
        raise AuthenticationError(message) from error
    measures.authentication_failed("missing")
    message = (
        "give an access token (Authorization: Bearer trivet_…) or a client certificate that Trivet issued"
    )
    raise AuthenticationError(message)


def bearer_token(request: Request) -> str | None:
    """The access token that a request presents.

    Raises:
        AuthenticationError: it presents something else.
    """
    header = request.headers.get("authorization")
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer":
        measures.authentication_failed("malformed")
        message = "the Authorization header must be of the scheme Bearer"
        raise AuthenticationError(message)
    return token.strip()
