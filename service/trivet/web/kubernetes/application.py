"""The application below `/kubernetes/{cluster}`: who asks, what about, and which verb answers."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from trivet.authority.health import check_database
from trivet.authority.revocations import observe
from trivet.pki.errors import NotFoundError, Refusal, UnavailableError
from trivet.web.kubernetes import (
    changing,
    deleting,
    discovery,
    listing,
    openapi,
    reviews,
    revocations,
    signing_requests,
    stubs,
    watching,
)
from trivet.web.kubernetes.answers import object_answer
from trivet.web.kubernetes.call import Call
from trivet.web.kubernetes.identity import User, identify
from trivet.web.kubernetes.media import not_acceptable, require_json
from trivet.web.kubernetes.resources import (
    CERTIFICATE_SIGNING_REQUEST,
    EVENT,
    NAMESPACE,
    RENEW_REVOCATION,
    SELF_SUBJECT_ACCESS_REVIEW,
    SELF_SUBJECT_REVIEW,
    SELF_SUBJECT_RULES_REVIEW,
)
from trivet.web.kubernetes.status import (
    StatusError,
    answer,
    method_not_allowed,
    no_such_resource,
    not_found,
    of_refusal,
)
from trivet.web.kubernetes.tail import Tail
from trivet.web.kubernetes.target import Target, target_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.types import ASGIApp, Receive, Scope, Send

    from trivet.web.authentication import Services
    from trivet.web.kubernetes.objects import Objects

_log = logging.getLogger(__name__)
_WITHOUT_NAME: Final = frozenset({"create", "list", "watch", "deletecollection"})
_NOT_FOUND: Final = "404 page not found\n"  # as Go's net/http says it
_FOREVER: Final = {"Cache-Control": "public, immutable, max-age=31536000"}


@dataclass(frozen=True, slots=True)
class _Route:
    """What the metrics call a request: the template of its path."""

    path_format: str


async def _get(call: Call) -> Response:
    call.require()
    return object_answer(call, await call.objects.get(call))


_OF_OBJECTS: Final[dict[str, Callable[[Call], Awaitable[ASGIApp]]]] = {
    "get": _get,
    "list": listing.list_objects,
    "watch": watching.watch,
    "create": changing.create,
    "update": changing.replace,
    "patch": changing.patch,
    "delete": deleting.delete,
    "deletecollection": deleting.delete_collection,
}
_OBJECTS: Final[dict[str, Objects]] = {
    RENEW_REVOCATION.plural: revocations,
    CERTIFICATE_SIGNING_REQUEST.plural: signing_requests,
}
_VERBS: Final[dict[tuple[str, str], Callable[[Call], Awaitable[ASGIApp]]]] = {
    (NAMESPACE.plural, "get"): stubs.get_namespace,
    (NAMESPACE.plural, "list"): stubs.list_namespaces,
    (EVENT.plural, "list"): stubs.list_events,
    (SELF_SUBJECT_REVIEW.plural, "create"): reviews.self_subject_review,
    (SELF_SUBJECT_ACCESS_REVIEW.plural, "create"): reviews.self_subject_access_review,
    (SELF_SUBJECT_RULES_REVIEW.plural, "create"): reviews.self_subject_rules_review,
}


class KubernetesApi:
    """Plain ASGI, to be mounted at `/kubernetes/{cluster}`; `close` ends what it reads in the background."""

    def __init__(self, services: Services) -> None:
        """Take what it shares with the other front ends."""
        self._services = services
        self._tail = Tail(services.authority)

    async def close(self) -> None:
        """Stop reading changes."""
        await self._tail.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        path = scope["path"].removeprefix(scope.get("root_path", "")) or "/"
        target = target_of(scope["method"], path, request.query_params)
        scope["route"] = _Route(_template(target))
        user = User("system:anonymous", ())
        try:
            user = await identify(request)
            response = await self._answer(request, target, user)
        except Refusal as refusal:
            response = _refused(refusal, target, user)
        except StatusError as error:
            _log.info("refused: %s", error.reason, extra={"fields": {"detail": error.message[:500]}})
            response = answer(error, target)
        await response(scope, receive, send)

    async def _answer(self, request: Request, target: Target, user: User) -> ASGIApp:
        if target.path in reviews.PUBLIC_PATHS and request.method in {"GET", "HEAD"}:
            return await self._public(target.path)
        if user.caller is None:
            raise StatusError(403, "Forbidden", target.forbidden(user.name))
        call = Call(request, target, user, request.path_params["cluster"], self._tail)
        cluster = await call.run(observe.known_cluster)
        if target.plural:
            return await _about_resource(replace(call, since=cluster.created_at))
        return _about_api(request, target)

    async def _public(self, path: str) -> Response:
        if path.startswith("/version"):
            return discovery.version_answer()
        if path != "/livez":
            await self._services.offload(check_database, self._services.authority)
        return PlainTextResponse("ok")


async def _about_resource(call: Call) -> ASGIApp:
    target = call.target
    if target.resource is None:
        raise no_such_resource()
    verbs = target.resource.verbs_of(target.subresource)
    if verbs is None:
        raise no_such_resource()
    if target.verb not in verbs:
        raise method_not_allowed()
    if target.resource.namespaced and not target.namespace and target.verb not in {"list", "watch"}:
        raise method_not_allowed()
    if target.namespace and not target.resource.namespaced:
        raise no_such_resource()
    if bool(target.name) is (target.verb in _WITHOUT_NAME):
        raise method_not_allowed()
    objects = _OBJECTS.get(target.plural)
    if objects is not None:
        return await _OF_OBJECTS[target.verb](replace(call, made_of=objects))
    return await _VERBS[target.plural, target.verb](call)


def _about_api(request: Request, target: Target) -> Response:
    """Discovery and OpenAPI.

    Raises:
        StatusError: there is no such thing, or not in a form that is accepted.
    """
    if request.method not in {"GET", "HEAD"}:
        raise method_not_allowed()
    found: Response | None = None
    match target.path.strip("/").split("/"):
        case ["api" | "apis" as place]:
            return discovery.aggregated_or(request, place)
        case ["api", version]:
            return discovery.resources_answer(request, "", version)
        case ["apis", group]:
            found = discovery.group_answer(request, group)
        case ["apis", group, version]:
            return discovery.resources_answer(request, group, version)
        case ["openapi", "v2"]:
            # As protobuf only, which kubectl 1.27 and 1.28 need to apply; later ones read version 3.
            raise not_acceptable()
        case ["openapi", "v3"]:
            require_json(request)
            return Response(openapi.index(), media_type="application/json")
        case ["openapi", "v3", *place]:
            require_json(request)
            found = _document(request, "/".join(place))
    return found or PlainTextResponse(_NOT_FOUND, 404)


def _document(request: Request, place: str) -> Response | None:
    body = openapi.document(place)
    if body is None:
        return None
    digest, asked = openapi.digest(place), request.query_params.get("hash")
    tag = f'"{digest}"'
    headers = {"ETag": tag, "Vary": "Accept"} | (_FOREVER if asked == digest else {})
    if tag in request.headers.get("if-none-match", ""):
        return Response(None, 304, headers)
    return Response(body, 200, headers, "application/json")


def _refused(refusal: Refusal, target: Target, user: User) -> Response:
    level = logging.WARNING if isinstance(refusal, UnavailableError) else logging.INFO
    _log.log(level, "refused: %s", refusal.slug, extra={"fields": {"detail": refusal.detail[:500]}})
    if isinstance(refusal, NotFoundError) and target.name:
        return answer(not_found(target), target)
    return answer(of_refusal(refusal, target, user.name), target)


def _template(target: Target) -> str:
    """The path with its names left out: there are few, whatever is asked for."""
    base = "/kubernetes/{cluster}"
    if target.resource is None:
        known = target.path in reviews.PUBLIC_PATHS or target.path in {"/api", "/apis", "/openapi/v3"}
        return base + (target.path if known else "/{path}")
    resource = target.resource
    place = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
    namespace = "/namespaces/{namespace}" if target.namespace else ""
    part = f"/{target.subresource}" if target.subresource in resource.subresources else ""
    names = ("/{name}" if target.name else "") + part
    return f"{base}{place}{namespace}/{resource.plural}{names}"
