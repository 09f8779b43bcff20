"""Authorities of a cluster: their generations, certificates and trust bundles."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Request, Response

from trivet.authority import search
from trivet.authority.access import Permission
from trivet.pki.errors import NotFoundError
from trivet.pki.pem import from_der, to_pem
from trivet.store.authorities import IN_BUNDLE, Generation, GenerationState
from trivet.web.authentication import Authenticated, Caller
from trivet.web.rest import render, schemas
from trivet.web.rest.negotiation import DER, PEM, PEM_CHAIN, negotiate
from trivet.web.rest.operation import operation, text_answers

router = APIRouter(prefix="/clusters/{cluster}/authorities", tags=["authorities"])
_CERTIFICATE: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The CA certificate.", "content": text_answers((PEM, PEM_CHAIN, DER))}
}
_BUNDLE: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The CA certificates to trust.", "content": text_answers((PEM_CHAIN, PEM))}
}


@router.get("", **operation("listAuthorities", Permission.READ_CLUSTER))
async def list_authorities(cluster: str, caller: Authenticated) -> schemas.GenerationPage:
    """List the generations of a cluster's three authorities."""
    found = await caller.ask(search.list_generations, cluster)
    return schemas.GenerationPage(items=[render.generation(generation) for generation in found], next=None)


@router.get("/{authority}", **operation("getAuthority", Permission.READ_CLUSTER))
async def get_authority(cluster: str, authority: str, caller: Authenticated) -> schemas.GenerationPage:
    """List the generations of one authority."""
    found = await _generations(caller, cluster, authority)
    return schemas.GenerationPage(items=[render.generation(generation) for generation in found], next=None)


@router.get(
    "/{authority}/certificate",
    response_class=Response,
    responses=_CERTIFICATE,
    **operation("getAuthorityCertificate", Permission.READ_CLUSTER),
)
async def get_certificate(cluster: str, authority: str, request: Request, caller: Authenticated) -> Response:
    """Get the CA certificate that signs, as PEM or DER."""
    media_type = negotiate(request, (PEM, PEM_CHAIN, DER))
    found = await _generations(caller, cluster, authority)
    active = [generation.certificate for generation in found if generation.state is GenerationState.ACTIVE]
    if not active:
        message = f"the authority {authority} has no active generation"
        raise NotFoundError(message)
    return Response(active[0] if media_type == DER else to_pem([from_der(active[0])]), media_type=media_type)


@router.get(
    "/{authority}/bundle",
    response_class=Response,
    responses=_BUNDLE,
    **operation("getAuthorityBundle", Permission.READ_CLUSTER),
)
async def get_bundle(cluster: str, authority: str, request: Request, caller: Authenticated) -> Response:
    """Get all CA certificates of an authority that are to be trusted, as PEM."""
    media_type = negotiate(request, (PEM_CHAIN, PEM))
    found = await _generations(caller, cluster, authority)
    trusted = [from_der(generation.certificate) for generation in found if generation.state in IN_BUNDLE]
    return Response(to_pem(trusted), media_type=media_type)


async def _generations(caller: Caller, cluster: str, authority: str) -> list[Generation]:
    return await caller.ask(search.list_generations, cluster, authority)
