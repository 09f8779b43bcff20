"""The HTTP application: front ends, the answers to refusals, and what surrounds every request."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from fastapi.exceptions import RequestValidationError
from fastapi_offline import FastAPIOffline
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import Match

from trivet.authority.health import check_database
from trivet.pki.errors import Fault, InvalidError, Refusal, UnavailableError
from trivet.web import logs
from trivet.web.authentication import Services
from trivet.web.issuing import Issuing
from trivet.web.kubernetes import AuthorizeRoute, KubernetesApi
from trivet.web.limits import RateLimit
from trivet.web.metrics import metrics_routes
from trivet.web.middleware import RequestContext
from trivet.web.offload import Offload
from trivet.web.openapi import complete_document
from trivet.web.pki import pki_routes
from trivet.web.pki.answering import Answering
from trivet.web.pki.ocsp import OcspRoute
from trivet.web.problems import MAX_FAULTS, PROBLEM_TYPE, describe, pointer, problem
from trivet.web.rest import BODY_SCHEMAS, router
from trivet.web.rest.direct import DirectRoutes, Fork
from trivet.web.routes import PlainRoute

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from fastapi import FastAPI, Request
    from starlette.responses import Response
    from starlette.types import ASGIApp

    from trivet.authority.context import Authority

_log = logging.getLogger(__name__)

API: Final = "/api/v1"
API_VERSION: Final = (
    "0.1.0"  # of the interface that the document describes; `trivet --version` is another thing
)
_STATUS_SLUGS = {404: "notFound", 405: "methodNotAllowed"}


@dataclass(frozen=True, slots=True)
class WebOptions:
    """What the operator chose.

    Attributes:
        rate_per_second: requests that one requester may send in the long run.
        burst: requests that one requester may send at once.
        max_body_bytes: in a body.
        metrics_public: `/metrics` without an access token.
    """

    rate_per_second: float = 50.0
    burst: int = 200
    max_body_bytes: int = 1024 * 1024
    metrics_public: bool = False


def create_app(
    authority: Authority,
    *,
    options: WebOptions | None = None,
    offload: Offload | None = None,
    answering: Answering | None = None,
    at_end: Callable[[], None] = lambda: None,
) -> FastAPI:
    """Build the ASGI application over an authority.

    `offload` and `answering` may be shared with `create_plain_app`; they end with this application.

    Args:
        authority: the context.
        options: what the operator chose.
        offload: runs use cases.
        answering: answers OCSP requests.
        at_end: is called once the last request was answered.
    """
    chosen = options or WebOptions()
    offload, issuing, answering = offload or Offload(), Issuing(authority), answering or Answering(authority)
    limit = RateLimit(chosen.rate_per_second, chosen.burst, time.monotonic)
    services = Services(authority, offload, issuing, limit)
    kubernetes = KubernetesApi(services)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await kubernetes.close()
        await authorize.close()
        await asyncio.to_thread(issuing.close)
        await asyncio.to_thread(answering.close)
        offload.close()
        await asyncio.to_thread(at_end)

    app = FastAPIOffline(
        title="Trivet",
        version=API_VERSION,
        summary="A certificate authority for Kubernetes clusters that run on people's own hardware.",
        openapi_url=f"{API}/openapi.json",
        docs_url="/docs",
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        separate_input_output_schemas=False,
        # Trivet measures itself; to look with every request whether somebody configured OpenTelemetry takes 10 µs.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.state.services = services
    app.include_router(router, prefix=API)
    app.mount("/kubernetes/{cluster}", kubernetes)
    app.router.routes += [
        *_health_routes(authority, offload),
        *metrics_routes(authority, public=chosen.metrics_public),
        *pki_routes(authority, offload),
    ]
    _add_refusals(app)
    app.add_middleware(RequestContext, max_body_bytes=chosen.max_body_bytes)
    direct = DirectRoutes(app, prefix=API, on_refusal=_on_refusal)
    fork = Fork(direct, RequestContext(direct, chosen.max_body_bytes), app.build_middleware_stack())
    authorize = AuthorizeRoute(app, services, OcspRoute(answering, fork))
    app.middleware_stack = authorize
    complete_document(app, BODY_SCHEMAS)
    return app


def create_plain_app(
    authority: Authority, offload: Offload, answering: Answering, *, options: WebOptions | None = None
) -> ASGIApp:
    """Build what the port for plain HTTP answers: `/pki`, and nothing else."""
    app = Starlette(routes=pki_routes(authority, offload), exception_handlers=dict(_REFUSALS))
    app.router.redirect_slashes = False
    other = RequestContext(app, (options or WebOptions()).max_body_bytes)
    return OcspRoute(answering, other)


def _health_routes(authority: Authority, offload: Offload) -> list[PlainRoute]:
    async def livez(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(_: Request) -> Response:
        await offload(check_database, authority)
        return JSONResponse({"status": "ok"})

    endpoints = {"/livez": livez, "/readyz": readyz, "/healthz": readyz}
    return [PlainRoute(path, endpoint, include_in_schema=False) for path, endpoint in endpoints.items()]


def _add_refusals(app: FastAPI) -> None:
    for kind, handler in _REFUSALS.items():
        app.add_exception_handler(kind, handler)


def _answer(status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse(body, status, headers, PROBLEM_TYPE)


def _request_id() -> str:
    return logs.request_id.get() or ""


async def _on_refusal(_: Request, refusal: Refusal) -> JSONResponse:
    status, body, headers = problem(refusal, _request_id())
    level = logging.WARNING if isinstance(refusal, UnavailableError) else logging.INFO
    _log.log(level, "refused: %s", refusal.slug, extra={"fields": {"detail": refusal.detail[:500]}})
    return _answer(status, body, headers)


async def _on_invalid(_: Request, error: RequestValidationError) -> JSONResponse:
    """FastAPI's own checks of parameters, each by its name as a pointer; bodies are read by the routes."""
    found = error.errors()[:MAX_FAULTS]
    faults = tuple(Fault(pointer(item["loc"][1:]), str(item["msg"])) for item in found)
    return _answer(*problem(InvalidError("some fields are wrong", *faults), _request_id()))


async def _on_http(request: Request, error: HTTPException) -> JSONResponse:
    slug = _STATUS_SLUGS.get(error.status_code, "malformed")
    detail = {
        "notFound": f"there is nothing at {request.url.path[:200]}",
        "methodNotAllowed": f"{request.method[:20]} is not possible at {request.url.path[:200]}",
    }.get(slug, "the request cannot be read")
    headers = dict(error.headers or {})
    if "Allow" in headers:
        headers["Allow"] = _allowed(request)
    return _answer(error.status_code, describe(slug, detail, _request_id()), headers)


_REFUSALS: Final[Mapping[type[Exception], Any]] = {
    Refusal: _on_refusal,
    RequestValidationError: _on_invalid,
    HTTPException: _on_http,
}


def _allowed(request: Request) -> str:
    """All methods of a path: the router knows those of one route only, and each operation is a route."""
    routes = request.app.router.routes
    scopes = {method: {**request.scope, "method": method} for method in ("GET", "POST", "PUT", "DELETE")}
    return ", ".join(
        method
        for method, scope in scopes.items()
        if any(route.matches(scope)[0] is Match.FULL for route in routes)
    )
