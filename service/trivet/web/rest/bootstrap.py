"""Bootstrap tokens: create, list, get, delete."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from fastapi import APIRouter, Request, Response

from trivet.authority.access import Permission
from trivet.authority.approval import bootstrap_tokens as use_cases
from trivet.authority.approval.bootstrap_requester import groups_of
from trivet.authority.approval.bootstrap_tokens import WantedToken
from trivet.pki.bootstrap import BootstrapUsage
from trivet.store.bootstrap_tokens import StoredBootstrapToken
from trivet.web.authentication import Authenticated
from trivet.web.rest import schemas
from trivet.web.rest.bodies import read_json
from trivet.web.rest.operation import IdempotencyKey, json_body, operation
from trivet.web.rest.paging import Paged

router = APIRouter(prefix="/clusters/{cluster}/bootstrap-tokens", tags=["bootstrap tokens"])


@router.post(
    "",
    status_code=201,
    **operation(
        "createBootstrapToken",
        Permission.WRITE_BOOTSTRAP_TOKEN,
        requestBody=json_body(schemas.BootstrapTokenCreate),
    ),
)
async def create_bootstrap_token(
    cluster: str,
    request: Request,
    response: Response,
    caller: Authenticated,
    idempotency_key: IdempotencyKey = None,
) -> schemas.CreatedBootstrapToken:
    """Make a bootstrap token; its secret is shown this once."""
    body = await read_json(request, schemas.BootstrapTokenCreate)
    wanted = WantedToken(
        body.node,
        tuple(BootstrapUsage(usage) for usage in body.usages),
        tuple(body.groups),
        body.description,
        timedelta(seconds=body.expires_in_seconds),
    )
    made, shown = await caller.ask(use_cases.create_bootstrap_token, cluster, wanted, idempotency_key)
    response.headers["Location"] = f"{request.url.path}/{made.id}"
    response.headers["Cache-Control"] = "no-store"
    return schemas.CreatedBootstrapToken(**_token(made), token=shown)


@router.get("", **operation("listBootstrapTokens", Permission.READ_BOOTSTRAP_TOKEN))
async def list_bootstrap_tokens(
    cluster: str, caller: Authenticated, paged: Paged
) -> schemas.BootstrapTokenPage:
    """List the bootstrap tokens of a cluster by their ids, without their secrets."""
    found = await caller.ask(
        use_cases.list_bootstrap_tokens,
        cluster,
        paged.after(),
        paged.look_for,
    )
    page, following = paged.page(found, lambda one: one.id)
    items = [schemas.BootstrapToken(**_token(token)) for token in page]
    return schemas.BootstrapTokenPage(items=items, next=following)


@router.get("/{token}", **operation("getBootstrapToken", Permission.READ_BOOTSTRAP_TOKEN))
async def get_bootstrap_token(cluster: str, token: str, caller: Authenticated) -> schemas.BootstrapToken:
    """Get a bootstrap token by its id, without its secret."""
    found = await caller.ask(use_cases.get_bootstrap_token, cluster, token)
    return schemas.BootstrapToken(**_token(found))


@router.delete(
    "/{token}", status_code=204, **operation("deleteBootstrapToken", Permission.WRITE_BOOTSTRAP_TOKEN)
)
async def delete_bootstrap_token(cluster: str, token: str, caller: Authenticated) -> None:
    """Delete a bootstrap token: it is worthless from the next request on."""
    await caller.ask(use_cases.delete_bootstrap_token, cluster, token)


def _token(stored: StoredBootstrapToken) -> dict[str, Any]:
    return {
        "id": stored.id,
        "node": stored.node,
        "usages": list(stored.usages),
        "groups": list(groups_of(stored)),
        "description": stored.description,
        "created_at": stored.created_at,
        "created_by": stored.created_by,
        "expires_at": stored.expires_at,
    }
