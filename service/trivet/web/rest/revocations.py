"""RenewRevocations of a cluster, and of all clusters: the same operations at two places."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.responses import JSONResponse

from trivet.authority import preview, revoke, search
from trivet.authority.access import Permission
from trivet.authority.revocations import standing
from trivet.authority.revoke import Revoked
from trivet.pki.errors import BadRevocationError, Fault
from trivet.pki.manifest import RenewRevocation, parse_renew_revocation
from trivet.web.authentication import Authenticated, Caller
from trivet.web.rest import render, schemas
from trivet.web.rest.documents import read_document
from trivet.web.rest.negotiation import (
    JSON,
    YAML,
    content_type,
    decode_cursor,
    encode_cursor,
    etag,
    expected_version,
    link_next,
)
from trivet.web.rest.operation import Cursor, IdempotencyKey, IfMatch, Limit, body_of, operation, schema_of
from trivet.web.warning_header import add_warnings

if TYPE_CHECKING:
    from collections.abc import Callable

router = APIRouter(tags=["revocations"])


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request on its way: who asks, and in which cluster; None for all."""

    request: Request
    caller: Caller
    cluster: str | None

    async def run(self, use_case: Callable[..., Any], *args: object, **named: object) -> Any:  # noqa: ANN401
        """Run a use case whose first parameters are who asks and where."""
        caller = self.caller
        return await caller.ask(use_case, self.cluster, *args, **named)


@dataclass(frozen=True, slots=True)
class _Care:
    """How carefully a change is to be made: only previewed, or after its preview was read."""

    dry_run: bool
    confirmation: str | None


async def _asked(request: Request, caller: Authenticated) -> _Asked:
    return _Asked(request, caller, request.path_params.get("cluster"))


async def _care(
    dry_run: Annotated[
        schemas.DryRun | None, Query(alias="dryRun", description="`All`: preview it, do nothing.")
    ] = None,
    confirm: Annotated[str | None, Query(max_length=200, description="The token of its preview.")] = None,
) -> _Care:
    return _Care(dry_run is not None, confirm)


Asked = Annotated[_Asked, Depends(_asked)]
Care = Annotated[_Care, Depends(_care)]


async def create(asked: Asked, care: Care, idempotency_key: IdempotencyKey = None) -> Response:
    """Let a RenewRevocation stand; every live certificate that it names is revoked at once."""
    wanted = await _read(asked)
    if care.dry_run:
        return await _preview(asked, wanted)
    revoked = await asked.run(
        revoke.create_revocation, wanted, confirmation=care.confirmation, idempotency_key=idempotency_key
    )
    answer = _shown(revoked, 201)
    answer.headers["Location"] = f"{asked.request.url.path}/{wanted.namespace}/{wanted.name}"
    return answer


async def list_all(asked: Asked, limit: Limit = 100, cursor: Cursor = None) -> Response:
    """List standing RenewRevocations by namespace and name."""
    after = decode_cursor(cursor, 2)
    found = await asked.run(standing.list_revocations, (after[0], after[1]) if after else None, limit + 1)
    last = found[limit - 1] if len(found) > limit else None
    following = encode_cursor(last.namespace, last.name) if last else None
    answer = JSONResponse(
        {"items": [render.revocation(Revoked(stored)) for stored in found[:limit]], "next": following}
    )
    link_next(asked.request, answer, following)
    return answer


async def get(asked: Asked, namespace: str, name: str) -> Response:
    """Get a RenewRevocation."""
    return _shown(Revoked(await asked.run(standing.get_revocation, namespace, name)))


async def replace(asked: Asked, namespace: str, name: str, care: Care, if_match: IfMatch = None) -> Response:
    """Put another content in a RenewRevocation's place; what is revoked already stays so."""
    version = expected_version(if_match)
    wanted = await _read(asked)
    if (wanted.namespace, wanted.name) != (namespace, name):
        message = "the object's namespace and name must be those of the URL"
        raise BadRevocationError(message, Fault("/metadata", "must hold the namespace and name of the URL"))
    if care.dry_run:
        return await _preview(asked, wanted)
    revoked = await asked.run(
        revoke.replace_revocation, wanted, expected_version=version, confirmation=care.confirmation
    )
    return _shown(revoked)


async def delete(asked: Asked, namespace: str, name: str, if_match: IfMatch = None) -> None:
    """Let a RenewRevocation stand no longer; certificates that it revoked stay revoked."""
    version = expected_version(if_match)
    await asked.run(revoke.delete_revocation, namespace, name, expected_version=version)


async def _read(asked: Asked) -> RenewRevocation:
    media_type = content_type(asked.request, (YAML, JSON))
    body = await asked.request.body()
    # Off the event loop: a long document takes its time.
    return await asked.caller.offload(_parse, body, media_type)


def _parse(body: bytes, media_type: str) -> RenewRevocation:
    return parse_renew_revocation(read_document(body, media_type))


async def _preview(asked: _Asked, wanted: RenewRevocation) -> Response:
    authority = asked.caller.authority
    seen = await asked.run(preview.preview_revocation, wanted)
    names, issuers = await asked.caller.offload(search.names_and_issuers, authority, seen.sample)
    answer = JSONResponse(render.preview(seen, names, issuers, authority.clock()).model_dump(mode="json"))
    add_warnings(answer, seen.outlook.warnings)
    return answer


def _shown(revoked: Revoked, status: int = 200) -> Response:
    answer = JSONResponse(render.revocation(revoked), status)
    answer.headers["ETag"] = etag(revoked.revocation.version)
    add_warnings(answer, revoked.warnings)
    return answer


_OBJECT = schema_of(schemas.RenewRevocation)
_PREVIEW = schema_of(schemas.RevocationPreview)
_BODY = body_of({JSON: _OBJECT, YAML: _OBJECT})
_PREVIEWED: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "What it would do (dryRun=All).", "model": schemas.RevocationPreview}
}
_REPLACED: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The object, or (dryRun=All) what it would do.",
        "content": {JSON: {"schema": {"anyOf": [_OBJECT["schema"], _PREVIEW["schema"]]}}},
    }
}


def _add_routes(prefix: str, resource: str) -> None:
    """Declare the operations at one place; `resource` keeps their ids apart."""
    one = prefix + "/{namespace}/{name}"
    write, read = Permission.WRITE_REVOCATION, Permission.READ_REVOCATION
    router.add_api_route(
        prefix,
        create,
        methods=["POST"],
        status_code=201,
        response_model=schemas.RenewRevocation,
        responses=_PREVIEWED,
        **operation(f"create{resource}", write, in_dry_run=Permission.PREVIEW_REVOCATION, requestBody=_BODY),
    )
    router.add_api_route(
        prefix,
        list_all,
        methods=["GET"],
        response_model=schemas.RenewRevocationPage,
        **operation(f"list{resource}s", read),
    )
    router.add_api_route(
        one,
        get,
        methods=["GET"],
        response_model=schemas.RenewRevocation,
        **operation(f"get{resource}", read),
    )
    router.add_api_route(
        one,
        replace,
        methods=["PUT"],
        responses=_REPLACED,
        **operation(f"replace{resource}", write, in_dry_run=Permission.PREVIEW_REVOCATION, requestBody=_BODY),
    )
    router.add_api_route(
        one,
        delete,
        methods=["DELETE"],
        status_code=204,
        **operation(f"delete{resource}", write),
    )


_add_routes("/clusters/{cluster}/renew-revocations", "RenewRevocation")
_add_routes("/renew-revocations", "GlobalRenewRevocation")
