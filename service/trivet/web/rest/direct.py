"""Issuing and renewing with little between the socket and the queue.

FastAPI's middleware, routing and dependencies cost about as much as a signature (docs/performance.md). So the two
operations that nearly all requests are for are matched before FastAPI, and take the same steps: who asks, may they,
what do they ask. They are declared as routes all the same, whose functions end in the same endpoints as these.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import parse_qsl

from fastapi import Request
from pydantic import ValidationError
from starlette.routing import compile_path

from trivet.authority.access import Permission
from trivet.pki.errors import AuthenticationError, Fault, InvalidError, Refusal
from trivet.web.authentication import Caller, applicant, require
from trivet.web.rest import certificates, renewals, schemas
from trivet.web.rest.bodies import faults_of
from trivet.web.rest.operation import MAX_KEY

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fastapi import FastAPI
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

_Q = TypeVar("_Q", bound=schemas.Schema)


@dataclass(frozen=True, slots=True)
class DirectRoute:
    """One operation.

    Attributes:
        path_format: its path, as the OpenAPI document has it (by this name metrics ask routes for it).
        permission: what it needs, as its route declares.
        known: finds out who asks.
        endpoint: answers.
    """

    path_format: str
    permission: Permission
    known: Callable[[Request], Awaitable[Caller | None]]
    endpoint: Callable[[Request, str, Caller | None], Awaitable[Response]]
    pattern: re.Pattern[str]


async def _issue(request: Request, cluster: str, caller: Caller | None) -> Response:
    query = _query(request, schemas.IssuanceQuery)
    key = _idempotency_key(request)
    if caller is None:
        raise AuthenticationError("nobody asks")
    return await certificates.answer_issuance(request, cluster, caller, query, key)


async def _renew(request: Request, cluster: str, caller: Caller | None) -> Response:
    query = _query(request, schemas.RenewalQuery)
    key = _idempotency_key(request)
    return await renewals.answer_renewal(request, cluster, caller, query, key)


def _query(request: Request, model: type[_Q]) -> _Q:
    try:
        # As `dict(request.query_params)`, without making the multi-dictionary first (5 µs).
        query = parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True)
        return model.model_validate(dict(query))
    except ValidationError as error:
        message = "some fields are wrong"
        raise InvalidError(message, *faults_of(error)) from None


def _idempotency_key(request: Request) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is not None and len(key) > MAX_KEY:
        message = f"String should have at most {MAX_KEY} characters"
        raise InvalidError("some fields are wrong", Fault("/Idempotency-Key", message))
    return key


def _routes(prefix: str) -> tuple[DirectRoute, ...]:
    of_cluster = prefix + certificates.OF_CLUSTER
    return (
        _route(of_cluster, Permission.ISSUE, applicant, _issue),
        _route(f"{of_cluster}/renew", Permission.RENEW, renewals.holder, _renew),
    )


def _route(
    template: str,
    permission: Permission,
    known: Callable[[Request], Awaitable[Caller | None]],
    endpoint: Callable[[Request, str, Caller | None], Awaitable[Response]],
) -> DirectRoute:
    return DirectRoute(template, permission, known, endpoint, compile_path(template)[0])


class DirectRoutes:
    """Plain ASGI for the operations that are answered directly."""

    def __init__(
        self,
        app: FastAPI,
        prefix: str,
        on_refusal: Callable[[Request, Refusal], Awaitable[Response]],
    ) -> None:
        """Take the application, whose routes begin with the prefix, and its answer to refusals."""
        self._app = app
        self._routes: Final = _routes(prefix)
        self._on_refusal = on_refusal

    def match(self, scope: Scope) -> bool:
        """Whether the request is answered here; the scope is told by which route."""
        if scope["type"] != "http" or scope["method"] != "POST":
            return False
        for route in self._routes:
            match = route.pattern.match(scope["path"])
            if match is not None:
                scope["app"], scope["route"] = self._app, route
                scope["path_params"] = {"cluster": match["cluster"]}
                return True
        return False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that was matched."""
        request, route = Request(scope, receive), scope["route"]
        try:
            caller = await route.known(request)
            if caller is not None:
                await require(caller, route.permission, request)
            response = await route.endpoint(request, scope["path_params"]["cluster"], caller)
        except Refusal as refusal:
            response = await self._on_refusal(request, refusal)
        await response(scope, receive, send)


class Fork:
    """Plain ASGI before everything: what is answered directly goes one way, all else the other."""

    def __init__(self, direct: DirectRoutes, answered: ASGIApp, other: ASGIApp) -> None:
        """Take who tells them apart, and both ways."""
        self._direct = direct
        self._answered = answered
        self._other = other

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send a request its way."""
        await (self._answered if self._direct.match(scope) else self._other)(scope, receive, send)
