"""RenewRevocations of a cluster, and of all clusters: the same operations at two places."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Query, Request, Response

from trivet.authority import preview, revoke, search
from trivet.authority.access import Permission
from trivet.authority.revoke import Revoked
from trivet.pki.errors import BadRevocationError, Fault
from trivet.pki.manifest import RenewRevocation, parse_renew_revocation
from trivet.web.authentication import Caller, authenticated
from trivet.web.rest import render, schemas
from trivet.web.rest.documents import read_document
from trivet.web.rest.negotiation import (
    JSON,
    YAML,
    add_warnings,
    content_type,
    decode_cursor,
    encode_cursor,
    etag,
    expected_version,
    link_next,
)
from trivet.web.rest.operation import Cursor, IdempotencyKey, IfMatch, Limit, bodies, operation

router = APIRouter(tags=["revocations"])
Authenticated = Annotated[Caller, Depends(authenticated)]
DryRun = Annotated[Literal["All"] | None, Query(alias="dryRun", description="`All`: preview it, do nothing.")]
Confirm = Annotated[str | None, Query(max_length=200, description="The token of its preview.")]

_SCHEMA: Final[dict[str, Any]] = {"schema": {"$ref": "#/components/schemas/RenewRevocation"}}
_BODIES = bodies({JSON: _SCHEMA, YAML: _SCHEMA})
_PREVIEWED: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "What it would do (dryRun=All).", "model": schemas.RevocationPreview}
}


async def _read(request: Request) -> RenewRevocation:
    media_type = content_type(request, (YAML, JSON))
    return parse_renew_revocation(read_document(await request.body(), media_type))


async def _preview(caller: Caller, cluster: str | None, wanted: RenewRevocation, response: Response) -> Any:  # noqa: ANN401
    seen = await caller.offload(preview.preview_revocation, caller.authority, caller.requester, cluster, wanted)
    names, issuers = await caller.offload(search.names_and_issuers, caller.authority, seen.sample)
    add_warnings(response, seen.warnings)
    response.status_code = 200
    return render.preview(seen, names, issuers, caller.authority.clock())


def _shown(revoked: Revoked, response: Response) -> dict[str, Any]:
    response.headers["ETag"] = etag(revoked.revocation.version)
    add_warnings(response, revoked.warnings)
    return render.revocation(revoked)


async def _create(  # noqa: PLR0913
    caller: Caller,
    cluster: str | None,
    request: Request,
    response: Response,
    dry_run: str | None,
    confirm: str | None,
    idempotency_key: str | None,
) -> Any:  # noqa: ANN401
    wanted = await _read(request)
    if dry_run:
        return await _preview(caller, cluster, wanted, response)
    revoked = await caller.offload(
        revoke.create_revocation,
        caller.authority,
        caller.requester,
        cluster,
        wanted,
        confirmation=confirm,
        idempotency_key=idempotency_key,
    )
    response.headers["Location"] = f"{request.url.path}/{wanted.namespace}/{wanted.name}"
    return _shown(revoked, response)


async def _list(  # noqa: PLR0913
    caller: Caller, cluster: str | None, request: Request, response: Response, limit: int, cursor: str | None
) -> Any:  # noqa: ANN401
    after = decode_cursor(cursor, 2)
    found = await caller.offload(
        revoke.list_revocations,
        caller.authority,
        caller.requester,
        cluster,
        (after[0], after[1]) if after else None,
        limit + 1,
    )
    last = found[limit - 1] if len(found) > limit else None
    following = encode_cursor(last.namespace, last.name) if last else None
    link_next(request, response, following)
    return {"items": [render.revocation(Revoked(stored)) for stored in found[:limit]], "next": following}


async def _replace(  # noqa: PLR0913
    caller: Caller,
    cluster: str | None,
    place: tuple[str, str],
    request: Request,
    response: Response,
    dry_run: str | None,
    confirm: str | None,
    if_match: str | None,
) -> Any:  # noqa: ANN401
    wanted = await _read(request)
    if (wanted.namespace, wanted.name) != place:
        message = "the object's namespace and name must be those of the URL"
        raise BadRevocationError(message, Fault("/metadata", f"must name {'/'.join(place)}"))
    if dry_run:
        return await _preview(caller, cluster, wanted, response)
    revoked = await caller.offload(
        revoke.replace_revocation,
        caller.authority,
        caller.requester,
        cluster,
        wanted,
        expected_version=expected_version(if_match),
        confirmation=confirm,
    )
    return _shown(revoked, response)


def _add_routes(prefix: str, suffix: str) -> None:
    """Declare the operations at one place. `suffix` keeps their ids apart; `prefix` may hold {cluster}."""

    @router.post(
        prefix,
        status_code=201,
        response_model=schemas.RenewRevocation,
        responses=_PREVIEWED,
        **operation(f"create{suffix}", Permission.WRITE_REVOCATION, extra=_BODIES),
    )
    async def create(  # noqa: PLR0913
        request: Request,
        response: Response,
        caller: Authenticated,
        dry_run: DryRun = None,
        confirm: Confirm = None,
        idempotency_key: IdempotencyKey = None,
    ) -> Any:  # noqa: ANN401
        """Let a RenewRevocation stand; every live certificate that it names is revoked at once."""
        cluster = request.path_params.get("cluster")
        made = await _create(caller, cluster, request, response, dry_run, confirm, idempotency_key)
        return _as_json(made, response, 200 if dry_run else 201)

    @router.get(
        prefix,
        response_model=schemas.Page[schemas.RenewRevocation],
        **operation(f"list{suffix}s", Permission.READ_REVOCATION),
    )
    async def list_all(
        request: Request, response: Response, caller: Authenticated, limit: Limit = 100, cursor: Cursor = None
    ) -> Any:  # noqa: ANN401
        """List standing RenewRevocations by namespace and name."""
        found = await _list(caller, request.path_params.get("cluster"), request, response, limit, cursor)
        return _as_json(found, response, 200)

    @router.get(
        prefix + "/{namespace}/{name}",
        response_model=schemas.RenewRevocation,
        **operation(f"get{suffix}", Permission.READ_REVOCATION),
    )
    async def get(
        request: Request, response: Response, namespace: str, name: str, caller: Authenticated
    ) -> Any:  # noqa: ANN401
        """Get a RenewRevocation."""
        cluster = request.path_params.get("cluster")
        stored = await caller.offload(
            revoke.get_revocation, caller.authority, caller.requester, cluster, namespace, name
        )
        return _as_json(_shown(Revoked(stored), response), response, 200)

    @router.put(
        prefix + "/{namespace}/{name}",
        response_model=schemas.RenewRevocation,
        **operation(f"replace{suffix}", Permission.WRITE_REVOCATION, extra=_BODIES),
    )
    async def replace(  # noqa: PLR0913
        request: Request,
        response: Response,
        namespace: str,
        name: str,
        caller: Authenticated,
        dry_run: DryRun = None,
        confirm: Confirm = None,
        if_match: IfMatch = None,
    ) -> Any:  # noqa: ANN401
        """Put another content in a RenewRevocation's place; what is revoked already stays so."""
        cluster = request.path_params.get("cluster")
        place = (namespace, name)
        changed = await _replace(caller, cluster, place, request, response, dry_run, confirm, if_match)
        return _as_json(changed, response, 200)

    @router.delete(
        prefix + "/{namespace}/{name}",
        status_code=204,
        **operation(f"delete{suffix}", Permission.WRITE_REVOCATION),
    )
    async def delete(
        request: Request, namespace: str, name: str, caller: Authenticated, if_match: IfMatch = None
    ) -> None:
        """Let a RenewRevocation stand no longer; certificates that it revoked stay revoked."""
        await caller.offload(
            revoke.delete_revocation,
            caller.authority,
            caller.requester,
            request.path_params.get("cluster"),
            namespace,
            name,
            expected_version=expected_version(if_match),
        )


def _as_json(content: Any, response: Response, status: int) -> Response:  # noqa: ANN401
    """Answer with the headers gathered so far: repeated ones (Warning) must survive."""
    from fastapi.encoders import jsonable_encoder
    from starlette.responses import JSONResponse

    answer = JSONResponse(jsonable_encoder(content, by_alias=True), status)
    for name, value in response.headers.items():
        answer.headers.append(name, value)
    return answer


_add_routes("/clusters/{cluster}/renew-revocations", "RenewRevocation")
_add_routes("/renew-revocations", "GlobalRenewRevocation")
