"""Access tokens: create, list, get, delete."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from fastapi import APIRouter, Request, Response

from trivet.authority import search
from trivet.authority import tokens as use_cases
from trivet.authority.access import Permission, Role
from trivet.pki.errors import NotFoundError
from trivet.web.authentication import Authenticated
from trivet.web.rest import render, schemas
from trivet.web.rest.bodies import read_json
from trivet.web.rest.operation import IdempotencyKey, json_body, operation
from trivet.web.rest.paging import Paged

router = APIRouter(prefix="/tokens", tags=["access tokens"])


@router.post(
    "",
    status_code=201,
    **operation("createToken", Permission.WRITE_TOKEN, requestBody=json_body(schemas.TokenCreate)),
)
async def create_token(
    request: Request, response: Response, caller: Authenticated, idempotency_key: IdempotencyKey = None
) -> schemas.CreatedToken:
    """Make an access token; its secret is shown this once."""
    body = await read_json(request, schemas.TokenCreate)
    lifetime = timedelta(seconds=body.expires_in_seconds) if body.expires_in_seconds else None
    token, secret = await caller.ask(
        use_cases.create_token,
        role=Role(body.role),
        description=body.description,
        cluster=body.cluster,
        lifetime=lifetime,
        signer_names=body.signer_names,
        idempotency_key=idempotency_key,
    )
    names = await caller.offload(search.cluster_names, caller.authority)
    response.headers["Location"] = f"/api/v1/tokens/{token.id}"
    return schemas.CreatedToken(**render.token(token, names), secret=secret)


@router.get("", **operation("listTokens", Permission.READ_TOKEN))
async def list_tokens(caller: Authenticated, paged: Paged) -> schemas.TokenPage:
    """List access tokens, oldest first, without their secrets."""
    place = paged.after_id()
    found = await caller.ask(use_cases.list_tokens, place, paged.look_for)
    names = await caller.offload(search.cluster_names, caller.authority)
    page, following = paged.page(found, lambda one: one.id)
    return schemas.TokenPage(
        items=[schemas.Token(**render.token(token, names)) for token in page], next=following
    )


@router.get("/{token}", **operation("getToken", Permission.READ_TOKEN))
async def get_token(token: str, caller: Authenticated) -> schemas.Token:
    """Get an access token, without its secret."""
    found = await caller.ask(use_cases.get_token, _token_id(token))
    names = await caller.offload(search.cluster_names, caller.authority)
    return schemas.Token(**render.token(found, names))


@router.delete("/{token}", status_code=204, **operation("deleteToken", Permission.WRITE_TOKEN))
async def delete_token(token: str, caller: Authenticated) -> None:
    """Delete an access token: it is worthless from the next request on."""
    await caller.ask(use_cases.delete_token, _token_id(token))


def _token_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        # Not quoted: somebody may take the secret for the id.
        message = "there is no such token; a token's id is a UUID"
        raise NotFoundError(message) from error
